"""Slow fits as functions of plain data: they may run in another process. Heavy libraries live only here."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

from predictors.api import FitRequest

AHEAD_S = 6 * 3600.0
MOST_POINTS = 1500


def run_fit(request: FitRequest) -> Mapping[str, Any]:
    """Run one fit; the answer is for ``Predictor.adopt``.

    Raises:
        KeyError: no fit of that name.
    """
    return {"arima": fit_arima, "prophet": fit_prophet}[request.predictor](request)


def fit_arima(request: FitRequest) -> Mapping[str, Any]:
    """Order by AIC among small ones, parameters by maximum likelihood, on log1p of the values."""
    import numpy as np

    logs, last = [], 0.0
    for value in request.values:
        last = last if value is None else math.log1p(value)
        logs.append(last)
    series = np.asarray(logs)
    if np.ptp(series) < 1e-9:
        return {"d": 0, "ar": [], "ma": [], "constant": float(series[-1])}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # convergence of models that will not be chosen
        from pmdarima import auto_arima

        model = auto_arima(
            series, start_p=0, start_q=0, max_p=3, max_q=3, max_d=1, seasonal=False, stepwise=True,
            suppress_warnings=True, error_action="ignore", maxiter=30,
        )  # fmt: skip
    found = model.arima_res_
    params = dict(zip(found.param_names, (float(x) for x in found.params), strict=True))
    p, d, q = model.order
    return {
        "d": int(d),
        "ar": [params.get(f"ar.L{k}", 0.0) for k in range(1, p + 1)],
        "ma": [params.get(f"ma.L{k}", 0.0) for k in range(1, q + 1)],
        "constant": params.get("intercept", 0.0),
    }


def fit_prophet(request: FitRequest) -> Mapping[str, Any]:
    """Trend and the seasons that the history is long enough for; forecasts on the grid for six hours."""
    import logging

    import numpy as np
    import pandas as pd

    for noisy in ("cmdstanpy", "prophet"):
        logging.getLogger(noisy).disabled = True  # a level would be set anew by their import; what fails is raised
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from prophet import Prophet

        times = request.started_at + request.step_s * np.arange(len(request.values))
        known = [(t, v) for t, v in zip(times, request.values, strict=True) if v is not None]
        thin = max(1, len(known) // MOST_POINTS)
        span = known[-1][0] - known[0][0]
        frame = pd.DataFrame(
            {"ds": pd.to_datetime([t for t, _ in known[::thin]], unit="s"), "y": [v for _, v in known[::thin]]}
        )
        model = Prophet(
            daily_seasonality=span >= 1.5 * 86_400,
            weekly_seasonality=span >= 14 * 86_400,
            yearly_seasonality=False,
            uncertainty_samples=0,
        )
        model.fit(frame)
        last = times[-1]
        ahead = last + request.step_s * np.arange(0, int(AHEAD_S / request.step_s) + 1)
        said = model.predict(pd.DataFrame({"ds": pd.to_datetime(ahead, unit="s")}))["yhat"]
    return {"first_slot": round(float(last) / request.step_s), "values": [max(0.0, float(v)) for v in said]}
