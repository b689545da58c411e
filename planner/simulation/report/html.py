"""One HTML file that opens without a network: the verdict, the figures, the pictures, what was decided and why."""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from planner.simulation.report import comparison_plots, plots
from planner.simulation.report.figures import Summary
from planner.simulation.report.standings import CaseFigures, Group, Overall, Standing, groups
from planner.simulation.report.table import knobs, latency, lost, ms, promises, share, shown_ratio, verdict
from planner.simulation.run import Run

TEMPLATE = Path(__file__).with_name("report.html.j2")
LAST = 8


def write_report(path: Path, run: Run, summary: Summary, settings: Mapping[str, object]) -> None:
    """The report of one run."""
    good = summary.kept
    cards = [
        ("kept both", share(summary.attainment.both), f"goal {share(summary.promise.goal)}"),
        ("worst hour", share(summary.attainment.worst_hour), f"worst 5 min {share(summary.attainment.worst_5min)}"),
        ("GPU-hours", f"{summary.gpu_hours:,.1f}", f"{summary.changes_per_hour:.1f} changes per hour"),
        ("TTFT p95", ms(summary.ttft.p95), f"target {ms(summary.promise.ttft_s)}"),
        ("ITL p95", ms(summary.itl.p95), f"target {ms(summary.promise.itl_s)}"),
        ("goodput", f"{summary.goodput_per_s:,.1f}/s", f"{summary.requests:,} requests arrived"),
    ]
    table = [
        *promises(summary),
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
        sections=(),
    )


def write_comparison(path: Path, cases: Sequence[CaseFigures], settings: Mapping[str, object]) -> None:
    """The report of one case or of a suite: the whole first, then case by case."""
    standings = [case.standings() for case in cases]
    first = standings[0][0]
    whole = groups(cases)
    best = whole[0].standings[0] if whole else None
    good = best.goals == best.cases if best else first.kept.value >= cases[0].goal
    sections = [_section(case, standing) for case, standing in zip(cases, standings, strict=True)]
    sections = [*map(_overall_section, whole), *sections]
    _write(
        path,
        title="Policies on the same traffic",
        verdict=_whole_verdict(best) if best else _verdict(cases[0], first),
        good=good,
        cards=[],
        table=[],
        pictures=[],
        decisions=[],
        notes=cases[0].notes if len(cases) == 1 else (),
        settings=json.dumps(settings, indent=2),
        sections=sections,
    )


def _verdict(case: CaseFigures, first: Standing) -> str:
    word = "kept" if first.kept.value >= case.goal else "not kept"
    return f"{first.policy}: promise {word}, {first.kept.value:.2%} of requests kept both (goal {case.goal:.2%})"


def _whole_verdict(first: Overall) -> str:
    return (
        f"{first.policy} kept the goal in {first.goals} of {first.cases} cases, {first.kept:.2%} of what is "
        f"attainable, for {first.cost:.3f} × the GPU-hours of the clairvoyant bound at the goal"
    )


def _section(case: CaseFigures, standings: Sequence[Standing]) -> dict[str, Any]:
    columns = ("policy", "kept both", "worst hour", "GPU-hours", "× bound at goal", "× bound", "changes/h", "knobs")
    lines = [
        (
            f"{s.policy}{' ●' if s.at_the_front else ''}",
            f"{share(s.kept.value)}{'' if s.kept.half is None else f' ± {share(s.kept.half)}'}",
            share(s.worst_hour.value),
            f"{s.gpu_hours.value:,.1f}{'' if s.gpu_hours.half is None else f' ± {s.gpu_hours.half:,.1f}'}",
            f"{s.cost.value:.3f}",
            shown_ratio(s),
            f"{s.changes_per_hour.value:.1f}",
            knobs(s),
        )
        for s in standings
    ]
    about = (
        f"{case.requests:,} requests; {share(case.attainable)} attainable with unlimited workers. "
        "● nobody keeps as much for less."
    )
    return {
        "title": case.title,
        "about": " ".join([about, *(f"{line}." for line in lost(standings))]),
        "columns": columns,
        "rows": lines,
        "picture": _picture(comparison_plots.case(case)),
    }


def _overall_section(group: Group) -> dict[str, Any]:
    whole = group.standings
    columns = ("policy", "cases", "goal kept", "kept", "worst hour", "× bound at goal", "× bound", "at the front")
    lines = [
        (s.policy, s.cases, s.goals, share(s.kept), share(s.worst_hour), f"{s.cost:.3f}",
         "–" if s.ratio is None else f"{s.ratio:.3f}", s.fronts)
        for s in whole
    ]  # fmt: skip
    beaten = "; ".join(by for s in whole for by in s.beaten_by)
    return {
        "title": f"{group.title} ({len(group.cases)})",
        "about": "Geometric means over cases; kept and worst hour are parts of what is attainable there."
        + (f" Keeps more for less than {whole[0].policy}: {beaten}." if beaten else ""),
        "columns": columns,
        "rows": lines,
        "picture": _picture(comparison_plots.overall(group)),
    }


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
