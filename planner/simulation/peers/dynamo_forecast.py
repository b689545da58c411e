"""The load predictors of NVIDIA Dynamo's planner (1.6.1, ``core/load/predictors.py``): one step ahead, point only.

All leave out the zeros before the first traffic and repeat the last value until they have five. The libraries are
those of the original, imported when used.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

ENOUGH = 5


@contextmanager
def _quiet() -> Iterator[None]:
    """One thread (these matrices are tiny), and nothing of what the libraries say about each other."""
    from threadpoolctl import threadpool_limits

    for noisy in ("cmdstanpy", "prophet"):
        logging.getLogger(noisy).disabled = True  # a level would be set anew by their import; what fails is raised
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        yield


class Forecaster(Protocol):
    """One series on a fixed interval."""

    def add(self, value: float) -> None:
        """Learn the value of the interval that has ended."""

    def ahead(self) -> float:
        """The value of the next interval; 0 when nothing is known."""


@dataclass(slots=True)
class Constant:
    """What was, will be."""

    values: list[float] = field(default_factory=list)

    def add(self, value: float) -> None:
        """Learn one value."""
        if value or self.values:
            self.values.append(value)

    def ahead(self) -> float:
        """The last value."""
        return self.values[-1] if self.values else 0.0


@dataclass(slots=True)
class Arima(Constant):
    """Orders chosen once, then updated; an order without dynamics is chosen anew for log(1 + value)."""

    model: Any = None
    logs: bool = False
    told: int = 0  # values that the model has seen

    def ahead(self) -> float:
        """The model's forecast, never negative; the last value when it fails."""
        if len(self.values) < ENOUGH:
            return Constant.ahead(self)
        if len(set(self.values)) == 1:
            return self.values[0]
        try:
            with _quiet():
                return self._forecast()
        except (ArithmeticError, ValueError, IndexError, RuntimeError):
            return self.values[-1]
        finally:
            self.told = len(self.values)

    def _forecast(self) -> float:
        import pmdarima

        if self.model is None:
            self.model = pmdarima.auto_arima(self.values, suppress_warnings=True, error_action="ignore")
            if self.model.order[0] == self.model.order[2] == 0:
                logs = [math.log1p(v) for v in self.values]
                self.model = pmdarima.auto_arima(logs, suppress_warnings=True, error_action="ignore")
                self.logs = True
        elif self.told < len(self.values):
            fresh = self.values[self.told :]
            self.model.update([math.log1p(v) for v in fresh] if self.logs else fresh)
        found = float(self.model.predict(n_periods=1)[0])
        return max(0.0, math.expm1(found) if self.logs else found)


@dataclass(slots=True)
class Kalman(Constant):
    """A local linear trend: level noise 1, trend noise 0.1, observation noise 10."""

    filter: Any = None
    predicted: bool = False

    def add(self, value: float) -> None:
        """Correct by one value."""
        before = len(self.values)
        Constant.add(self, value)
        if len(self.values) == before:
            return
        if self.filter is None:
            self.filter = _trend(value)
        else:
            if not self.predicted:
                self.filter.predict()
            self.filter.update([[value]])
        self.predicted = False

    def ahead(self) -> float:
        """The level one step on, never negative."""
        if len(self.values) < ENOUGH:
            return Constant.ahead(self)
        if not self.predicted:
            self.filter.predict()
            self.predicted = True
        return max(0.0, float(self.filter.x[0][0]))


def _trend(level: float) -> Any:
    import numpy as np
    from filterpy.kalman import KalmanFilter

    found = KalmanFilter(dim_x=2, dim_z=1)
    found.x = np.array([[level], [0.0]])
    found.F = np.array([[1.0, 1.0], [0.0, 1.0]])
    found.H = np.array([[1.0, 0.0]])
    found.P *= 1000.0
    found.R = np.array([[10.0]])
    found.Q = np.diag([1.0, 0.1])
    return found


@dataclass(slots=True)
class Prophet(Constant):
    """Fitted anew to the last fifty values, each time."""

    interval_s: float = 180.0
    steps: int = 0

    def add(self, value: float) -> None:
        """Learn one value."""
        before = len(self.values)
        Constant.add(self, value)
        self.steps += len(self.values) - before
        self.values = self.values[-50:]

    def ahead(self) -> float:
        """Prophet's yhat, never negative."""
        if len(self.values) < ENOUGH:
            return Constant.ahead(self)
        with _quiet():
            return self._forecast()

    def _forecast(self) -> float:
        import pandas as pd
        import prophet

        first = self.steps - len(self.values)
        when = pd.Timestamp("2024-01-01") + pd.to_timedelta(
            [self.interval_s * (first + k) for k in range(len(self.values) + 1)], unit="s"
        )
        model = prophet.Prophet(uncertainty_samples=0).fit(pd.DataFrame({"ds": when[:-1], "y": self.values}))
        return max(0.0, float(model.predict(pd.DataFrame({"ds": when[-1:]}))["yhat"].iloc[0]))


FORECASTERS: dict[str, Callable[[], Forecaster]] = {
    "constant": Constant,
    "arima": Arima,
    "kalman": Kalman,
    "prophet": Prophet,
}


@dataclass(slots=True)
class Shape:
    """Requests and their mean lengths, interval by interval; an idle one keeps the last lengths."""

    requests: Forecaster
    isl: Forecaster
    osl: Forecaster
    last: tuple[float, float] = (0.0, 0.0)
    seen: bool = False

    def add(self, requests: float, isl: float, osl: float) -> None:
        """One interval; NaN where there is no mean."""
        self.requests.add(requests)
        if requests > 0:
            self.seen = True
            self.last = (isl if math.isfinite(isl) else self.last[0], osl if math.isfinite(osl) else self.last[1])
        elif self.seen:
            isl, osl = self.last
        for series, value in ((self.isl, isl), (self.osl, osl)):
            if math.isfinite(value):
                series.add(value)

    def ahead(self) -> tuple[float, float, float]:
        """Requests, ISL and OSL of the next interval."""
        return self.requests.ahead(), self.isl.ahead(), self.osl.ahead()
