"""``planner fleet``: several models under one budget, and what each way to share it keeps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner import config, wiring
from planner.answers import told
from planner.commands._options import given, settings_options
from planner.commands._progress import bar
from planner.commands._runs import built, start_of
from planner.config.fleet import FleetSettings, Model, models
from planner.core.sharing import Member, SharedBudget

if TYPE_CHECKING:
    from planner.core.policy import Policy
    from planner.simulation.shared import Shares, Tenant
    from planner.simulation.simulate import World


@click.command("fleet")
@click.argument("configuration", metavar="CONFIG.yaml")
@settings_options(FleetSettings)
def command(configuration: str, **options: Any) -> None:
    """Run several models under one budget, and see what each way to share it keeps.

    CONFIG.yaml is a file or the name of a shipped fleet (day): a budget, and the settings of simulate for
    every model. Where the budget is short, value gives it to whom it keeps most promises, by priority; equal is a
    quota for each, proportional goes by what each wants, first-come leaves everybody what it has.
    """
    file = config.find(configuration, "fleets")
    settings = config.load(FleetSettings, file, given(FleetSettings, options))
    rows = compared(settings, file.parent)

    from planner.simulation.report import fleet

    with told(fleet.content(rows), settings.outputs.json_file) as console:
        console.print(fleet.table(rows))


def compared(settings: FleetSettings, folder: Path) -> list[Shares]:
    """What every way to share keeps.

    Raises:
        ValueError: a way to share that nobody knows, a budget nobody can serve with, or models that do not go together.
    """
    from planner.simulation.shared import SPLITS, shares_of, simulate

    unknown = [name for name in settings.splits if name not in SPLITS]
    if unknown:
        raise config.ConfigError([f"split {name!r} is none of {', '.join(SPLITS)}" for name in unknown])
    budget = _budget(settings)
    found = models(settings, folder)
    parts = {}
    for name, model in found.items():
        profile, world = built(model.settings)
        parts[name] = (wiring.policy_of(model.settings, profile), world)
    budget.check({name: policy for name, (policy, _) in parts.items()})
    initial = {name: start_of(model.settings, parts[name][1]) for name, model in found.items()}
    rows = []
    for split in settings.splits:
        tenants = {name: _tenant(model, *parts[name], initial[name]) for name, model in found.items()}
        with bar(f"{split}: {sum(world.traffic.requests for _, world in parts.values()):,} requests") as progress:
            rows.append(shares_of(simulate(tenants, budget, split, progress), tenants, budget))
    return rows


def _budget(settings: FleetSettings) -> SharedBudget:
    if settings.budget_cost is not None:
        return SharedBudget(settings.budget_cost, in_cost=True)
    assert settings.budget_gpus is not None  # one of both, as checked
    return SharedBudget(float(settings.budget_gpus))


def _tenant(model: Model, policy: Policy, world: World, initial: dict[str, int]) -> Tenant:
    """The model with a planner that knows nothing yet."""
    from planner.core.planner import Planner
    from planner.simulation.fits import PlannerWithFits
    from planner.simulation.shared import Tenant

    planner = Planner(policy)
    return Tenant(world, Member(planner, model.priority, PlannerWithFits(planner, policy.interval_s).step), initial)
