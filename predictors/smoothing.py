"""Exponential smoothing: one level, or a level with a trend that dies away."""

from __future__ import annotations

from typing import Any

from predictors.base import Gridded

ALPHAS = (0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
DISCOUNT = 0.97


class Ewma(Gridded):
    """A level that follows by a fixed share ``alpha`` of each error (Brown 1956)."""

    NAME = "ewma"
    FIELDS = ("level",)

    def __init__(self, step_s: float, alpha: float = 0.3) -> None:
        super().__init__(step_s)
        if not 0 < alpha <= 1:
            raise ValueError(f"alpha ({alpha}) must be above 0 and at most 1")
        self.alpha = alpha
        self.level: float | None = None

    def options(self) -> dict[str, Any]:
        return {"alpha": self.alpha}

    def _learn(self, value: float | None) -> None:
        if value is not None:
            self.level = value if self.level is None else self.level + self.alpha * (value - self.level)

    def _means(self, steps: int) -> list[float] | None:
        return None if self.level is None else [self.level] * steps


class SimpleSmoothing(Gridded):
    """Exponential smoothing whose ``alpha`` is the one that has erred least of late, of a handful."""

    NAME = "ses"
    FIELDS = ("levels", "losses")

    def __init__(self, step_s: float) -> None:
        super().__init__(step_s)
        self.levels: list[float] = []
        self.losses = [0.0] * len(ALPHAS)

    def _learn(self, value: float | None) -> None:
        if value is None:
            return
        if not self.levels:
            self.levels = [value] * len(ALPHAS)
            return
        for i, alpha in enumerate(ALPHAS):
            error = value - self.levels[i]
            self.losses[i] = DISCOUNT * self.losses[i] + abs(error)
            self.levels[i] += alpha * error

    def _means(self, steps: int) -> list[float] | None:
        if not self.levels:
            return None
        best = min(range(len(ALPHAS)), key=lambda i: self.losses[i])
        return [self.levels[best]] * steps


class DampedHolt(Gridded):
    """A level and a trend that dies away by ``phi`` each step (Gardner and McKenzie 1985)."""

    NAME = "holt"
    FIELDS = ("level", "trend")

    def __init__(self, step_s: float, alpha: float = 0.4, beta: float = 0.1, phi: float = 0.9) -> None:
        super().__init__(step_s)
        self.alpha, self.beta, self.phi = alpha, beta, phi
        self.level: float | None = None
        self.trend = 0.0

    def options(self) -> dict[str, Any]:
        return {"alpha": self.alpha, "beta": self.beta, "phi": self.phi}

    def _learn(self, value: float | None) -> None:
        if value is None:
            return
        if self.level is None:
            self.level = value
            return
        expected = self.level + self.phi * self.trend
        level = expected + self.alpha * (value - expected)
        self.trend = self.phi * self.trend + self.beta * (level - self.level - self.phi * self.trend)
        self.level = level

    def _means(self, steps: int) -> list[float] | None:
        if self.level is None:
            return None
        means, reach = [], 0.0
        for h in range(1, steps + 1):
            reach += self.phi**h
            means.append(self.level + reach * self.trend)
        return means
