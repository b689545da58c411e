"""Recorded and re-decided fleets side by side: where they differ, and what each would have cost."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.core.types import Decision
from planner.replay.moments import iso
from planner.replay.redecide import Redecided

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Changed:
    """One step that is decided otherwise now."""

    index: int
    at: float
    recorded: Decision
    replayed: Decision

    def continues(self, before: Changed | None) -> bool:
        """Whether the step before differed in the same way."""
        return before is not None and self._fleets() == before._fleets()

    def _fleets(self) -> tuple[dict[str, int], dict[str, int]]:
        return dict(self.recorded.replicas), dict(self.replayed.replicas)

    def to_json(self, start: float) -> dict[str, Any]:
        """The step as the JSON output has it."""
        return {
            "step": self.index + 1,
            "at": self.at,
            "time": iso(self.at),
            "offset_seconds": self.at - start,
            "recorded": _one(self.recorded),
            "replayed": _one(self.replayed),
        }


@dataclass(frozen=True, slots=True)
class Side:
    """What one of the two asked for."""

    gpu_hours: float  # of replicas asked for
    gpu_hours_by_pool: Mapping[str, float]
    mean_replicas: Mapping[str, float]
    most_replicas: Mapping[str, int]
    changes: int  # how often the fleet asked for changed

    def to_json(self) -> dict[str, Any]:
        """Its figures as the JSON output has them."""
        return {
            "gpu_hours": self.gpu_hours,
            "gpu_hours_by_pool": dict(self.gpu_hours_by_pool),
            "pools": {
                pool: {"mean": mean, "max": self.most_replicas[pool]} for pool, mean in self.mean_replicas.items()
            },
            "changes": self.changes,
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """A log against its replay."""

    steps: int
    seconds: float
    identical: bool  # every decision equals the recorded one in all it says
    changed: tuple[Changed, ...]  # steps that ask for another fleet
    recorded: Side
    replayed: Side

    def turns(self) -> list[Changed]:
        """The steps at which the two come to differ, or to differ in another way."""
        before = {one.index: one for one in self.changed}
        return [one for one in self.changed if not one.continues(before.get(one.index - 1))]


def difference(steps: Sequence[Redecided], gpus: Mapping[str, int]) -> Difference:
    """Hold what was decided against what is decided now; ``gpus`` are those of one replica, by pool."""
    lengths = _lengths([one.step.seen.at for one in steps])
    changed = [
        Changed(i, one.step.seen.at, one.step.decision, one.decision)
        for i, one in enumerate(steps)
        if dict(one.step.decision.replicas) != dict(one.decision.replicas)
    ]
    return Difference(
        steps=len(steps),
        seconds=sum(lengths),
        identical=all(one.step.decision == one.decision for one in steps),
        changed=tuple(changed),
        recorded=_side(steps, lengths, gpus, lambda one: one.step.decision.replicas),
        replayed=_side(steps, lengths, gpus, lambda one: one.decision.replicas),
    )


def _side(steps: Sequence[Redecided], lengths: Sequence[float], gpus: Mapping[str, int],
          fleet: Callable[[Redecided], Mapping[str, int]]) -> Side:  # fmt: skip
    asked = [fleet(one) for one in steps]
    replica_s = {pool: sum(f.get(pool, 0) * s for f, s in zip(asked, lengths, strict=True)) for pool in gpus}
    hours = {pool: seconds * gpus[pool] / HOUR_S for pool, seconds in replica_s.items()}
    whole = sum(lengths)
    return Side(
        gpu_hours=sum(hours.values()),
        gpu_hours_by_pool=hours,
        mean_replicas={pool: seconds / whole if whole else 0.0 for pool, seconds in replica_s.items()},
        most_replicas={pool: max(f.get(pool, 0) for f in asked) for pool in gpus},
        changes=sum(dict(a) != dict(b) for a, b in itertools.pairwise(asked)),
    )


def _lengths(times: Sequence[float]) -> list[float]:
    """How long each step's number stood: until the next step, and the last one as long as the one before.

    Nobody knows how long, where the clock was set back before the next.
    """
    gaps = [max(0.0, b - a) for a, b in itertools.pairwise(times)]
    return [*gaps, gaps[-1]] if gaps else [0.0]


def _one(decision: Decision) -> dict[str, Any]:
    return {
        "replicas": dict(decision.replicas),
        "wanted": dict(decision.wanted),
        "reason": decision.reason.value,
        "summary": decision.summary(),
    }
