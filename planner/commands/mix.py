"""``planner mix``: several kinds of GPU for one model, and what each way to choose among them costs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner import config, wiring
from planner.answers import told
from planner.commands._options import given, settings_options
from planner.commands._progress import bar
from planner.commands._runs import built
from planner.config import SimulateSettings
from planner.core.sizing.mix import groups
from planner.simulation.peers.kthena_cost import dealt

if TYPE_CHECKING:
    from planner.core.policy import Policy, Pool
    from planner.core.types import Decision, Observation
    from planner.ports import Decider
    from planner.simulation.report.figures import Summary

SCHEMA = "sla-planner/mix.v1"
KNOBS = {"waiting": 10.0, "kv_usage": 0.8, "cost_expansion_percent": 200.0}
"""Kthena's documented targets of one replica, and its blocks: one, two, four, …"""


@dataclass(frozen=True, slots=True)
class Priced:
    """One way to choose."""

    summary: Summary
    cost: float  # of its GPU-hours, by pool

    def to_json(self) -> dict[str, Any]:
        """The row as ``mix --json`` prints it."""
        return {**self.summary.to_json(), "cost": self.cost}


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
    _write(rows, settings.outputs.json_file)


def compared(settings: SimulateSettings, knobs: Mapping[str, float]) -> list[Priced]:
    """What every way to choose costs and keeps."""
    from planner.simulation.report.figures import summarise
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
    from planner.simulation.peers.kthena_cost import CostBlocks

    own = config.POOLS[settings.mode]
    roles = {pool.role for pool in settings.further.values()}
    others = {name for name, role in own.items() if role in roles}  # they can be done without
    yield "mix", wiring.planner_of(policy), dict(settings.initial)
    for name, without in (("without further", set(settings.further)), ("further alone", others)):
        pools = tuple(replace(p, min_replicas=0, max_replicas=0) if p.name in without else p for p in policy.pools)
        yield name, wiring.planner_of(replace(policy, pools=pools)), _moved(settings, without)
    blocks = _Blocks.of(settings, policy, knobs["cost_expansion_percent"])
    initial = blocks.as_able_as(settings.initial)
    yield "slo in blocks", InBlocks(wiring.planner_of(policy), blocks), initial
    yield "kthena", CostBlocks(blocks.pools, {**KTHENA.defaults, **knobs}), initial


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Kthena's way to deal replicas out. It cannot come back from none: one of the cheapest is always there."""

    groups: list[tuple[Pool, ...]]  # by role
    speed: Mapping[str, float]  # of one replica, by pool
    expansion_percent: float

    @classmethod
    def of(cls, settings: SimulateSettings, policy: Policy, expansion_percent: float) -> _Blocks:
        """The pools of a policy, one of the cheapest of each role always there."""
        found = []
        for group in groups(policy.pools):
            first = min(group, key=lambda pool: pool.price)
            found.append(tuple(replace(p, min_replicas=max(1, p.min_replicas)) if p is first else p for p in group))
        return cls(found, {name: _speed(settings, name) for name in settings.pools}, expansion_percent)

    @property
    def pools(self) -> tuple[Pool, ...]:
        """All of them."""
        return tuple(pool for group in self.groups for pool in group)

    def as_able_as(self, fleet: Mapping[str, int]) -> dict[str, int]:
        """The smallest deal of every role that does as much as ``fleet``; all there is if none does."""
        found: dict[str, int] = {}
        for group in self.groups:
            work = sum(fleet[pool.name] * self.speed[pool.name] for pool in group)
            most = sum(pool.max_replicas for pool in group)
            for n in range(1, most + 1):
                deal = dealt(group, n, self.expansion_percent)
                if sum(m * self.speed[name] for name, m in deal.items()) >= work - 1e-9 or n == most:
                    found |= deal
                    break
        return found


@dataclass(slots=True)
class InBlocks:
    """Our law for how much is needed, cost blocks for which GPUs: what the choice alone is worth."""

    planner: Decider
    blocks: _Blocks

    def step(self, seen: Observation) -> Decision:
        """The planner's decision, dealt out anew."""
        decision = self.planner.step(seen)
        return replace(decision, replicas=self.blocks.as_able_as(decision.replicas))


def _moved(settings: SimulateSettings, without: set[str]) -> dict[str, int]:
    """The fleet at the start with all of a role in the pools that are left, at equal speed."""
    speed = {name: _speed(settings, name) for name in settings.pools}
    fleet = dict.fromkeys(settings.pools, 0)
    for name, role in settings.pools.items():
        left = [other for other, does in settings.pools.items() if does == role and other not in without]
        if name == left[0]:
            work = sum(n * speed[p] for p, n in settings.initial.items() if settings.pools[p] == role)
            fleet[name] = math.ceil(work / speed[name] - 1e-9)
    return fleet


def _speed(settings: SimulateSettings, pool: str) -> float:
    return 1.0 / settings.further[pool].slower if pool in settings.further else 1.0


def _write(rows: list[Priced], target: Path | None) -> None:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from planner.simulation.report.table import ms, share

    promise = rows[0].summary.promise
    shown = Table(title=f"{rows[0].summary.requests:,} requests, goal {promise.goal:.4g}")
    for name in ("", "kept", "worst h", "TTFT p95", "ITL p95", "cost", "GPU-h", "per h"):
        shown.add_column(name, justify="right" if name else "left", no_wrap=True)
    for row in rows:
        s = row.summary
        kept = s.attainment.both
        style = "green" if kept is not None and kept >= promise.goal else "red"
        shown.add_row(
            s.policy, Text(share(kept), style=style), share(s.attainment.worst_hour), ms(s.ttft.p95), ms(s.itl.p95),
            f"{row.cost:,.1f}", f"{s.gpu_hours:,.1f}", f"{s.changes_per_hour:.1f}",
        )  # fmt: skip
    means = [Text(f"{row.summary.policy}: {_fleet(row.summary)} on the mean", style="dim") for row in rows]
    told({"schema": SCHEMA, "rows": [row.to_json() for row in rows]}, target).print(Group(shown, *means))


def _fleet(summary: Summary) -> str:
    return ", ".join(f"{pool} {replicas.mean:.1f}" for pool, replicas in summary.pools.items())
