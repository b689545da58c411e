"""The planner as an object: feed observations in, take decisions out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from planner.core.decide import decide
from planner.core.policy import Policy
from planner.core.state import PlannerState
from planner.core.types import Decision, Observation
from predictors.api import FitRequest


class Planner:
    """Sans-I/O planner: time and measurements come in through ``step`` alone."""

    def __init__(self, policy: Policy, state: PlannerState | None = None) -> None:
        self.policy = policy
        self.state = state or PlannerState()

    def step(self, seen: Observation) -> Decision:
        """Answer one observation and remember it."""
        decision, self.state = decide(self.policy, self.state, seen)
        return decision

    def wishes(self) -> dict[str, FitRequest]:
        """Slow fits that the predictors would like to have run, by series."""
        asked = ((series, predictor.fit_request()) for series, predictor in self.state.predictors.items())
        return {series: request for series, request in asked if request is not None}

    def adopt(self, series: str, model: Mapping[str, Any]) -> None:
        """Give the predictor of a series the result of its fit; one that is no longer there needs none."""
        if series not in self.state.predictors:
            return
        predictor = self.state.predictors[series].copy()
        predictor.adopt(model)
        self.state = replace(self.state, predictors={**self.state.predictors, series: predictor})
