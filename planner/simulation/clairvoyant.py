"""The clairvoyant bound: what a fleet costs that knows every arrival, every length and the true plant.

For each window of 60 s the smallest fleet whose share of kept requests is at least α′; scale-ups are ordered
one start-up ahead and paid for; α′ is bisected until the whole run keeps what the compared policy kept.
The table of shares by window and pool size comes from the engine itself: each window is run with the
traffic of the seconds before it, each pool alone with the others large.

Weakness: windows do not hand their backlog on (a plan never leaves one), and the two pools' misses are added,
which counts a request that both let down twice: both make the bound a little dearer than the true optimum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from planner.core.buckets import DYNAMO_BUCKETS
from planner.core.types import Decision, Observation, Reason
from planner.simulation.engine import Plant
from planner.simulation.fleets import enough
from planner.simulation.run import Run
from planner.simulation.simulate import World, kept, simulate

WINDOW_S = 60.0
LEAD_S, LEAD_TARGETS = 20.0, 8.0
"""Seconds of traffic before a window that fill its queues and batches, plus this many TTFT targets: queues
that a long target allows take as long to fill."""
LOOSEST, TIGHTEST = 0.05, 5.0
"""−log10 of the share a window may give up: from 0.9 to 0.00001."""
CLOSE = 0.0005
"""The bound is found at the policy's attainment within 0.05 points."""
HOLD = 5
"""Windows that a plan which holds on keeps a replica longer than it needs it."""
TRIES = 8
"""Runs at most in search of the plan that keeps what the policy kept."""
PERFECT = 0.99995
"""A share above this counts as all."""

Progress = Callable[[float], None]


class BoundBrokenError(RuntimeError):
    """A policy was cheaper than the bound at the same attainment: the bound is not one."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Share of requests of each window that each pool alone lets down, by number of replicas.

    ``missed[pool][k]`` maps replicas to shares, for as many replicas as matter in window k.
    """

    requests: NDArray[np.int64]
    missed: Mapping[str, list[dict[int, float]]]

    @property
    def windows(self) -> int:
        """How many windows there are."""
        return len(self.requests)

    def plan(self, world: World, share: float) -> dict[str, NDArray[np.int64]]:
        """The cheapest replicas by window with at least ``share`` of its requests kept."""
        pools = list(world.pools)
        chosen = {pool: np.zeros(len(self.requests), np.int64) for pool in pools}
        for k in range(len(self.requests)):
            for pool, n in self._cheapest(world, pools, k, 1.0 - share).items():
                chosen[pool][k] = n
        return chosen

    def floor(self, world: World, missed: float) -> float:
        """−log10 of the share every window may give up so that ``missed`` of all requests are, by the tables."""
        low, high = LOOSEST, TIGHTEST
        for _ in range(20):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if self.gives_up(world, 1.0 - 10.0**-middle) > missed else (low, middle)
        return high

    def gives_up(self, world: World, share: float) -> float:
        """Share of all requests that the plan for ``share`` gives up, windows not disturbing each other."""
        plan = self.plan(world, share)
        lost = sum(
            requests * min(1.0, sum(self.missed[pool][k][int(plan[pool][k])] for pool in world.pools))
            for k, requests in enumerate(self.requests.tolist())
        )
        return float(lost / max(1, self.requests.sum()))

    def _cheapest(self, world: World, pools: list[str], k: int, allowed: float) -> dict[str, int]:
        """Cheapest joint choice in one window: one pool's table against what is left for the other.

        Requests that no fleet can serve in time are not held against the window: they buy nothing.
        """
        tables = [_beyond_reach_removed(self.missed[pool][k]) for pool in pools]
        if len(pools) == 1:
            return {pools[0]: min(n for n, m in tables[0].items() if m <= allowed)}
        first, second = tables
        best: tuple[float, dict[str, int]] = (math.inf, {pools[0]: max(first), pools[1]: max(second)})
        for n, missed in first.items():
            rest = min((m for m, other in second.items() if other <= allowed - missed), default=None)
            if rest is not None:
                cost = n * world.gpus_per_replica[pools[0]] + rest * world.gpus_per_replica[pools[1]]
                best = min(best, (cost, {pools[0]: n, pools[1]: rest}), key=lambda pair: pair[0])
        return best[1]


