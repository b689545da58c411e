"""``planner compare``: several policies on the same traffic, in one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from planner import config, wiring
from planner.commands._options import given, settings_options
from planner.commands._progress import bar
from planner.commands._runs import built, run_policy, start_of
from planner.config import CompareSettings

if TYPE_CHECKING:
    from planner.simulation.report.figures import Row

EXACT = 0.99
"""The bound is within 1 % of the cheapest plan; a run that is cheaper than that breaks it."""


@click.command("compare")
@click.argument("configuration", required=False, metavar="[CONFIG.yaml]")
@settings_options(CompareSettings)
def command(configuration: str | None, **options: Any) -> None:
    """Run several policies on the same traffic, in one table.

    Beside the laws: static is the best fixed fleet in hindsight, clairvoyant the bound at the goal, and late
    the clairvoyant plan a start-up and an interval behind, which is what reaction alone can reach.

    Every row has its ratio to the clairvoyant bound at the same attainment: the fleet that knows all arrivals
    and the true plant. Exit code 1 when the first policy ends below --min-attainment.
    """
    file = config.find(configuration) if configuration else None
    settings = config.load(CompareSettings, file, given(CompareSettings, options))
    problems = [f"policy {name!r} is none of {', '.join(wiring.POLICIES)}" for name in settings.policies
                if name not in wiring.POLICIES]  # fmt: skip
    if settings.mode == "aggregated":
        problems += [f"policy {name!r} sizes a prefill and a decode pool; leave it out with mode aggregated"
                     for name in settings.policies if name.startswith("classic")]  # fmt: skip
    if problems:
        raise config.ConfigError(problems)
    rows = compared(settings)

    from planner.simulation.report import write

    write.comparison(rows, settings.outputs, settings.model_dump(mode="json", by_alias=True, exclude_none=True))
    first = rows[0].summary.attainment.both
    if settings.min_attainment is not None and (first is None or first < settings.min_attainment):
        raise SystemExit(1)


def compared(settings: CompareSettings) -> list[Row]:
    """A row for every policy, with its ratio to the bound at its own attainment.

    The bound keeps a floor under every window; a policy that lets whole minutes down may be cheaper, and is
    then shown with a ratio below 1.

    Raises:
        BoundBrokenError: a policy was cheaper than the clairvoyant bound: the bound is wrong.
    """
    from planner.simulation.clairvoyant import late, shares
    from planner.simulation.report.figures import Row, summarise

    profile, world = built(settings)
    initial = start_of(settings, world)
    with bar("clairvoyant bound: every window, every fleet") as progress:
        known = shares(world, progress)
    rows: list[Row] = []
    for name in settings.policies:
        if name == "clairvoyant":
            rows.append(_bound_row(world, known, settings.sla.goal))
            continue
        run = late(world, known) if name == "late" else run_policy(settings, profile, world, name, initial)
        rows.append(_ratio(world, known, Row(summarise(run))))
    return rows


def _bound_row(world: Any, known: Any, goal: float) -> Row:
    from planner.simulation.clairvoyant import bound
    from planner.simulation.report.figures import Row, summarise

    summary = summarise(bound(world, goal, known))
    return Row(summary, 1.0, summary.attainment.both)


def _ratio(world: Any, known: Any, row: Row) -> Row:
    from planner.simulation.clairvoyant import CLOSE, BoundBrokenError, bound
    from planner.simulation.report.figures import Row, summarise

    share, spent = row.summary.attainment.both, row.summary.gpu_hours
    if share is None or spent <= 0:
        return row
    ideal = summarise(bound(world, share, known))
    reached = ideal.attainment.both or 0.0
    worst, floor = row.summary.attainment.worst_5min or 0.0, ideal.attainment.worst_5min or 0.0
    if spent < ideal.gpu_hours * EXACT and reached <= share + CLOSE and worst >= floor - CLOSE:
        raise BoundBrokenError(
            f"{row.summary.policy} kept {share:.2%} with {spent:.2f} GPU-hours, the bound needs {ideal.gpu_hours:.2f}"
        )
    return Row(row.summary, spent / ideal.gpu_hours, reached)
