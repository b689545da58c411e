"""Predictors whose model is fitted elsewhere and adopted: ARIMA and Prophet.

They only ask for a fit (``fit_request``) and answer from the last one adopted;
until then, and when it does not fit the present, with the last value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from predictors.api import FitRequest
from predictors.base import Gridded

DAY_S = 86_400.0
SLACK = 32
"""Values beyond those kept that may pile up before old ones are thrown away."""


class Fitted(Gridded):
    """History, and the last model that was adopted."""

    FIELDS = ("history", "last", "model", "since_fit")
    KEEP = 200  # values
    LEAST = 20  # values before a first fit
    EVERY = 20  # values between fits

    def __init__(self, step_s: float) -> None:
        super().__init__(step_s)
        self.history: list[float | None] = []
        self.last: float | None = None
        self.model: dict[str, Any] | None = None
        self.since_fit = 0

    @property
    def forgets_after(self) -> int:
        return self.KEEP + SLACK + 1

    def _learn(self, value: float | None) -> None:
        self.history.append(value)
        if len(self.history) > self.KEEP + SLACK:
            del self.history[: -self.KEEP]
        self.last = self.last if value is None else value
        self.since_fit += 1

    def fit_request(self) -> FitRequest | None:
        """A fit on the history, when enough of it is new."""
        known = sum(v is not None for v in self.history)
        if known < self.LEAST or (self.model is not None and self.since_fit < self.EVERY):
            return None
        assert self.slot is not None
        kept = self.history[-self.KEEP :]
        started = (self.slot - len(kept) + 1) * self.step_s
        return FitRequest(self.NAME, started, self.step_s, tuple(kept), {})

    def adopt(self, model: Mapping[str, Any]) -> None:
        """Answer from ``model`` from now on."""
        self.model = dict(model)
        self.since_fit = 0


class Arima(Fitted):
    """ARIMA on the logarithm, order and parameters refitted on the last 180 values, recursion in between.

    The order is chosen by AIC (pmdarima); between fits the same parameters filter the new values, so that
    every value counts at once (Box and Jenkins 1970).
    """

    NAME = "arima"
    KEEP = 180

    def _means(self, steps: int) -> list[float] | None:
        if self.last is None:
            return None
        if self.model is None:
            return [self.last] * steps
        logs = self._filled()
        ceiling = math.log1p(10.0 * max(1.0, math.expm1(max(logs))))
        return [math.expm1(min(ceiling, max(0.0, z))) for z in _arma_path(logs, self.model, steps)]

    def _filled(self) -> list[float]:
        """Logarithms of the history, gaps holding the last value."""
        logs, last = [], 0.0
        for value in self.history[-self.KEEP :]:
            last = last if value is None else math.log1p(value)
            logs.append(last)
        return logs


def _arma_path(series: list[float], model: Mapping[str, Any], steps: int) -> list[float]:
    """Forecasts of an ARIMA(p, d, q) with given parameters, by its own recursion."""
    d, ar, ma, constant = int(model["d"]), model["ar"], model["ma"], float(model["constant"])
    levels = [series]
    for _ in range(d):
        levels.append([b - a for a, b in zip(levels[-1], levels[-1][1:], strict=False)])
    values = list(levels[-1])
    errors: list[float] = []
    for t in range(len(values)):
        errors.append(
            values[t] - _next(values[:t][-len(ar) :] if ar else [], errors[-len(ma) :] if ma else [], ar, ma, constant)
        )
    for _ in range(steps):
        values.append(_next(values[-len(ar) :] if ar else [], errors[-len(ma) :] if ma else [], ar, ma, constant))
        errors.append(0.0)
    path = values[-steps:]
    for level in reversed(levels[:-1]):
        total, summed = level[-1], []
        for step in path:
            total += step
            summed.append(total)
        path = summed
    return path


def _next(values: list[float], errors: list[float], ar: list[float], ma: list[float], constant: float) -> float:
    by_values = sum(p * v for p, v in zip(ar, reversed(values), strict=False))
    by_errors = sum(q * e for q, e in zip(ma, reversed(errors), strict=False))
    return constant + by_values + by_errors


class Prophet(Fitted):
    """Prophet on up to four weeks of history: it sees whole days and weeks once it has them.

    A fit is plain forecasts for the time ahead; the level of the moment shifts them, since what a season
    says is the shape.
    """

    NAME = "prophet"
    EVERY = 60
    LEAST = 40

    def __init__(self, step_s: float) -> None:
        super().__init__(step_s)
        self.KEEP = max(200, int(28 * DAY_S / step_s))

    def _means(self, steps: int) -> list[float] | None:
        if self.last is None:
            return None
        if self.model is None or self.slot is None:
            return [self.last] * steps
        now = self._said(self.slot)
        if now is None:
            return [self.last] * steps
        return [self._shifted(now, self._said(self.slot + h)) for h in range(1, steps + 1)]

    def _shifted(self, now: float, then: float | None) -> float:
        assert self.last is not None
        return self.last if then is None else max(0.0, then + 0.5 * (self.last - now))

    def _said(self, slot: int) -> float | None:
        assert self.model is not None
        i = slot - int(self.model["first_slot"])
        values = self.model["values"]
        return float(values[i]) if 0 <= i < len(values) else None
