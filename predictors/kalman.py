"""A local linear trend by Kalman filters whose noise is learnt, not fixed.

A bank of filters differs in how much of the movement is taken for signal
(level variance over observation variance). Each is scored by the discounted
likelihood of its one-step errors, with the overall scale estimated from those
same errors; the forecast is the likelihood-weighted mean of the bank.
"""

from __future__ import annotations

import math
from typing import Any

from predictors.base import Gridded

RATIOS = (0.003, 0.03, 0.3, 2.0)
TREND_SHARE = 0.005
"""Variance of the trend's steps over that of the level's: trends live for hours, levels for minutes."""
DISCOUNT = 0.97
DAMPING = 0.9
FORGETS_AFTER = 2000
"""Steps without a value after which the trend is gone and even the slowest filter all but takes the next value."""


class Kalman(Gridded):
    """Local linear trend, damped; noise learnt by likelihood (Harvey 1989, ch. 4)."""

    NAME = "kalman"
    FIELDS = ("states", "covariances", "scales", "scores")

    def __init__(self, step_s: float) -> None:
        super().__init__(step_s)
        self.states: list[list[float]] = []  # (level, trend) of each filter
        self.covariances: list[list[list[float]]] = []  # in units of the observation variance
        self.scales = [0.0] * len(RATIOS)  # observation variance, estimated
        self.scores = [0.0] * len(RATIOS)

    @property
    def forgets_after(self) -> int:
        return FORGETS_AFTER

    def _learn(self, value: float | None) -> None:
        if not self.states:
            if value is not None:
                self.states = [[value, 0.0] for _ in RATIOS]
                self.covariances = [[[1.0, 0.0], [0.0, 0.01]] for _ in RATIOS]
                self.scales = [max(1e-9, 0.01 * value * value)] * len(RATIOS)
            return
        for i, ratio in enumerate(RATIOS):
            self._predict_one(i, ratio)
            if value is not None:
                self._correct(i, value)

    def _predict_one(self, i: int, ratio: float) -> None:
        import numpy as np
        from filterpy.kalman import predict

        x, P = predict(
            np.array(self.states[i]),
            np.array(self.covariances[i]),
            F=np.array([[1.0, DAMPING], [0.0, DAMPING]]),
            Q=np.diag([ratio, TREND_SHARE * ratio]),
        )
        self.states[i], self.covariances[i] = x.tolist(), P.tolist()

    def _correct(self, i: int, value: float) -> None:
        import numpy as np
        from filterpy.kalman import update

        spread = self.covariances[i][0][0] + 1.0
        error = value - self.states[i][0]
        scale = max(self.scales[i], 1e-12)
        self.scores[i] = DISCOUNT * self.scores[i] - 0.5 * (math.log(spread * scale) + error * error / (spread * scale))
        self.scales[i] += (1.0 - DISCOUNT) * (error * error / spread - self.scales[i])
        x, P = update(np.array(self.states[i]), np.array(self.covariances[i]), z=value, R=1.0, H=np.array([[1.0, 0.0]]))
        self.states[i], self.covariances[i] = np.asarray(x).ravel().tolist(), np.asarray(P).tolist()

    def _means(self, steps: int) -> list[float] | None:
        if not self.states:
            return None
        best = max(self.scores)
        weights = [math.exp(max(-60.0, score - best)) for score in self.scores]
        total = sum(weights)
        means = []
        for h in range(1, steps + 1):
            reach = sum(DAMPING**k for k in range(1, h + 1))
            forecasts = [max(0.0, level + reach * trend) for level, trend in self.states]
            means.append(sum(w * f for w, f in zip(weights, forecasts, strict=True)) / total)
        return means

    def options(self) -> dict[str, Any]:
        return {}
