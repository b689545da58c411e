"""Pictures of a comparison: what each policy keeps against what it costs, the Pareto front drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from planner.simulation.report.plots import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, STYLE, saved
from planner.simulation.report.standings import ALL_KNOWING, CaseFigures, Group, front_of

TICKS = (0.0, 50.0, 80.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.8, 99.9, 99.99, 100.0)
FAR = 3.0
"""A policy that costs more than this many times the median is drawn at the edge."""
BEST = 99.995
"""Shares above this are drawn at it: the axis is one of misses, and has no place for none."""


@dataclass(frozen=True, slots=True)
class Dot:
    """One policy in a picture."""

    name: str
    cost: float
    kept: float  # %
    cost_half: float = 0.0
    kept_half: float = 0.0


def case(figures: CaseFigures) -> Any:
    """A case: GPU-hours against the share kept (a matplotlib figure)."""
    dots = [
        Dot(s.policy, s.gpu_hours.value, 100 * s.kept.value, s.gpu_hours.half or 0.0, 100 * (s.kept.half or 0.0))
        for s in figures.standings()
    ]
    curve = [(hours, 100 * share) for hours, share in figures.curve]
    return _drawn(dots, 100 * figures.goal, curve, "GPU-hours", "requests that kept both promises, %", figures.title)


def overall(group: Group) -> Any:
    """A group of cases: cost over the bound's against the share kept of what is attainable (a matplotlib figure).

    Only policies that stood in most of them.
    """
    cases = len(group.cases)
    dots = [Dot(s.policy, s.cost, 100 * s.kept) for s in group.standings if 2 * s.cases > cases]
    words = "GPU-hours over those of the clairvoyant bound at the goal", "kept, % of what is attainable"
    return _drawn(dots, 99.0, [], *words, f"{group.title}: {cases}, geometric means")


def write(figure: Any, path: Path) -> Path:
    """The figure as PNG."""
    return saved(figure, path)


def _drawn(dots: Sequence[Dot], goal: float, curve: Sequence[tuple[float, float]], across: str, up: str,
           title: str) -> Any:  # fmt: skip
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, 7), dpi=110, layout="constrained")
        axis = figure.subplots()
        dots = _within(dots)
        _scales(axis, dots, goal)
        axis.axhline(goal, color=GREY, lw=1, ls="--", zorder=1)
        axis.annotate(f"goal {goal:.4g} %", (1.0, goal), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                      color=GREY, fontsize=9)  # fmt: skip
        _lines(axis, dots, curve)
        texts = [_dot(axis, dot) for dot in dots]
        axis.set_xlabel(across)
        axis.set_ylabel(up)
        axis.set_title(title)
        _legend(axis)
        _spread_out(figure, axis, texts, dots)
        return figure


def _within(dots: Sequence[Dot]) -> list[Dot]:
    """What costs many times what others do stands at the edge, its cost beside its name."""
    edge = FAR * float(np.median([dot.cost for dot in dots])) if dots else 0.0
    return [
        dot if dot.cost <= edge else replace(dot, name=f"{dot.name} ({dot.cost:,.4g} →)", cost=edge, cost_half=0.0)
        for dot in dots
    ]


def _scales(axis: Any, dots: Sequence[Dot], goal: float) -> None:
    """Upwards the logarithm of what is missed, so that 99 and 99.9 % are told apart; across logarithmic if wide."""
    axis.set_yscale("function", functions=(_nines, _shares))
    shares = [min(dot.kept, BEST) for dot in dots] + [2 * goal - 100, min(BEST, 0.5 * goal + 50)]
    low, high = _nines(np.array([max(0.0, min(shares)), max(shares)]))
    room = 0.08 * (high - low) + 0.02
    axis.set_ylim(*(float(x) for x in _shares(np.array([max(-0.02, low - room), high + room]))))
    bottom, top = axis.get_ylim()
    ticks = [tick for tick in TICKS if bottom <= tick <= top]
    axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    costs = [dot.cost for dot in dots if dot.cost > 0] or [1.0]
    if max(costs) > 4 * min(costs):
        from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlim(min(costs) / 1.15, max(costs) * 1.3)
    else:
        room = 0.12 * (max(costs) - min(costs)) or 0.1 * max(costs)
        axis.set_xlim(min(costs) - room, max(costs) + 1.5 * room)


def _nines(kept: Any) -> Any:
    """How many nines a share in % has: 90 → 1, 99 → 2."""
    return -np.log10(np.maximum(1e-5, 1.0 - np.asarray(kept, float) / 100.0))


def _shares(nines: Any) -> Any:
    return 100.0 * (1.0 - 10.0 ** -np.asarray(nines, float))


def _lines(axis: Any, dots: Sequence[Dot], curve: Sequence[tuple[float, float]]) -> None:
    names = front_of((dot.name, dot.cost, dot.kept) for dot in dots if dot.name not in ALL_KNOWING)
    front = [next(dot for dot in dots if dot.name == name) for name in names]
    if len(front) > 1:
        axis.step([d.cost for d in front], [min(d.kept, BEST) for d in front], where="post", color=BLUE, lw=1.2,
                  alpha=0.6, label="Pareto front", zorder=2)  # fmt: skip
    ideal = sorted(curve)
    if len(ideal) > 1:
        axis.plot([x for x, _ in ideal], [min(y, BEST) for _, y in ideal], color=GREEN, lw=1.2, ls=":",
                  label="clairvoyant bound", zorder=2)  # fmt: skip


def _look(name: str) -> tuple[str, str, bool, str]:
    """(colour, marker, filled, kind) of a policy."""
    name = name.partition(" ")[0]
    if name == "slo":
        return BLUE, "*", True, "slo"
    if name.startswith(("slo:", "slo+")):
        return BLUE, "o", False, "slo, changed"
    if name in ALL_KNOWING:
        return GREEN, "D", True, "knows the future"
    if name.startswith("static"):
        return GREY, "s", True, "fixed fleet"
    if name.endswith(":tuned"):
        return RED, "^", True, "other project's law, tuned"
    if name.startswith("classic"):
        return PURPLE, "o", True, "classic"
    return ORANGE, "o", True, "other project's law, as shipped"


def _dot(axis: Any, dot: Dot) -> Any:
    colour, marker, filled, kind = _look(dot.name)
    known = axis.get_legend_handles_labels()[1]
    y = min(dot.kept, BEST)
    if dot.cost_half or dot.kept_half:
        axis.errorbar([dot.cost], [y], xerr=dot.cost_half, yerr=[[dot.kept_half], [min(dot.kept_half, BEST - y)]],
                      color=colour, lw=0.8, alpha=0.6, zorder=2)  # fmt: skip
    axis.scatter([dot.cost], [y], s=190 if marker == "*" else 46, marker=marker, edgecolors=colour, zorder=4,
                 facecolors=colour if filled else "none", label=None if kind in known else kind)  # fmt: skip
    weight = "bold" if dot.name == "slo" else "normal"
    return axis.text(dot.cost, y, dot.name, fontsize=8.5, color="#222222", weight=weight, zorder=5, in_layout=False)


def _legend(axis: Any) -> None:
    handles, names = axis.get_legend_handles_labels()
    axis.figure.legend(handles, names, loc="outside lower center", ncols=min(4, max(1, len(names))), fontsize=9)


def _spread_out(figure: Any, axis: Any, texts: list[Any], dots: Sequence[Dot]) -> None:
    """Move names so that none covers another or a dot."""
    from adjustText import adjust_text
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # what has been laid out stays, or the names would be off again
    adjust_text(
        texts,
        x=[dot.cost for dot in dots],
        y=[min(dot.kept, BEST) for dot in dots],
        ax=axis,
        iter_lim=300,
        expand=(1.15, 1.5),
        force_text=(0.3, 0.5),
        arrowprops={"arrowstyle": "-", "color": GREY, "lw": 0.6},
    )
