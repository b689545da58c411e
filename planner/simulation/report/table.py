"""Figures as tables for people; a hundred columns are enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rich.console import Group as Tables
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from planner.core.policy import What
from planner.simulation.promises import Verdict
from planner.simulation.report.figures import Latency, Summary
from planner.simulation.report.standings import CaseFigures, Group, Mean, Standing


def verdict(summary: Summary) -> str:
    """The promise, kept or not, in a sentence."""
    both, word = summary.attainment.both, "kept" if summary.kept else "not kept"
    promise = summary.promise
    if both is None:
        return f"No request arrived; nothing was promised ({promise})."
    if summary.promise.is_joint:
        return f"Promise {word}: {both:.2%} of {summary.requests:,} requests kept both ({promise})."
    return f"Promises {word}: {'; '.join(map(outcome, summary.verdicts))}."


def promises(summary: Summary) -> list[tuple[str, str]]:
    """A line for each of several promises: kept or not, and what was observed."""
    if summary.promise.is_joint:
        return []
    return [(f"{one.promise.name} {'kept' if one.kept else 'not kept'}", outcome(one)) for one in summary.verdicts]


def outcome(verdict: Verdict) -> str:
    """One promise beside what was observed: ``p95 TTFT 310 ms (target 500 ms)``."""
    show = share if verdict.promise.what is What.BOTH else ms
    return f"{verdict.promise.name} {show(verdict.observed)} (target {show(verdict.target)})"


def simulation(summary: Summary) -> RenderableType:
    """One run."""
    good = summary.kept
    lines = [
        ("requests", f"{summary.requests:,} arrived, {summary.completed:,} completed"),
        *promises(summary),
        ("kept both", f"{share(summary.attainment.both)}   worst 5 min {share(summary.attainment.worst_5min)}   "
                      f"worst hour {share(summary.attainment.worst_hour)}"),
        ("kept TTFT / ITL", f"{share(summary.attainment.ttft)} / {share(summary.attainment.itl)}"),
        ("TTFT", latency(summary.ttft)),
        ("ITL", latency(summary.itl)),
        ("GPU-hours", f"{summary.gpu_hours:,.2f}   "
                      + "   ".join(f"{pool} {hours:,.2f}" for pool, hours in summary.gpu_hours_by_pool.items())),
        ("replicas", "   ".join(f"{pool} {r.mean:.1f} ({r.min} to {r.max})" for pool, r in summary.pools.items())),
        ("changes", f"{summary.changes_per_hour:.1f} per hour"),
        ("goodput", f"{summary.goodput_per_s:,.2f} requests/s"
                    + (f"   {summary.goodput_per_gpu_hour:,.0f} per GPU-hour" if summary.goodput_per_gpu_hour else "")),
        ("speed", f"{summary.requests_per_second:,.0f} requests/s of plant, {summary.wall_seconds:.1f} s in all"),
    ]  # fmt: skip
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    for name, text in lines:
        table.add_row(name, text)
    notes = [Text(f"note: {note}", style="dim") for note in summary.notes]
    return Tables(
        Text(f"{summary.policy}: {verdict(summary)}", style="bold green" if good else "bold red"), table, *notes
    )


def comparison(case: CaseFigures) -> RenderableType:
    """One case: every policy a line."""
    standings = case.standings()
    title = f"{case.title}: {case.requests:,} requests, {share(case.attainable)} attainable"
    table = Table(title=title, caption=_caption(standings))
    for name in ("", "policy", "kept", "worst h", "GPU-h", "× bound", "per h"):
        table.add_column(name, justify="left" if name in ("", "policy") else "right", no_wrap=name != "policy")
    for s in standings:
        table.add_row(
            "●" if s.at_the_front else "",
            s.policy,
            Text(_with(s.kept, share), style="green" if s.kept.value >= case.goal else "red"),
            share(s.worst_hour.value),
            _with(s.gpu_hours, lambda x: f"{x:,.1f}"),
            shown_ratio(s),
            f"{s.changes_per_hour.value:.1f}",
        )
    chosen = [Text(f"{s.policy}: {knobs(s)}", style="dim") for s in standings if s.chosen]
    return Tables(table, *chosen, *(Text(line, style="bold red") for line in lost(standings)))


def overall(group: Group) -> RenderableType:
    """A group of cases: every policy a line."""
    caption = (
        "geometric means; kept and worst hour are parts of what is attainable;\n"
        "× goal: GPU-hours over the bound's at the goal, × own: over the bound's at the policy's share"
    )
    table = Table(title=f"{group.title} ({len(group.cases)})", caption=caption)
    for name in ("policy", "in", "goal kept", "kept", "worst h", "× goal", "× own", "front"):
        table.add_column(name, justify="left" if name == "policy" else "right", no_wrap=name != "policy",
                         min_width=14 if name == "policy" else None, overflow="fold")  # fmt: skip
    for s in group.standings:
        table.add_row(
            s.policy,
            str(s.cases),
            Text(str(s.goals), style="green" if s.goals == s.cases else "red"),
            share(s.kept),
            share(s.worst_hour),
            f"{s.cost:.3f}",
            "–" if s.ratio is None else f"{s.ratio:.3f}",
            str(s.fronts),
        )
    beaten = [Text(f"keeps more for less than {s.policy}: {by}", style="bold red")
              for s in group.standings for by in s.beaten_by]  # fmt: skip
    return Tables(table, *beaten)


def lost(standings: Sequence[Standing]) -> list[str]:
    """Who keeps more for less than the first policy, in words."""
    return [f"{s.policy} keeps more for less than {standings[0].policy}" for s in standings if s.beats_the_first]


def knobs(standing: Standing) -> str:
    """``queue=4 kv=0.7``."""
    return " ".join(f"{name}={value:g}" for name, value in standing.chosen.items())


def shown_ratio(standing: Standing) -> str:
    """The ratio to the bound, starred where the bound is at another share."""
    return "–" if standing.ratio is None else f"{standing.ratio.value:.3f}{'*' if standing.starred else ''}"


def _with(value: Mean, write: Callable[[float], str]) -> str:
    """A mean with half of its interval, where there is one."""
    return write(value.value) if value.half is None else f"{write(value.value)} ± {write(value.half)}"


def _caption(standings: Sequence[Standing]) -> str:
    front = "● nobody keeps as much for less; × bound: GPU-hours over the clairvoyant plan's at the same share"
    star = "\n* at the nearest share that a plan of whole replicas keeps"
    return front + (star if any(s.starred for s in standings) else "")


def share(value: float | None) -> str:
    """``0.9931`` → ``99.31 %``."""
    return "–" if value is None else f"{100 * value:.2f} %"


def ms(seconds: float | None) -> str:
    """Seconds as milliseconds, or as seconds when they are many."""
    if seconds is None:
        return "–"
    return f"{seconds * 1e3:.3g} ms" if seconds < 1.0 else f"{seconds:,.3g} s" if seconds < math.inf else "never"


def latency(value: Latency) -> str:
    """Mean and percentiles in one line."""
    return f"mean {ms(value.mean)}   p50 {ms(value.p50)}   p95 {ms(value.p95)}   p99 {ms(value.p99)}"
