"""Behaviour added around any predictor: logarithms, calibrated quantiles, a blend of several."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from predictors.api import QUANTILES, FitRequest, Forecast
from predictors.base import Gridded

SCENARIOS = 11
MEMORY = 200
"""Residuals kept for each horizon: 60 under-cover, 500 react late (facts/forecasting of the study)."""


class Log1p(Gridded):
    """Forecast in log space: growth is a slope, and the answer is never negative."""

    NAME = "log1p"
    FIELDS = ("inner",)

    def __init__(self, step_s: float, inner: Gridded) -> None:
        super().__init__(step_s)
        self.inner = inner

    def update(self, at: float, value: float | None) -> None:
        super().update(at, value)
        self.inner.update(at, None if value is None else math.log1p(value))

    def _learn(self, value: float | None) -> None:
        """The inner predictor has its own door."""

    def _means(self, steps: int) -> list[float] | None:
        path = self.inner.path(steps)
        return None if path is None else [math.expm1(min(f.mean, 50.0)) for f in path]


class Blend(Gridded):
    """Members weighted by how much they have erred of late, at the horizon that matters.

    Weights are exp(−SHARPNESS · (L − L_min) / Y) with discounted sums of absolute errors L and of the series
    Y (exponential weights, Vovk 1990; Cesa-Bianchi and Lugosi 2006). Members that cannot forecast yet wait.
    """

    NAME = "blend"
    FIELDS = ("members", "losses", "total", "pending", "joined")
    SHARPNESS = 120.0
    DISCOUNT = 0.97

    def __init__(self, step_s: float, members: Sequence[Gridded], horizon: int = 3) -> None:
        super().__init__(step_s)
        self.members = list(members)
        self.horizon = horizon
        self.losses = [0.0] * len(self.members)
        self.total = 0.0
        self.pending: list[list[float] | None] = []  # member forecasts for the coming steps, oldest first
        self.joined = [0] * len(self.members)

    @property
    def forgets_after(self) -> int:
        """Its own memory; each member fills the gap by its own."""
        return self.horizon

    def options(self) -> dict[str, Any]:
        return {"horizon": self.horizon}

    def update(self, at: float, value: float | None) -> None:
        super().update(at, value)
        for member in self.members:
            member.update(at, value)
        said = [member._means(self.horizon) for member in self.members]
        self.pending.append(None if any(s is None for s in said) else [max(0.0, s[-1]) for s in said if s])

    def _learn(self, value: float | None) -> None:
        due = self.pending.pop(0) if len(self.pending) >= self.horizon else None
        del self.pending[: -self.horizon]
        if value is None or due is None:
            return
        self.total = self.DISCOUNT * self.total + value
        self.losses = [self.DISCOUNT * loss + abs(value - said) for loss, said in zip(self.losses, due, strict=True)]

    def weights(self) -> list[float]:
        """Share of each member, summing to 1."""
        least = min(self.losses)
        scale = self.SHARPNESS / self.total if self.total > 0 else 0.0
        raw = [math.exp(-min(60.0, scale * (loss - least))) for loss in self.losses]
        whole = sum(raw)
        return [w / whole for w in raw]

    def _means(self, steps: int) -> list[float] | None:
        said = [member._means(steps) for member in self.members]
        known = [(w, s) for w, s in zip(self.weights(), said, strict=True) if s is not None]
        if not known:
            return None
        total = sum(w for w, _ in known)
        return [sum(w * max(0.0, s[h]) for w, s in known) / total for h in range(steps)]

    def fit_request(self) -> FitRequest | None:
        """The first member that wants a fit."""
        return next((r for r in (member.fit_request() for member in self.members) if r is not None), None)

    def adopt(self, model: Mapping[str, Any]) -> None:
        """Hand the model to the member it is for: ARIMA's has parameters, Prophet's has values."""
        name = "prophet" if "values" in model else "arima"
        for member in self.members:
            if name == member.NAME:
                member.adopt(model)


class Conformal(Gridded):
    """Calibrated quantiles around any predictor, from its own errors at each horizon.

    Errors are divided by the square root of the forecast, as arrivals scatter, or of the series' own mean
    where the forecast is lower: what comes out of a silence says little about the scatter of a load. The
    level asked of the residuals is adapted so that the realised coverage settles on the nominal one
    (adaptive conformal inference, Gibbs and Candès 2021). ``UNSEEN`` are relative errors that count among the
    residuals though nobody has made them yet: most of what a beginner knows, 3 % of a full memory. No scenario
    lies far above all that was ever seen.
    """

    NAME = "conformal"
    FIELDS = ("inner", "residuals", "pending", "shift", "learnt", "recent")
    HORIZONS = 5
    BURN_IN = 5  # values learnt before forecasts are scored: the errors of a beginner are not those of the series
    GAIN = 0.005
    UNSEEN = tuple(0.15 * z for z in (-1.4, -0.7, -0.3, 0.0, 0.3, 0.7, 1.4))  # public traces: 5 to 30 %
    HEADROOM = 1.5  # no scenario beyond this many times the highest value of late

    def __init__(self, step_s: float, inner: Gridded) -> None:
        super().__init__(step_s)
        self.inner = inner
        self.residuals: list[list[float]] = [[] for _ in range(self.HORIZONS)]
        self.pending: list[list[float] | None] = []  # paths said at earlier steps, newest last
        self.shift = [0.0] * self.HORIZONS  # added to the level of the upper quantile
        self.learnt = 0  # values, gaps not counted
        self.recent: list[float] = []  # the last MEMORY of them

    @property
    def forgets_after(self) -> int:
        """Its own memory; the inner predictor fills the gap by its own."""
        return self.HORIZONS

    def update(self, at: float, value: float | None) -> None:
        super().update(at, value)
        self.inner.update(at, value)
        self.pending.append(self.inner._means(self.HORIZONS) if self.learnt >= self.BURN_IN else None)

    def _learn(self, value: float | None) -> None:
        del self.pending[: -self.HORIZONS]
        if value is None:
            return
        self.learnt += 1
        usual = self._usual()
        for h in range(1, min(self.HORIZONS, len(self.pending)) + 1):
            said = self.pending[-h]
            if said is not None:
                self._score(h - 1, max(0.0, said[h - 1]), value, usual)
        self.recent.append(value)
        del self.recent[:-MEMORY]

    def _score(self, h: int, said: float, value: float, usual: float) -> None:
        kept, scale = self.residuals[h], _scale(said, usual)
        if kept:
            bound = said + scale * _level(self._known(h, said / scale), 0.9 + self.shift[h])
            self.shift[h] += self.GAIN * ((value > bound) - 0.1)
            self.shift[h] = min(0.08, max(-0.2, self.shift[h]))
        kept.append((value - said) / scale)
        del kept[:-MEMORY]

    def path(self, steps: int) -> Sequence[Forecast] | None:
        """Forecasts with quantiles and scenarios for 1 … ``steps`` ahead."""
        inner, usual, highest = self.inner.path(steps), self._usual(), max(self.recent, default=0.0)
        return None if inner is None else [self._spread(forecast, usual, highest) for forecast in inner]

    def _spread(self, forecast: Forecast, usual: float, highest: float) -> Forecast:
        h = min(forecast.steps, self.HORIZONS) - 1
        if not self.residuals[h]:
            return forecast
        mean, scale = forecast.mean, _scale(forecast.mean, usual)
        known, most = self._known(h, mean / scale), self.HEADROOM * max(mean, highest)
        scale *= math.sqrt(forecast.steps / (h + 1))
        quantiles, last = {}, 0.0
        for level in QUANTILES:
            shift = self.shift[h] * min(1.0, max(0.0, (level - 0.5) / 0.4))
            last = max(last, min(most, mean + scale * _level(known, level + shift)))
            quantiles[level] = last
        scenarios = (mean + scale * _level(known, (k + 0.5) / SCENARIOS) for k in range(SCENARIOS))
        return Forecast(forecast.steps, mean, quantiles, tuple(min(most, max(0.2 * mean, s)) for s in scenarios))

    def _known(self, h: int, unit: float) -> list[float]:
        """Scaled residuals of horizon ``h`` in order, with the relative errors that are only feared times ``unit``."""
        return sorted([*self.residuals[h], *[unit * error for error in self.UNSEEN]])

    def _usual(self) -> float:
        """The mean of the series of late; 0 before there is any."""
        return sum(self.recent) / len(self.recent) if self.recent else 0.0

    def _means(self, steps: int) -> list[float] | None:
        return self.inner._means(steps)

    def fit_request(self) -> FitRequest | None:
        """The inner predictor's wish."""
        return self.inner.fit_request()

    def adopt(self, model: Mapping[str, Any]) -> None:
        """For the inner predictor."""
        self.inner.adopt(model)


def _scale(said: float, usual: float) -> float:
    """√ of the forecast, or of the mean of the series; a floor, so that a forecast of nothing can be wrong."""
    return math.sqrt(max(said, usual, 1e-3))


def _level(ordered: Sequence[float], level: float) -> float:
    """Quantile of an ordered sample, linear between order statistics (finite-sample: (n + 1) · level)."""
    place = min(max(level, 0.0), 1.0) * (len(ordered) + 1) - 1.0
    if place <= 0:
        return ordered[0]
    if place >= len(ordered) - 1:
        return ordered[-1]
    i = int(place)
    return ordered[i] + (place - i) * (ordered[i + 1] - ordered[i])


__all__ = ["Blend", "Conformal", "Log1p"]
