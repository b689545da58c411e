"""Figures as tables for people; a hundred columns are enough."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from planner.simulation.report.figures import Latency, Row, Summary


def verdict(summary: Summary) -> str:
    """The promise, kept or not, in a sentence."""
    both, goal = summary.attainment.both, summary.promise.goal
    promise = (
        f"TTFT ≤ {ms(summary.promise.ttft_s)} and ITL ≤ {ms(summary.promise.itl_s)} for {100 * goal:.4g} % of requests"
    )
    if both is None:
        return f"No request arrived; nothing was promised ({promise})."
    word = "kept" if both >= goal else "not kept"
    return f"Promise {word}: {both:.2%} of {summary.requests:,} requests kept both ({promise})."


def simulation(summary: Summary) -> RenderableType:
    """One run."""
    good = summary.attainment.both is not None and summary.attainment.both >= summary.promise.goal
    lines = [
        ("requests", f"{summary.requests:,} arrived, {summary.completed:,} completed"),
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
    return Group(
        Text(f"{summary.policy}: {verdict(summary)}", style="bold green" if good else "bold red"), table, *notes
    )


def comparison(rows: Sequence[Row]) -> RenderableType:
    """Several policies, one a line."""
    caption = (
        "* at the nearest share that a plan of whole replicas keeps"
        if any(row.shown_ratio.endswith("*") for row in rows)
        else None
    )
    table = Table(title="× bound: GPU-hours over the clairvoyant plan's at the same share", caption=caption)
    for name in ("policy", "kept", "worst h", "TTFT p95", "ITL p95", "GPU-h", "× bound", "per h"):
        table.add_column(name, justify="left" if name == "policy" else "right", no_wrap=True)
    for row in rows:
        s = row.summary
        good = s.attainment.both is not None and s.attainment.both >= s.promise.goal
        table.add_row(
            s.policy,
            Text(share(s.attainment.both), style="green" if good else "red"),
            share(s.attainment.worst_hour),
            ms(s.ttft.p95),
            ms(s.itl.p95),
            f"{s.gpu_hours:,.1f}",
            row.shown_ratio,
            f"{s.changes_per_hour:.1f}",
        )
    return table


def share(value: float | None) -> str:
    """``0.9931`` → ``99.31 %``."""
    return "–" if value is None else f"{100 * value:.2f} %"


def ms(seconds: float | None) -> str:
    """Seconds as milliseconds, or as seconds when they are many."""
    if seconds is None:
        return "–"
    return f"{seconds * 1e3:.3g} ms" if seconds < 1.0 else f"{seconds:,.3g} s"


def latency(value: Latency) -> str:
    """Mean and percentiles in one line."""
    return f"mean {ms(value.mean)}   p50 {ms(value.p50)}   p95 {ms(value.p95)}   p99 {ms(value.p99)}"
