"""What every way to choose among kinds of GPU keeps and costs, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from planner.simulation.report.figures import Summary
from planner.simulation.report.table import ms, share

SCHEMA = "sla-planner/mix.v1"


@dataclass(frozen=True, slots=True)
class Priced:
    """One way to choose."""

    summary: Summary
    cost: float  # of its GPU-hours, by pool


def table(rows: Sequence[Priced]) -> RenderableType:
    """Ways to choose, and the fleet of each on the mean."""
    first = rows[0].summary
    shown = Table(title=f"{first.requests:,} requests, goal {first.promise.goal:.4g}")
    for name in ("", "kept", "worst h", "TTFT p95", "ITL p95", "cost", "GPU-h", "per h"):
        shown.add_column(name, justify="right" if name else "left", no_wrap=True)
    means = []
    for row in rows:
        s = row.summary
        shown.add_row(
            s.policy,
            Text(share(s.attainment.both), style="green" if s.kept else "red"),
            share(s.attainment.worst_hour),
            ms(s.ttft.p95),
            ms(s.itl.p95),
            f"{row.cost:,.1f}",
            f"{s.gpu_hours:,.1f}",
            f"{s.changes_per_hour:.1f}",
        )
        fleet = ", ".join(f"{pool} {replicas.mean:.1f}" for pool, replicas in s.pools.items())
        means.append(Text(f"{s.policy}: {fleet} on the mean", style="dim"))
    return Group(shown, *means)


def content(rows: Sequence[Priced]) -> dict[str, Any]:
    """The object that ``mix --json`` prints."""
    return {"schema": SCHEMA, "rows": [{**row.summary.to_json(), "cost": row.cost} for row in rows]}
