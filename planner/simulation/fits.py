"""Slow fits inside a simulation: run at once, adopted one interval of virtual time later, so runs repeat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.core.planner import Planner
from planner.core.types import Decision, Observation
from predictors.fits import run_fit


class PlannerWithFits:
    """A planner whose predictors' wishes for a fit are granted after ``delay_s`` of virtual time."""

    def __init__(self, planner: Planner, delay_s: float) -> None:
        self._planner, self._delay_s = planner, delay_s
        self._ready: dict[str, tuple[float, Mapping[str, Any]]] = {}  # series → (when, model)

    def step(self, seen: Observation) -> Decision:
        """Adopt what is due, decide, note new wishes."""
        for series in [s for s, (at, _) in self._ready.items() if at <= seen.at]:
            self._planner.adopt(series, self._ready.pop(series)[1])
        decision = self._planner.step(seen)
        for series, request in self._planner.wishes().items():
            if series not in self._ready:
                self._ready[series] = (seen.at + self._delay_s, run_fit(request))
        return decision
