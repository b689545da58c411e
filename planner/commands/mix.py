"""``planner mix``: several kinds of GPU for one model, and what each way to choose among them costs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from planner import config, wiring
from planner.answers import told
from planner.commands._options import given, settings_options
from planner.commands._progress import bar
from planner.commands._runs import built
from planner.config import SimulateSettings

if TYPE_CHECKING:
    from planner.core.policy import Policy
    from planner.ports import Decider
    from planner.simulation.report.mix import Priced

KNOBS = {"waiting": 10.0, "kv_usage": 0.8, "cost_expansion_percent": 200.0}
"""Kthena's documented targets of one replica, and its blocks: one, two, four, …"""


@click.command("mix")
@click.argument("configuration", metavar="CONFIG.yaml")
@settings_options(
    SimulateSettings, without=("--law", "--replicas", "--report", "--plots", "--decisions", "--min-attainment")
)
@click.option("--waiting", type=click.FloatRange(min=0, min_open=True), default=KNOBS["waiting"], show_default=True,
              help="Kthena's target of waiting requests for one replica.")  # fmt: skip
@click.option("--kv-usage", type=click.FloatRange(min=0, min_open=True), default=KNOBS["kv_usage"], show_default=True,
              help="Kthena's target of KV cache in use for one replica.")  # fmt: skip
def command(configuration: str, waiting: float, kv_usage: float, **options: Any) -> None:
    """Run one model on several kinds of GPU, and see what each way to choose among them costs.

    CONFIG.yaml is a file or the name of a shipped scenario (two-gpus) with further pools and their cost. The cheapest
    mix that keeps the promise stands beside the mode's own pools alone (without further), the further ones alone,
    the same law with its replicas dealt out in Kthena's cost blocks (slo in blocks), and Kthena's own law (kthena).
    """
    settings = config.load(SimulateSettings, config.find(configuration), given(SimulateSettings, options))
    if not settings.further:
        raise config.ConfigError(["further: one kind of GPU leaves nothing to choose; use planner simulate"])
    rows = compared(settings, {**KNOBS, "waiting": waiting, "kv_usage": kv_usage})

    from planner.simulation.report import mix

    with told(mix.content(rows), settings.outputs.json_file) as console:
        console.print(mix.table(rows))


def compared(settings: SimulateSettings, knobs: Mapping[str, float]) -> list[Priced]:
    """What every way to choose costs and keeps."""
    from planner.simulation.report.figures import summarise
    from planner.simulation.report.mix import Priced
    from planner.simulation.simulate import simulate

    profile, world = built(settings)
    policy = wiring.policy_of(settings, profile)
    rows = []
    for name, decider, initial in _ways(settings, policy, knobs):
        with bar(f"{name}: {world.traffic.requests:,} requests") as progress:
            summary = summarise(simulate(world, name, decider, initial, progress=progress))
        cost = sum(hours * policy.pool(pool).cost for pool, hours in summary.gpu_hours_by_pool.items())
        rows.append(Priced(summary, cost))
    return rows


def _ways(
    settings: SimulateSettings, policy: Policy, knobs: Mapping[str, float]
) -> Iterator[tuple[str, Decider, dict[str, int]]]:
    """(name, who decides, the fleet at the start)."""
    from planner.simulation.peers.kthena import KTHENA
    from planner.simulation.peers.kthena_cost import CostBlocks, Deal, InBlocks

    own = config.POOLS[settings.mode]
    roles = {pool.role for pool in settings.further.values()}
    others = {name for name, role in own.items() if role in roles}  # they can be done without
    yield "mix", wiring.planner_of(policy), dict(settings.initial)
    for name, without in (("without further", set(settings.further)), ("further alone", others)):
        pools = tuple(replace(p, min_replicas=0, max_replicas=0) if p.name in without else p for p in policy.pools)
        yield name, wiring.planner_of(replace(policy, pools=pools)), _moved(settings, without)
    deal = Deal.of(policy.pools, _speeds(settings), knobs["cost_expansion_percent"])
    initial = deal.as_able_as(settings.initial)
    yield "slo in blocks", InBlocks(wiring.planner_of(policy), deal), initial
    yield "kthena", CostBlocks(deal.pools, {**KTHENA.defaults, **knobs}), initial


def _moved(settings: SimulateSettings, without: set[str]) -> dict[str, int]:
    """The fleet at the start with all of a role in the pools that are left, at equal speed."""
    speed = _speeds(settings)
    fleet = dict.fromkeys(settings.pools, 0)
    for name, role in settings.pools.items():
        left = [other for other, does in settings.pools.items() if does == role and other not in without]
        if name == left[0]:
            work = sum(n * speed[p] for p, n in settings.initial.items() if settings.pools[p] == role)
            fleet[name] = math.ceil(work / speed[name] - 1e-9)
    return fleet


def _speeds(settings: SimulateSettings) -> dict[str, float]:
    """Of one replica of every pool; 1 is that of the deployment's profile."""
    further = settings.further
    return {name: 1.0 / further[name].slower if name in further else 1.0 for name in settings.pools}
