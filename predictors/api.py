"""What a predictor is. Everything else in this package is one of them.

A predictor learns one series of non-negative values (a rate, a mean length) on
a regular grid of steps and says what the next steps may hold. It knows nothing
of requests, GPUs or clocks: time is whatever number it is handed.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
"""Levels every calibrated forecast carries."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What one step, ``steps`` ahead of the last value learnt, may hold.

    ``mean`` is the point forecast (>= 0). ``quantiles`` maps levels in (0, 1)
    to values, non-decreasing in the level; empty when the predictor has no
    opinion about its own errors. ``scenarios`` are equally likely values the
    calibrating wrapper has drawn from past errors; empty without it.
    """

    steps: int
    mean: float
    quantiles: Mapping[float, float]
    scenarios: tuple[float, ...] = ()

    def quantile(self, level: float) -> float:
        """Value not exceeded with probability ``level``, interpolated between known levels.

        Falls back to ``mean`` when the forecast carries no quantiles.
        """
        if not self.quantiles:
            return self.mean
        known = sorted(self.quantiles.items())
        if level <= known[0][0]:
            return known[0][1]
        for (l0, v0), (l1, v1) in itertools.pairwise(known):
            if level <= l1:
                return v0 + (v1 - v0) * (level - l0) / (l1 - l0)
        return known[-1][1]


@dataclass(frozen=True, slots=True)
class FitRequest:
    """A slow fit as pure data: which model, on which values, with which options.

    ``predictor`` names a function registered in ``predictors.fits``; a shell
    may run it in another process. ``values`` holds ``None`` for gaps.
    """

    predictor: str
    started_at: float
    step_s: float
    values: tuple[float | None, ...]
    options: Mapping[str, Any]


@runtime_checkable
class Predictor(Protocol):
    """Learns from timed values; extrapolates on request.

    ``update`` and ``adopt`` are the only calls that change anything. ``predict`` may be
    asked any number of times between updates and gives the same answer each time.
    """

    def update(self, at: float, value: float | None) -> None:
        """Learn the value of the step that ended at ``at`` (seconds); ``None`` is a known gap.

        Steps that were skipped altogether are gaps too: ``at`` says so.
        """

    def predict(self, steps: int) -> Forecast | None:
        """The value ``steps`` (>= 1) grid steps ahead; ``None`` until there is enough history."""

    def path(self, steps: int) -> Sequence[Forecast] | None:
        """Forecasts for 1, 2, … ``steps`` ahead, cheaper than asking one by one."""

    def copy(self) -> Predictor:
        """An independent twin; updating one leaves the other as it was. Cheap (tens of µs)."""

    def snapshot(self) -> dict[str, Any]:
        """Plain JSON data that ``predictors.registry.restore`` turns back into an equal predictor."""

    def fit_request(self) -> FitRequest | None:
        """The slow fit this predictor would like to have run, or ``None``. Asking changes nothing."""

    def adopt(self, model: Mapping[str, Any]) -> None:
        """Take the plain-data result of a fit; from now on it answers with that model."""
