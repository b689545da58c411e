"""``planner compare``: several policies on the same traffic, in one table and one picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from planner import config
from planner.commands._options import given, settings_options
from planner.commands._progress import tally
from planner.config import CompareSettings

if TYPE_CHECKING:
    from planner.arena.contest import Case
    from planner.simulation.report.standings import CaseFigures


@click.command("compare")
@click.argument("configuration", required=False, metavar="[CONFIG.yaml]")
@settings_options(CompareSettings)
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Processes to run side by side.  [all cores]")
@click.option("--fresh", is_flag=True, help="Run everything anew instead of taking finished runs from the cache.")
def command(configuration: str | None, jobs: int | None, fresh: bool, **options: Any) -> None:
    """Run several policies on the same traffic: one table, one picture.

    Policies: slo and classic; static, the best fixed fleet in hindsight, and static-peak, sized for the highest
    minute; clairvoyant, the bound at the goal, and late, the same plan a start-up and an interval behind, which
    is what reaction alone can reach; and other projects' laws by name. NAME:knob=value:… changes knobs,
    NAME:tuned searches a peer's own on the first half of the traffic.

    Every row has its ratio to the clairvoyant bound at the same attainment: the fleet that knows all arrivals
    and the true plant. Exit code 1 when the first policy ends below --min-attainment.
    """
    from planner.arena import contenders
    from planner.arena.contest import Case

    file = config.find(configuration) if configuration else None
    settings = config.load(CompareSettings, file, given(CompareSettings, options))
    problems = contenders.problems(settings.policies, settings.mode)
    if problems:
        raise config.ConfigError(problems)
    (figures,) = compared([Case(settings.traffic.source, settings)], jobs, fresh)

    from planner.simulation.report import write

    write.comparison(figures, settings.outputs, settings.model_dump(mode="json", by_alias=True, exclude_none=True))
    first = figures.standings()[0].kept.value
    if settings.min_attainment is not None and first < settings.min_attainment:
        raise SystemExit(1)


def compared(cases: list[Case], jobs: int | None, fresh: bool) -> list[CaseFigures]:
    """What came of the cases, over processes.

    Raises:
        BoundBrokenError: a policy was cheaper than the clairvoyant bound: the bound is wrong.
    """
    import joblib

    from planner.arena import store
    from planner.arena.contest import held
    from planner.arena.crew import Crew

    with tally() as watcher:
        return held(cases, Crew(store.Store(None if fresh else store.folder()), jobs or joblib.cpu_count(), watcher))
