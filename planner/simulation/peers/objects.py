"""One scaling object per pool, as most platforms have it: what it sees, what it answers, and the two as a ``Decider``.

The objects of two pools know nothing of each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from planner.core.policy import Pool
from planner.core.types import Adjustment, Decision, Observation, PoolReading, Reason, Window
from planner.simulation.peers.answer import answer
from planner.simulation.peers.api import Site


@dataclass(frozen=True, slots=True)
class Look:
    """What an object sees of its pool at one of its looks."""

    at: float  # seconds
    current: int  # replicas in the spec: what was last asked for, since a platform replaces workers that die
    reading: PoolReading
    window: Window | None

    @property
    def ready(self) -> int:
        """Workers that serve and can be scraped; never more than the spec has."""
        return min(self.reading.ready, self.current)

    @property
    def unready(self) -> int:
        """Workers of the spec that do not serve yet."""
        return self.current - self.ready

    @property
    def blind(self) -> bool:
        """Nothing could be read, neither counters nor gauges: the source is down, not the traffic."""
        gauges = (self.reading.running, self.reading.waiting, self.reading.kv_usage, self.reading.pending_tokens)
        return self.window is None and all(gauge is None for gauge in gauges)


@dataclass(frozen=True, slots=True)
class Answer:
    """Replicas that the formula came to, replicas after the object's own windows, rules and bounds, and why."""

    wanted: int
    replicas: int
    reason: Reason = Reason.SIZED


class Scaler(Protocol):
    """The object of one pool."""

    def look(self, look: Look) -> Answer: ...


class OnePerPool:
    """A ``Decider`` of independent objects, each asked for its own pool."""

    def __init__(self, site: Site, make: Callable[[Pool], Scaler]) -> None:
        self._spec = Spec(site)
        self._scalers = {pool.name: make(pool) for pool in site.pools}

    def step(self, seen: Observation) -> Decision:
        """Every object's answer."""
        looks = self._spec.looks(seen)
        return self._spec.decided(seen, {name: self._scalers[name].look(look) for name, look in looks.items()})


class Spec:
    """``spec.replicas`` of every pool: what was last asked for."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._asked: dict[str, int] = {}

    def looks(self, seen: Observation) -> dict[str, Look]:
        """What the object of each pool in sight sees."""
        return {
            pool.name: Look(seen.at, self._asked.get(pool.name, reading.requested), reading, seen.window)
            for pool in self._site.pools
            if (reading := seen.pools.get(pool.name)) is not None
        }

    def decided(self, seen: Observation, answers: Mapping[str, Answer]) -> Decision:
        """The answers as one decision, kept in mind; it is sized as soon as one pool was, otherwise held."""
        reasons = [a.reason for a in answers.values()]
        decision = answer(
            replace(self._site, pools=tuple(pool for pool in self._site.pools if pool.name in answers)),
            seen,
            {name: a.wanted for name, a in answers.items()},
            Reason.SIZED if Reason.SIZED in reasons else Reason.HELD_BLIND,
            limits=tuple(
                Adjustment(name, Reason.STABILIZATION if a.replicas > a.wanted else Reason.STEP_UP,
                           a.wanted, a.replicas)
                for name, a in answers.items()
                if a.replicas != bounded(self._pool(name), a.wanted)
            ),
        )  # fmt: skip
        self._asked.update(decision.replicas)
        return decision

    def _pool(self, name: str) -> Pool:
        return next(pool for pool in self._site.pools if pool.name == name)


def bounded(pool: Pool, replicas: float) -> int:
    """Whole replicas within the bounds of the pool."""
    return int(min(max(replicas, pool.min_replicas), pool.max_replicas))


def held(pool: Pool, look: Look) -> Answer:
    """No sum could be done: what is there stays, within the bounds."""
    return Answer(look.current, bounded(pool, look.current), Reason.HELD_BLIND)
