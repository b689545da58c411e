"""What several models kept under one budget, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from planner.simulation.report.table import ms, share
from planner.simulation.shared import Shares

SCHEMA = "sla-planner/fleet.v1"


def table(rows: Sequence[Shares]) -> RenderableType:
    """Ways to share: all models together, then each."""
    budget = rows[0].budget
    unit = "cost per hour" if budget.in_cost else "GPUs"
    shown = Table(title=f"{len(rows[0].models)} models under {budget.limit:g} {unit}")
    for name in ("split", "model", "kept", "worst h", "TTFT p95", "ITL p95", "GPU-h", "per h"):
        shown.add_column(name, justify="left" if name in ("split", "model") else "right", no_wrap=True)
    for row in rows:
        shown.add_row(row.split, "all", share(row.attainment), "", "", "", f"{row.gpu_hours:,.1f}", "", style="bold")
        for name, s in row.models.items():
            good = s.kept
            priority = row.priorities[name]
            shown.add_row(
                "",
                name if priority == 1.0 else f"{name} × {priority:g}",
                Text(share(s.attainment.both), style="green" if good else "red"),
                share(s.attainment.worst_hour),
                ms(s.ttft.p95),
                ms(s.itl.p95),
                f"{s.gpu_hours:,.1f}",
                f"{s.changes_per_hour:.1f}",
            )
    return shown


def content(rows: Sequence[Shares]) -> dict[str, Any]:
    """The object that ``fleet --json`` prints."""
    return {"schema": SCHEMA, "rows": [_row(row) for row in rows]}


def _row(row: Shares) -> dict[str, Any]:
    models = {name: {"priority": row.priorities[name], **summary.to_json()} for name, summary in row.models.items()}
    return {
        "split": row.split,
        "attainment": row.attainment,
        "gpu_hours": row.gpu_hours,
        "cost": row.cost,
        "budget": {"limit": row.budget.limit, "unit": "cost per hour" if row.budget.in_cost else "GPUs"},
        "most_asked": row.most,
        "models": models,
    }
