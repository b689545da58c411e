"""``planner backtest-predictors``: rolling-origin evaluation on any series of rates."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from planner.answers import told
from planner.commands._options import DURATION
from planner.commands._progress import bar
from predictors.backtest import Score, backtest
from predictors.registry import BUILDERS

SCHEMA = "sla-planner/predictor-backtest.v1"


@click.command("backtest-predictors")
@click.argument("series")
@click.option("--bin", "bin_s", type=DURATION, default="3m", show_default=True, help="Length of a step.")
@click.option("--horizon", default=3, show_default=True, type=click.IntRange(1, 5), help="Steps ahead to judge by.")
@click.option(
    "--predictors",
    default="constant,ses,holt,kalman,default",
    show_default=True,
    help=f"Names, of {', '.join(BUILDERS)} and calibrated+ any of them. Fits make arima and prophet slow.",
)
@click.option("--json", "target", type=click.Path(dir_okay=False, path_type=Path, allow_dash=True), help="FILE, or -.")
def command(series: str, bin_s: float, horizon: int, predictors: str, target: Path | None) -> None:
    """Evaluate predictors on SERIES, forecasting only from the past.

    SERIES is a table of rates (see the traffic formats) or the name of shipped traffic. WAPE is the sum of
    absolute errors over the sum of values; coverage is the share of values at or under the 0.9 quantile.
    """
    names = [name.strip() for name in predictors.split(",") if name.strip()]
    values = series_of(series, bin_s)
    if len(values) < 40:
        raise ValueError(f"{series}: {len(values)} steps of {bin_s:g} s; at least 40 are needed to judge anything")
    horizons = sorted({1, horizon})
    scores: dict[str, list[Score]] = {}
    with bar(f"{len(names)} predictors, {len(values):,} steps") as progress:
        for i, name in enumerate(names):
            done = iter(range(1, len(values) + 1))
            scores[name] = backtest(
                name, values, bin_s, horizons,
                progress=lambda i=i, done=done: progress((i + next(done) / len(values)) / len(names)),  # type: ignore[misc]
            )  # fmt: skip
    _write(series, bin_s, scores, target)


def series_of(source: str, bin_s: float) -> list[float | None]:
    """Counts per step of ``bin_s`` seconds.

    Raises:
        TrafficError: it is no table of rates.
    """
    import numpy as np

    from planner.simulation.traffic.rates import read_rates
    from planner.simulation.traffic.sources import locate

    curve = read_rates(locate(source)).curve
    return [float(v) for v in curve.expected(bin_s * np.arange(math.floor(curve.end_s / bin_s) + 1, dtype=np.float64))]


def _write(series: str, bin_s: float, scores: dict[str, list[Score]], target: Path | None) -> None:
    base = {score.steps: score.wape for score in scores.get("constant", [])}
    rows = [_row(score, base) for found in scores.values() for score in found]
    from rich.table import Table

    table = Table(title=f"{series}, steps of {bin_s:g} s")
    for name in ("predictor", "steps ahead", "WAPE", "to constant", "coverage of q0.9", "pinball", "origins"):
        table.add_column(name, justify="left" if name == "predictor" else "right")
    for row in rows:
        cells = (row["wape"], row["relative_to_constant"], row["coverage"], row["pinball"])
        shown = ["–" if cell is None else f"{cell:.3f}" for cell in cells]
        table.add_row(row["predictor"], str(row["steps"]), *shown, f"{row['origins']:,}")
    with told({"schema": SCHEMA, "series": series, "bin_seconds": bin_s, "rows": rows}, target) as console:
        console.print(table)


def _row(score: Score, base: dict[int, float]) -> dict[str, Any]:
    against = base.get(score.steps)
    return {
        "predictor": score.predictor,
        "steps": score.steps,
        "wape": score.wape,
        "relative_to_constant": score.wape / against if against else None,
        "coverage": score.coverage,
        "pinball": score.pinball,
        "origins": score.origins,
    }
