"""``planner simulate``: a policy on traffic, through a simulated fleet."""

from __future__ import annotations

from typing import Any

import click

from planner import config
from planner.answers import Files
from planner.commands._options import given, settings_options
from planner.commands._runs import built, refuse_below, run_policy, start_of
from planner.config import SimulateSettings


@click.command("simulate")
@click.argument("configuration", required=False, metavar="[CONFIG.yaml]")
@settings_options(SimulateSettings)
def command(configuration: str | None, **options: Any) -> None:
    """Run a policy on traffic through a simulated fleet and see which promises it keeps.

    CONFIG.yaml is a file or the name of a shipped scenario (demo, conv-day, aggregated); flags go over it.
    Exit code 1 when attainment ends below --min-attainment, or the promise is out of reach of any fleet.
    """
    file = config.find(configuration) if configuration else None
    settings = config.load(SimulateSettings, file, given(SimulateSettings, options))
    outputs = settings.outputs
    profile, world = built(settings)
    initial = start_of(settings, world)
    files = Files()
    run = run_policy(settings, profile, world, initial, outputs.decisions, files)

    from planner.simulation.report import figures, write

    summary = figures.summarise(run)
    said = settings.model_dump(mode="json", by_alias=True, exclude_none=True)
    write.simulation(run, summary, outputs, said, files)
    if not summary.feasible:
        raise SystemExit(1)
    refuse_below(settings.min_attainment, summary)
