"""The planner as an object: feed observations in, take decisions out."""

from __future__ import annotations

from planner.core.decide import decide
from planner.core.policy import Policy
from planner.core.state import PlannerState
from planner.core.types import Decision, Observation


class Planner:
    """Sans-I/O planner: time and measurements come in through ``step`` alone."""

    def __init__(self, policy: Policy, state: PlannerState | None = None) -> None:
        self.policy = policy
        self.state = state or PlannerState()

    def step(self, seen: Observation) -> Decision:
        """Answer one observation and remember it."""
        decision, self.state = decide(self.policy, self.state, seen)
        return decision
