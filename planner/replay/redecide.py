"""Recorded observations decided anew: the same planner as in a run, over what was seen then.

The fleet that is seen stays the recorded one: had other numbers been asked for, other latencies would have
been met. What a different fleet would have lived through is a question for a simulation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from planner.core.planner import Planner
from planner.core.policy import Policy
from planner.core.state import PlannerState
from planner.core.types import Decision, Observation
from planner.loop import decided
from planner.ports import Step
from planner.simulation.fits import PlannerWithFits

Progress = Callable[[float], None]
"""Told the share that is done, 0 … 1."""


@dataclass(frozen=True, slots=True)
class Redecided:
    """One step of the log, and what is decided there now."""

    step: Step
    decision: Decision
    before: PlannerState  # what the planner knew when it was asked


class _Watched(Planner):
    """A planner that keeps what it knew before its last step."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.before: PlannerState = self.state

    def step(self, seen: Observation) -> Decision:
        self.before = self.state
        return super().step(seen)


def redecided(policy: Policy, steps: Sequence[Step], progress: Progress | None = None) -> Iterator[Redecided]:
    """Decide every step again, from a planner that knows nothing; slow fits are adopted an interval later.

    Where the clock had been set back before a restart, a planner begins anew: what was learnt is of times to come.

    Raises:
        ValueError: the log has other pools than the policy.
    """
    check_pools(policy, steps)
    at = math.inf
    for i, step in enumerate(steps, 1):
        if step.seen.at < at:
            planner = _Watched(policy)
            fitting = PlannerWithFits(planner, policy.interval_s)
        at = step.seen.at
        decision = decided(fitting, step.seen)
        yield Redecided(step, decision, planner.before)
        if progress is not None and i % 50 == 0:
            progress(i / len(steps))


def check_pools(policy: Policy, steps: Sequence[Step]) -> None:
    """Raise ``ValueError`` when the log shows other pools than the policy has."""
    seen = next((set(step.seen.pools) for step in steps if step.seen.pools), set())
    ours = {pool.name for pool in policy.pools}
    if seen and seen != ours:
        raise ValueError(
            f"the log is of pools {', '.join(sorted(seen))}, the configuration of {', '.join(sorted(ours))}: "
            "choose the mode that was recorded"
        )
