"""Rolling-origin evaluation: at every step forecast, score what was said before, only then learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from predictors import registry
from predictors.api import FitRequest
from predictors.fits import run_fit


@dataclass(frozen=True, slots=True)
class Score:
    """How one predictor did on one series at one horizon."""

    predictor: str
    steps: int
    wape: float  # Σ|error| / Σ value
    pinball: float | None  # at 0.9, over the mean value; None without quantiles
    coverage: float | None  # share of values <= the 0.9 quantile
    origins: int


def backtest(
    name: str,
    values: Sequence[float | None],
    step_s: float,
    horizons: Sequence[int] = (1, 3, 5),
    warmup: int = 30,
    progress: Callable[[], None] | None = None,
) -> list[Score]:
    """Scores of the predictor called ``name`` on a series; fits are adopted one step after they were asked for."""
    predictor = registry.make(name, step_s)
    said: dict[int, list[tuple[int, float, float | None]]] = {h: [] for h in horizons}
    running: FitRequest | None = None
    for i, value in enumerate(values):
        predictor.update(i * step_s, value)
        if running is not None:
            predictor.adopt(run_fit(running))
        running = predictor.fit_request()
        path = predictor.path(max(horizons)) if i >= warmup else None
        for h in horizons if path else ():
            forecast = path[h - 1] if path else None
            if forecast is not None and i + h < len(values):
                said[h].append((i + h, forecast.mean, forecast.quantile(0.9) if forecast.quantiles else None))
        if progress:
            progress()
    return [_scored(name, h, said[h], values) for h in horizons]


def _scored(
    name: str, steps: int, said: list[tuple[int, float, float | None]], values: Sequence[float | None]
) -> Score:
    pairs = [(mean, upper, v) for i, mean, upper in said if (v := values[i]) is not None]
    total = sum(v for _, _, v in pairs) or 1.0
    wape = sum(abs(v - mean) for mean, _, v in pairs) / total
    upper = [(u, v) for _, u, v in pairs if u is not None]
    pinball = sum(max(0.9 * (v - u), 0.1 * (u - v)) for u, v in upper) / sum(v for _, v in upper) if upper else None
    coverage = sum(v <= u for u, v in upper) / len(upper) if upper else None
    return Score(name, steps, wape, pinball, coverage, len(pairs))
