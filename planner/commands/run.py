"""``planner run``: the loop beside a real stack."""

from __future__ import annotations

import signal
from typing import Any

import click

from planner import config
from planner.commands._options import given, settings_options
from planner.config import LiveSettings
from planner.config.checks import unwritable


@click.command("run")
@click.argument("configuration", required=False, metavar="[CONFIG.yaml]")
@settings_options(LiveSettings)
@click.option("--json-logs/--no-json-logs", default=None, help="Log as JSON; without it where no terminal reads.")
def command(configuration: str | None, json_logs: bool | None, **options: Any) -> None:
    """Steer a real stack: read Prometheus, decide, start and stop workers, show what and why.

    Without --target processes it only says what it would do. SIGTERM and Ctrl-C end it cleanly: state and
    decision log are whole, workers that it started finish what they have.
    """
    file = config.find(configuration) if configuration else None
    settings = config.load(LiveSettings, file, given(LiveSettings, options))
    wrong = unwritable({"decisions": settings.decisions, "state": settings.state})
    if problems := [f"{paths[0]}: {said}" for paths, said in wrong]:
        raise config.ConfigError(problems)

    from planner.adapters.clocks import WallClock
    from planner.live import logs
    from planner.live.parts import parts_of
    from planner.live.service import service_of

    logs.configure(json_logs)
    clock = WallClock()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: clock.stop())
    with parts_of(settings) as parts:
        service_of(settings, parts, clock).run()
