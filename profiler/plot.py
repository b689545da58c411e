"""Pictures of a profile: its points, and what is read between and beyond them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from planner.core.profiles import Profile
from planner.simulation.report.plots import GREY, RED, STYLE

INK = "#1b1b1b"
RING: dict[str, Any] = {"marker": "o", "ls": "", "ms": 10, "mfc": "none", "mec": RED, "mew": 1.4}
BEYOND = 1.2
"""How far past the last measured point a curve is drawn, dashed."""


def draw(profile: Profile, directory: Path) -> list[Path]:
    """Write ``prefill.png`` and ``decode.png`` into ``directory``; returns their paths."""
    import matplotlib as mpl

    directory.mkdir(parents=True, exist_ok=True)
    written = []
    with mpl.rc_context(STYLE):
        for name, picture in (("prefill", _prefill), ("decode", _decode)):
            path = directory / f"{name}.png"
            figure = picture(profile)
            figure.savefig(path, dpi=130)
            written.append(path)
    return written


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _prefill(profile: Profile) -> Any:
    """TTFT by prompt length, throughput in the second panel's place as a thin line on its own axis."""
    figure, axis = _figure(8.5, 4.6)
    curve = profile.prefill
    low, high = curve.isl_range
    repaired = {p.isl for p in profile.prefill_points if abs(curve.service_s(p.isl) / p.ttft_s - 1.0) > 1e-6}
    inside, beyond = np.linspace(low, high, 400), np.linspace(high, BEYOND * high, 50)
    below = np.linspace(0.0, low, 20)
    axis.plot(inside, [1e3 * curve.service_s(x) for x in inside], color="#0072B2", lw=1.8, label="read by slo")
    axis.plot(inside, 1e3 * curve.shape.at(inside), color=GREY, lw=1, ls=":", label="quadratic fit")
    for part, label in ((beyond, "extrapolated"), (below, None)):
        axis.plot(part, [1e3 * curve.service_s(x) for x in part], color="#0072B2", lw=1.4, ls="--", label=label)
    _points(axis, [(p.isl, 1e3 * p.ttft_s, p.isl in repaired) for p in profile.prefill_points], INK)
    axis.set(
        xlabel="prompt length (tokens)",
        ylabel="time to first token, alone (ms)",
        xlim=(0, BEYOND * high),
        ylim=(0, None),
    )
    if profile.prefill.repairs:
        axis.plot([], [], **RING, label="repaired")
    axis.set_title(f"Prefill: {_subject(profile)}")
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.legend(loc="upper left")
    return figure


def _decode(profile: Profile) -> Any:
    """ITL by sequences in flight, a colour a context."""
    import matplotlib as mpl

    figure, axis = _figure(8.5, 5.2)
    surface = profile.decode
    contexts = [context for context, _ in surface.reach]
    colours = mpl.colormaps["viridis"](np.linspace(0.0, 0.88, len(contexts)))
    for (context, held), colour in zip(surface.reach, colours, strict=True):
        fullest = max(1.0, held / context)
        inside = np.geomspace(1.0, fullest, 200)
        beyond = np.geomspace(fullest, min(BEYOND * fullest, max(fullest, surface.kv_capacity_tokens / context)), 30)
        axis.plot(inside, [1e3 * surface.itl_s(n, context) for n in inside], color=colour, lw=1.8)
        axis.plot(beyond, [1e3 * surface.itl_s(n, context) for n in beyond], color=colour, lw=1.2, ls="--")
        axis.plot(inside, 1e3 * surface.shape.at(inside, np.full_like(inside, context)), color=colour, lw=0.8, ls=":")
        mine = [
            (n, p)
            for p, n in zip(profile.decode_points, profile.decode_sequences, strict=True)
            if p.context_tokens == context
        ]
        marks = [(n, 1e3 * p.itl_s, abs(surface.itl_s(n, context) / p.itl_s - 1.0) > 1e-6) for n, p in mine]
        _points(axis, marks, colour)
        axis.plot([], [], "o-", color=colour, label=f"{context:,.0f}")
    axis.plot([], [], color=GREY, ls="--", label="extrapolated")
    axis.plot([], [], color=GREY, ls=":", label="a + b·n + c·kv")
    if surface.repairs:
        axis.plot([], [], **RING, label="repaired")
    axis.set(xscale="log", xlabel="sequences in flight", ylabel="inter-token latency (ms)", ylim=(0, None))
    axis.set_title(f"Decode: {_subject(profile)}")
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.legend(title="mean context (tokens)", loc="upper left")
    return figure


def _points(axis: Any, marks: list[tuple[float, float, bool]], colour: Any) -> None:
    """Measured points; those that are read differently are ringed."""
    axis.plot([x for x, _, _ in marks], [y for _, y, _ in marks], "o", ms=4.5, color=colour, zorder=3)
    moved = [(x, y) for x, y, repaired in marks if repaired]
    if moved:
        axis.plot(*zip(*moved, strict=True), **RING, zorder=4)


def _subject(profile: Profile) -> str:
    kind = "" if profile.provenance.measured else " (estimated)"
    return f"{profile.provenance.model} on {profile.provenance.gpu}{kind}"
