"""One HTML file that opens without a network: the verdict, the figures, the pictures, what was decided and why."""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from planner.simulation.report import plots
from planner.simulation.report.figures import Row, Summary
from planner.simulation.report.table import latency, ms, share, verdict
from planner.simulation.run import Run

TEMPLATE = Path(__file__).with_name("report.html.j2")
LAST = 8


def write_report(path: Path, run: Run, summary: Summary, settings: Mapping[str, object]) -> None:
    """The report of one run."""
    good = summary.attainment.both is not None and summary.attainment.both >= summary.promise.goal
    cards = [
        ("kept both", share(summary.attainment.both), f"goal {share(summary.promise.goal)}"),
        ("worst hour", share(summary.attainment.worst_hour), f"worst 5 min {share(summary.attainment.worst_5min)}"),
        ("GPU-hours", f"{summary.gpu_hours:,.1f}", f"{summary.changes_per_hour:.1f} changes per hour"),
        ("TTFT p95", ms(summary.ttft.p95), f"target {ms(summary.promise.ttft_s)}"),
        ("ITL p95", ms(summary.itl.p95), f"target {ms(summary.promise.itl_s)}"),
        ("goodput", f"{summary.goodput_per_s:,.1f}/s", f"{summary.requests:,} requests arrived"),
    ]
    table = [
        ("kept TTFT", share(summary.attainment.ttft)),
        ("kept ITL", share(summary.attainment.itl)),
        ("TTFT", latency(summary.ttft)),
        ("ITL", latency(summary.itl)),
        *((f"replicas, {pool}", f"mean {r.mean:.1f}, {r.min} to {r.max}") for pool, r in summary.pools.items()),
        ("completed", f"{summary.completed:,} of {summary.requests:,}"),
        ("seed", str(summary.seed)),
    ]
    _write(
        path,
        title=f"{summary.policy} on {run.traffic.name}",
        verdict=verdict(summary),
        good=good,
        cards=cards,
        table=table,
        pictures=[("The run over time", _picture(plots.overview(run)))],
        decisions=_digest(run),
        notes=summary.notes,
        settings=json.dumps(settings, indent=2),
        columns=(),
        rows=(),
    )


def write_comparison(path: Path, rows: Sequence[Row], settings: Mapping[str, object]) -> None:
    """The report of a comparison."""
    columns = (
        "policy",
        "kept both",
        "worst hour",
        "worst 5 min",
        "TTFT p95",
        "ITL p95",
        "GPU-hours",
        "× bound",
        "changes/h",
    )
    lines = [
        (
            row.summary.policy,
            share(row.summary.attainment.both),
            share(row.summary.attainment.worst_hour),
            share(row.summary.attainment.worst_5min),
            ms(row.summary.ttft.p95),
            ms(row.summary.itl.p95),
            f"{row.summary.gpu_hours:,.1f}",
            row.shown_ratio,
            f"{row.summary.changes_per_hour:.1f}",
        )
        for row in rows
    ]
    first = rows[0].summary
    _write(
        path,
        title="Policies on the same traffic",
        verdict=verdict(first).replace("Promise", f"{first.policy}: promise", 1),
        good=first.attainment.both is not None and first.attainment.both >= first.promise.goal,
        cards=[],
        table=[],
        pictures=[("Attainment and cost", _picture(plots.comparison(rows)))],
        decisions=[],
        notes=first.notes,
        settings=json.dumps(settings, indent=2),
        columns=columns,
        rows=lines,
    )


def _digest(run: Run) -> list[tuple[str, str]]:
    """How often for which reason, the largest steps up, and the last decisions in words."""
    reasons = Counter(step.decision.reason.value for step in run.steps)
    digest = [("reasons", ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common()))]
    moved = [
        (a, b) for a, b in zip(run.steps, run.steps[1:], strict=False) if a.decision.replicas != b.decision.replicas
    ]
    ups = sorted(moved, key=lambda pair: -_growth(pair[0].decision.replicas, pair[1].decision.replicas))[:3]
    digest += [(f"largest step, {_clock(run, b.decision.at)}", b.decision.summary()) for _, b in ups]
    digest += [(_clock(run, b.decision.at), b.decision.summary()) for _, b in moved[-LAST:]]
    return digest


def _growth(before: Mapping[str, int], after: Mapping[str, int]) -> int:
    return sum(after[pool] - before.get(pool, 0) for pool in after)


def _clock(run: Run, at: float) -> str:
    minutes = int((at - run.traffic.epoch_s) // 60)
    return f"{minutes // 60}:{minutes % 60:02d} h"


def _picture(figure: Any) -> str:
    """The figure as a data URI."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context(plots.STYLE):
        figure.savefig(buffer, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _write(path: Path, **content: Any) -> None:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    path.write_text(environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(**content), encoding="utf-8")
