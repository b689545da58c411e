"""How NVIDIA Dynamo's planner (1.6.1, ``core/budget.py``) keeps a fleet inside its GPU budget.

A fleet beyond the budget is shrunk in proportion, prefill first and the rest to decode. A proposal is never turned
round: at the full budget nothing grows unless the other pool shrinks for it, and a rebalance moves both or neither.
The lower end of the original's band (``min_gpu_budget``) is off as shipped and left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

Fleet = tuple[int, ...]
"""Replicas of one aggregated pool, or of prefill and decode."""


@dataclass(frozen=True, slots=True)
class Budget:
    """GPUs of one replica of each pool, the fewest replicas of each, and GPUs in all (``None``: no limit)."""

    gpus: Fleet
    least: Fleet
    most: int | None = None

    def total(self, fleet: Sequence[int]) -> int:
        """GPUs of a fleet."""
        return sum(n * gpus for n, gpus in zip(fleet, self.gpus, strict=True))

    def fits(self, fleet: Sequence[int]) -> bool:
        """Whether there are that many."""
        return self.most is None or self.total(fleet) <= self.most

    def clamped(self, fleet: Fleet) -> Fleet:
        """The fleet in proportion to what there is; none at all when not even the fewest fit."""
        if self.most is None or self.fits(fleet):
            return fleet
        if not self.fits(self.least):
            return (0,) * len(fleet)
        if len(fleet) == 1:
            return (max(self.least[0], self.most // self.gpus[0]),)
        (gpus_p, gpus_d), (least_p, least_d) = self.gpus, self.least
        scale = self.most / self.total(fleet)
        prefill = max(least_p, min((self.most - least_d * gpus_d) // gpus_p, int(fleet[0] * scale)))
        return prefill, max(least_d, (self.most - prefill * gpus_p) // gpus_d)

    def towards(self, current: Fleet, proposed: Fleet) -> Fleet:
        """The fleet that fits between ``current`` and ``proposed`` and is nearest to the latter.

        Of equally near ones the one whose pools have come equally far; ``current`` when none fits.
        """
        if self.fits(proposed) and all(n >= least for n, least in zip(proposed, self.least, strict=True)):
            return proposed
        ranges = [range(max(min(now, then), least), max(now, then) + 1)
                  for now, then, least in zip(current, proposed, self.least, strict=True)]  # fmt: skip
        both = _opposing(current, proposed)

        def distance(fleet: Fleet) -> tuple[float, ...]:
            gone = [abs(n - now) for n, now in zip(fleet, current, strict=True)]
            asked = [abs(then - now) for then, now in zip(proposed, current, strict=True)]
            skew = abs(gone[0] * asked[-1] - gone[-1] * asked[0])
            return (sum(abs(then - n) for then, n in zip(proposed, fleet, strict=True)), skew, -sum(gone), *fleet)

        reachable = [
            fleet
            for fleet in product(*ranges)
            if self.fits(fleet) and not (both and (fleet[0] == current[0]) != (fleet[1] == current[1]))
        ]
        return min(reachable, key=distance, default=current)

    def guarded(self, current: Fleet, proposed: Fleet) -> Fleet:
        """What may become of a proposal."""
        if not self.fits(current):
            return self.clamped(current)
        grows = any(then > now for now, then in zip(current, proposed, strict=True))
        if self.most is not None and self.total(current) >= self.most and grows:
            return self.towards(current, proposed) if _opposing(current, proposed) else current
        final = self.clamped(proposed)
        kept = all(min(now, then) <= n <= max(now, then) for now, then, n in zip(current, proposed, final, strict=True))
        return final if kept and self.fits(final) else current


def _opposing(current: Fleet, proposed: Fleet) -> bool:
    steps = [then - now for now, then in zip(current, proposed, strict=True)]
    return min(steps) < 0 < max(steps)
