"""``planner check``: everything that a live planner needs, in one list."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner import config
from planner.answers import told
from planner.commands._options import given, settings_options
from planner.config.live import LiveSettings

if TYPE_CHECKING:
    from rich.console import Console

    from planner.adapters.prometheus.survey import Finding as Signal
    from planner.commands._checkup.finding import Finding
    from planner.core.policy import Policy

SCHEMA = "sla-planner/check.v1"
HOUR_S, BIN_S = 3600.0, 60.0


@click.command("check")
@click.argument("configuration", required=False, metavar="[CONFIG.yaml]")
@settings_options(LiveSettings)
@click.option("--strict", is_flag=True, help="Exit code 1 for warnings too.")
@click.option("--json", "target", type=click.Path(dir_okay=False, path_type=Path, allow_dash=True), help="FILE, or -.")
def command(configuration: str | None, strict: bool, target: Path | None, **options: Any) -> None:
    """Look at everything that planner run needs: profile, Prometheus, metrics, target, files.

    All is told in one list. Exit code 1 when a problem was found (Prometheus out of reach is one), 2 when the
    configuration itself makes no sense. Nothing is changed.
    """
    file = config.find(configuration) if configuration else None
    settings = config.load(LiveSettings, file, given(LiveSettings, options))
    findings, signals = looked_at(settings, time.time())
    bad = [one for one in findings if one.severity == "problem"]
    doubtful = [one for one in findings if one.severity == "warning"]
    with told(_answer(findings, signals, len(bad), len(doubtful)), target) as console:
        _show(console, findings, len(bad), len(doubtful))
    if bad or (strict and doubtful):
        raise SystemExit(1)


def looked_at(settings: LiveSettings, now: float) -> tuple[list[Finding], list[Signal]]:
    """All findings, and every metric's; each part is looked at whatever the others say."""
    from planner.commands._checkup import local
    from planner.commands._progress import spinner

    policy, findings = _policy(settings)
    with spinner(f"asking {settings.prometheus.url}"):
        asked, signals = _prometheus(settings, policy, now)
    findings += [*asked, *local.target(settings), *local.page(settings), *local.files(settings, policy, now)]
    return findings, signals


def _policy(settings: LiveSettings) -> tuple[Policy | None, list[Finding]]:
    from planner import wiring
    from planner.commands._checkup import belief
    from planner.commands._checkup.finding import fine, problem

    try:
        policy = wiring.policy_of(settings, wiring.profile_of(settings))
    except (ValueError, OSError) as wrong:  # the profile, or limits that do not go with its GPUs
        return None, [problem("profile", settings.profile, str(wrong))]
    said = f"law {policy.law}, {settings.mode}, a full decision every {policy.interval_s:g} s"
    return policy, [fine("configuration", "settings", said), *belief.profile(policy)]


def _prometheus(settings: LiveSettings, policy: Policy | None, now: float) -> tuple[list[Finding], list[Signal]]:
    """What is found at Prometheus; not to reach it is one finding."""
    from planner.adapters.prometheus import DialectError
    from planner.commands._checkup import metrics
    from planner.commands._checkup.finding import fine, problem
    from planner.live.parts import server_of, subject_of
    from planner.ports import SourceError

    try:
        subject = subject_of(settings)
    except DialectError as wrong:
        return [problem("prometheus", "prometheus.dialect", str(wrong))], []
    server = server_of(settings.prometheus)
    found: list[Finding] = []
    signals: list[Signal] = []
    try:
        signals = metrics.signals(server, subject, now)
        found.append(fine("prometheus", "prometheus.url", f"{settings.prometheus.url} answers"))
        found += metrics.scrapes(server, settings, signals, now)
        found += metrics.memory(server, settings, now)
        found += metrics.found(settings, signals)
        found += metrics.buckets(settings, signals)
        if policy is not None:
            found += _traffic(settings, policy, server, subject, now)
    except SourceError as wrong:
        found.append(problem("prometheus", "prometheus.url", str(wrong)))
    finally:
        server.close()
    return found, signals


def _traffic(settings: LiveSettings, policy: Policy, server: Any, subject: Any, now: float) -> Iterator[Finding]:
    from planner.adapters.prometheus import history
    from planner.commands._checkup import belief
    from planner.replay.past import past_of

    end = now // BIN_S * BIN_S
    seen = history(server, subject, end - HOUR_S, end, BIN_S)
    yield from belief.traffic(policy, past_of(seen, end - HOUR_S, end, BIN_S))


def _answer(findings: Sequence[Finding], signals: Sequence[Signal], problems: int, warnings: int) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "ok": not problems,
        "problems": problems,
        "warnings": warnings,
        "findings": [one.to_json() for one in findings],
        "metrics": [_metric(one) for one in signals],
    }


def _metric(one: Signal) -> dict[str, Any]:
    return {
        "place": one.place,
        "signal": one.signal,
        "found": one.found,
        "needed": one.needed,
        "metric": one.metric,
        "series": one.series,
        "labels": {name: list(values) for name, values in one.labels.items()},
        "age_seconds": one.age_s,
        "edges": [edge for edge in one.edges if edge != float("inf")],
        "problem": one.problem,
    }


MARKS = {"fine": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "bold red")}


def _show(console: Console, findings: Sequence[Finding], problems: int, warnings: int) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    for _ in range(2):
        table.add_column(no_wrap=True)
    table.add_column(max_width=36)
    table.add_column()
    area = ""
    for one in findings:
        mark, style = MARKS[one.severity.value]
        head = Text(one.area if one.area != area else "", style="bold")
        table.add_row(
            head, Text(mark, style=style), Text(one.subject), Text(one.text, style="" if mark == "✓" else style)
        )
        area = one.area
    console.print(table)
    count = f"{problems} problem{'s' * (problems != 1)}, {warnings} warning{'s' * (warnings != 1)}"
    style = "bold red" if problems else "bold yellow" if warnings else "bold green"
    console.print(Text(f"{count} in {len(findings)} findings", style=style))