def shares(world: World, progress: Progress | None = None) -> Shares:
    """Run every window with every number of replicas that matters; minutes for a day of millions."""
    count = math.ceil(world.traffic.duration_s / WINDOW_S)
    place = np.minimum((world.traffic.arrivals_s / WINDOW_S).astype(np.int64), count - 1)
    requests = np.bincount(place, minlength=count)
    big = {pool: enough(world, pool) for pool in world.pools}
    missed: dict[str, list[dict[int, float]]] = {pool: [] for pool in world.pools}
    for k in range(count):
        window = _Window(world, k)
        for pool in world.pools:
            before = missed[pool][-1] if k else {}
            guess = min((n for n, m in before.items() if m <= 0.01), default=max(1, big[pool] // 4))
            missed[pool].append(window.table(pool, guess, big))
        if progress is not None and k % 8 == 0:
            progress(k / count)
    return Shares(requests, missed)


def _beyond_reach_removed(table: Mapping[int, float]) -> dict[int, float]:
    """Shares missed beyond those that are missed with any number of replicas."""
    least = min(table.values())
    return {n: missed - least for n, missed in table.items()}


class _Window:
    """One window's requests and those shortly before it, ready to be run again and again."""

    def __init__(self, world: World, k: int) -> None:
        traffic = world.traffic
        start, end = k * WINDOW_S, min((k + 1) * WINDOW_S, traffic.duration_s)
        lead_s = LEAD_S + LEAD_TARGETS * world.promise.ttft_s
        first, self._from, last = np.searchsorted(traffic.arrivals_s, [start - lead_s, start, end])
        self._world, self._origin = world, max(0.0, start - lead_s)
        self._arrivals = traffic.arrivals_s[first:last] - self._origin
        self._isl, self._osl = traffic.input_tokens[first:last], traffic.output_tokens[first:last]
        self._counted = slice(int(self._from - first), None)
        self._blocks: tuple[NDArray[np.int32], NDArray[np.int64]] | None = None
        if traffic.block_ids is not None and traffic.block_starts is not None:
            lo, hi = traffic.block_starts[first], traffic.block_starts[last]
            _used, dense = np.unique(traffic.block_ids[lo:hi], return_inverse=True)
            self._blocks = dense.astype(np.int32), traffic.block_starts[first : last + 1] - lo

    def table(self, pool: str, guess: int, big: Mapping[str, int]) -> dict[int, float]:
        """Missed shares from far too few replicas to enough, around ``guess``."""
        if len(self._arrivals[self._counted]) == 0:
            return {1: 0.0}
        found = {guess: self._missed(pool, guess, big)}
        n = guess
        while found[n] > 1.0 - PERFECT and n < big[pool]:
            n += 1
            found[n] = self._missed(pool, n, big)
        n = guess
        while found[n] < 0.9 and n > 1:
            n -= 1
            found[n] = self._missed(pool, n, big)
        return dict(sorted(found.items()))

    def _missed(self, pool: str, n: int, big: Mapping[str, int]) -> float:
        world = self._world
        ids, starts = self._blocks or (None, None)
        plant = Plant(self._arrivals, self._isl, self._osl, world.plant, world.pools, DYNAMO_BUCKETS, ids, starts)
        for name, count in {**big, pool: n}.items():
            plant.add_many(name, count)
        plant.advance(float(self._arrivals[-1]) + 120.0)
        ttft, itl = (x[self._counted] for x in plant.outcomes())
        with np.errstate(invalid="ignore"):
            quick, steady = ttft <= world.promise.ttft_s, itl <= world.promise.itl_s
        own = {"prefill": quick, "decode": steady, "aggregated": quick & steady}[pool]
        return 1.0 - float(own.mean())


class Scheduled:
    """A policy that knows the plan: asks for the most that any window within the next start-up needs."""

    def __init__(self, plan: Mapping[str, NDArray[np.int64]], startup_s: float, epoch_s: float) -> None:
        self._plan, self._startup_s, self._epoch_s = plan, startup_s, epoch_s

    def step(self, seen: Observation) -> Decision:
        """The plan's replicas at this moment."""
        fleet = self.fleet(seen.at - self._epoch_s)
        return Decision(seen.at, fleet, fleet, Reason.FIXED)

    def fleet(self, now: float) -> dict[str, int]:
        """Replicas to have asked for at ``now`` seconds of the traffic."""
        first = int(now // WINDOW_S)
        last = int((now + self._startup_s + 5.0) // WINDOW_S) + 1
        return {
            pool: int(needs[first:last].max(initial=1)) if first < len(needs) else 1
            for pool, needs in self._plan.items()
        }


def bound(world: World, attainment: float, known: Shares | None = None, progress: Progress | None = None) -> Run:
    """The cheapest clairvoyant run that keeps ``attainment`` of the requests, within 0.05 points.

    A worker that goes takes its prefix cache along, so with prefix blocks plans that hold on longer are
    tried too. A run that keeps more for less is the better bound; where none keeps enough, the one that lacks least.
    """
    known = known or shares(world, progress)
    world = replace(world, failures=type(world.failures)())
    holds = (0, HOLD, known.windows) if world.traffic.block_ids is not None else (0,)

    def worth(run: Run) -> tuple[float, float]:
        """Those that keep enough by their cost, before all others by how much they lack."""
        share = kept(world, run)[2]
        lack = 0.0 if share >= attainment - CLOSE else attainment - share
        return lack, spent_hours(run)

    return min((run for hold in holds for run in _closing_in(world, known, hold, attainment)), key=worth)


def _closing_in(world: World, known: Shares, hold: int, attainment: float) -> Iterator[Run]:
    """Runs of plans whose floor is moved until one keeps ``attainment``.

    The tables tell what a plan keeps when windows do not disturb each other; what a run keeps beside it
    tells how far to trust them.
    """
    wanted = missed = 1.0 - attainment
    before: set[float] = set()
    for _ in range(TRIES):
        floor = known.floor(world, missed)
        if floor in before:
            return
        before.add(floor)
        plan = held(known.plan(world, 1.0 - 10.0**-floor), hold)
        planner = Scheduled(plan, world.startup.mean_s, world.traffic.epoch_s)
        run = simulate(world, "clairvoyant", planner, planner.fleet(0.0))
        yield run
        share = kept(world, run)[2]
        if abs(share - attainment) <= CLOSE:
            return
        missed *= min(10.0, max(0.1, max(wanted, CLOSE) / max(1.0 - share, 0.1 * CLOSE)))


def late(world: World, known: Shares) -> Run:
    """The same plan a start-up and a window late, replicas held for five minutes: what reaction alone can reach."""
    plan = held(known.plan(world, world.promise.goal), HOLD)
    behind = math.ceil((world.startup.mean_s + WINDOW_S) / WINDOW_S)
    delayed = {pool: np.concatenate([np.full(behind, needs[0]), needs])[: len(needs)] for pool, needs in plan.items()}
    planner = Scheduled(delayed, world.startup.mean_s, world.traffic.epoch_s)
    return simulate(world, "late", planner, planner.fleet(0.0))


def held(plan: Mapping[str, NDArray[np.int64]], hold: int) -> dict[str, NDArray[np.int64]]:
    """The plan with every replica kept for ``hold`` more windows."""
    return {
        pool: np.array([needs[max(0, k - hold) : k + 1].max() for k in range(len(needs))])
        for pool, needs in plan.items()
    }


def spent_hours(run: Run) -> float:
    """GPU-hours of all pools of a run."""
    from planner.simulation.report.figures import gpu_hours

    return sum(gpu_hours(run, pool) for pool in run.gpus_per_replica)
