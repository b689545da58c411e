"""Pictures of a run. Colours are told apart by the colour-blind (Okabe and Ito)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from planner.simulation.report.timelines import PoolLines, Staircase, Timelines, timelines
from planner.simulation.run import Run

BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#777777"
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "svg.fonttype": "none",
    "figure.constrained_layout.use": True,
}
Panel = Callable[[Any, Run, Timelines], None]


def plot_run(run: Run, directory: Path) -> list[Path]:
    """Write ``overview.png`` and a picture of each panel into ``directory``; returns their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    lines = timelines(run)
    written = [saved(overview(run, lines), directory / "overview.png")]
    for name, panel in panels(run).items():
        written.append(saved(_drawn([panel], run, lines, 3.2), directory / f"{name}.png"))
    return written


def overview(run: Run, lines: Timelines | None = None) -> Any:
    """All panels above each other on one time axis (a matplotlib figure)."""
    return _drawn(list(panels(run).values()), run, lines or timelines(run), 2.3)


def panels(run: Run) -> dict[str, Panel]:
    """Panels by name, in the order they are read."""
    pools: dict[str, Panel] = {f"replicas-{pool}": _replicas(pool) for pool in run.gpus_per_replica}
    return {"load": _load, **pools, "ttft": _ttft, "itl": _itl, "attainment": _attainment, "gpu-hours": _gpu_hours}


def _load(axis: Any, run: Run, lines: Timelines) -> None:
    axis.plot(_h(lines.times_s), lines.rate, color=BLUE, lw=1, label="arrived")
    if len(lines.forecast_s):
        at = _h(lines.forecast_s)
        axis.fill_between(
            at, lines.forecast_low, lines.forecast_high, color=ORANGE, alpha=0.3, lw=0, label="forecast, 5–95 %"
        )
        axis.plot(at, lines.forecast_mean, color=ORANGE, lw=1, label="forecast for this moment")
    axis.set_ylim(bottom=0)
    axis.set_title("Load, requests per second")
    axis.legend(loc="upper left", ncols=3)


def _replicas(pool: str) -> Panel:
    def panel(axis: Any, run: Run, lines: Timelines) -> None:
        drawn: PoolLines = lines.pools[pool]
        end = run.traffic.duration_s
        _stairs(axis, drawn.wanted, end, color=GREY, lw=0.7, alpha=0.7, label="wanted")
        _stairs(axis, drawn.asked, end, color=ORANGE, lw=1.4, label="asked for")
        _stairs(axis, drawn.ready, end, color=GREEN, lw=1.4, label="ready")
        axis.set_ylim(bottom=0)
        axis.yaxis.get_major_locator().set_params(integer=True)
        axis.set_title(f"Replicas, {pool}")
        axis.legend(loc="lower left", ncols=3)

    return panel


def _ttft(axis: Any, run: Run, lines: Timelines) -> None:
    _latency(axis, lines, lines.ttft_p50, lines.ttft_p95, run.promise.ttft_s)
    axis.set_title("TTFT, milliseconds")


def _itl(axis: Any, run: Run, lines: Timelines) -> None:
    _latency(axis, lines, lines.itl_p50, lines.itl_p95, run.promise.itl_s)
    axis.set_title("ITL (mean of a request), milliseconds")


def _latency(axis: Any, lines: Timelines, p50: Any, p95: Any, target_s: float) -> None:
    at = _h(lines.times_s)
    axis.plot(at, 1e3 * p95, color=PURPLE, lw=1, label="p95")
    axis.plot(at, 1e3 * p50, color=BLUE, lw=1, label="p50")
    axis.axhline(1e3 * target_s, color=RED, lw=1, ls="--", label=f"target {1e3 * target_s:g} ms")
    axis.fill_between(at, 0, 1, where=p95 > target_s, transform=axis.get_xaxis_transform(), color=RED, alpha=0.08, lw=0)
    known = p95[np.isfinite(p95)]
    top = 1e3 * max(1.6 * target_s, float(np.quantile(known, 0.98)) * 1.1 if len(known) else 0.0)
    axis.set_ylim(0, top)
    axis.legend(loc="upper left", ncols=3)


def _attainment(axis: Any, run: Run, lines: Timelines) -> None:
    kept = 100.0 * lines.kept
    axis.plot(_h(lines.times_s), kept, color=GREEN, lw=1, label="kept both")
    axis.axhline(100.0 * run.promise.goal, color=RED, lw=1, ls="--", label=f"goal {100 * run.promise.goal:g} %")
    known = kept[np.isfinite(kept)]
    axis.set_ylim(min(90.0, float(np.quantile(known, 0.02)) - 2.0 if len(known) else 90.0), 100.5)
    axis.set_title("Requests that kept both promises, %")
    axis.legend(loc="lower left", ncols=2)


def _gpu_hours(axis: Any, run: Run, lines: Timelines) -> None:
    axis.plot(_h(lines.times_s), lines.gpu_hours, color=BLUE, lw=1.5)
    axis.set_ylim(bottom=0)
    axis.set_title(f"GPU-hours so far ({lines.gpu_hours[-1]:,.1f} in all)")


def _stairs(axis: Any, steps: Staircase, end_s: float, **look: Any) -> None:
    if len(steps.times_s):
        times = np.append(steps.times_s, end_s)
        axis.step(_h(times), np.append(steps.counts, steps.counts[-1]), where="post", **look)


def _time_axis(axis: Any, run: Run) -> None:
    axis.set_xlim(0, run.traffic.duration_s / 3600.0)
    axis.set_xlabel("hours since the start")


def _h(seconds: Any) -> Any:
    return np.asarray(seconds) / 3600.0


def _drawn(chosen: Sequence[Panel], run: Run, lines: Timelines, height: float) -> Any:
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure, axes = _figure(len(chosen), (10, height * len(chosen)))
        for axis, panel in zip(np.atleast_1d(axes), chosen, strict=True):
            panel(axis, run, lines)
        _time_axis(np.atleast_1d(axes)[-1], run)
        return figure


def _figure(rows: int, size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=110, layout="constrained")
    return figure, figure.subplots(rows, 1, sharex=True)


def saved(figure: Any, path: Path) -> Path:
    """The figure as PNG."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure.savefig(path)
    return path
