"""Several models on one clock and one budget: each its own traffic, plant and promise.

The other ways to share a budget are here too, for comparison: they know what everybody wants and has, as ours does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from planner import loop
from planner.core import allocation
from planner.core.allocation import Claim, Fleet
from planner.core.sharing import Member, SharedBudget, SharedPlanner, Split
from planner.ports import Step
from planner.simulation.cluster import VirtualClock
from planner.simulation.report.figures import Summary, summarise
from planner.simulation.run import Run
from planner.simulation.simulate import Progress, World


def equal(claims: Mapping[str, Claim], held: Mapping[str, Fleet], budget: float) -> dict[str, dict[str, int]]:
    """The same for everybody, used or not: a quota per team. Who needs more than that to serve at all has that."""
    least = {name: claim.cost(claim.least) for name, claim in claims.items()}
    larger: set[str] = set()
    while True:
        quota = (budget - sum(least[name] for name in larger)) / max(1, len(claims) - len(larger))
        more = {name for name in claims if least[name] > quota} - larger
        if not more:
            return {name: inside(claim, max(quota, least[name])) for name, claim in claims.items()}
        larger |= more


def proportional(claims: Mapping[str, Claim], held: Mapping[str, Fleet], budget: float) -> dict[str, dict[str, int]]:
    """In proportion to what each wants above its smallest fleet."""
    least = {name: claim.cost(claim.least) for name, claim in claims.items()}
    over = {name: claim.cost(claim.wanted) - least[name] for name, claim in claims.items()}
    scale = min(1.0, max(0.0, budget - sum(least.values())) / max(sum(over.values()), 1e-9))
    return {name: inside(claim, least[name] + scale * over[name]) for name, claim in claims.items()}


def first_come(claims: Mapping[str, Claim], held: Mapping[str, Fleet], budget: float) -> dict[str, dict[str, int]]:
    """Nobody gives up what it has and wants; who asks gets what is free, in the order of the list."""
    given = {name: {p: min(n, held[name].get(p, 0)) for p, n in claim.wanted.items()} for name, claim in claims.items()}
    for name, claim in claims.items():
        others = sum(claims[other].cost(fleet) for other, fleet in given.items() if other != name)
        given[name] = inside(replace(claim, least=given[name]), budget - others)
    return given


def inside(claim: Claim, limit: float) -> dict[str, int]:
    """The most of a claim that a limit of its own allows: the part of its way up that fits."""
    fits = [fleet for fleet in allocation.way_up(claim) if claim.cost(fleet) <= limit + allocation.FITS]
    return fits[-1] if fits else dict(claim.least)


SPLITS: Mapping[str, Split] = {
    "value": allocation.with_little_change,
    "equal": equal,
    "proportional": proportional,
    "first-come": first_come,
}
"""Ways to share a budget, by name; ``value`` is ours."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """One model of several: its world, who decides for it, and the fleet that is ready at the start."""

    world: World
    member: Member
    initial: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Shares:
    """What one way to share is judged by."""

    split: str
    models: Mapping[str, Summary]
    priorities: Mapping[str, float]
    attainment: float | None  # share of all requests that kept both promises, each counted with its priority
    gpu_hours: float
    cost: float  # of those GPU-hours, by each pool's cost
    budget: SharedBudget
    most: float  # of the budget asked for at any moment, in its unit


@dataclass(frozen=True, slots=True)
class SharedRun:
    """One way to share, over the whole window."""

    split: str
    runs: Mapping[str, Run]  # by model
    most: float  # of the budget asked for at any moment, in its unit


def simulate(tenants: Mapping[str, Tenant], budget: SharedBudget, split: str,
             progress: Progress | None = None) -> SharedRun:  # fmt: skip
    """Run all models side by side under one budget.

    The one loop has one fleet and one decision a step; here every fleet is seen before anything is decided, so only
    its clockwork is shared.

    Raises:
        ValueError: they look at their metrics at different times, or their windows differ in length.
    """
    started = time.perf_counter()
    tenants = _started(tenants, budget, split)
    worlds = {name: tenant.world for name, tenant in tenants.items()}
    scrape_s, duration_s = _common(worlds)
    clusters = {name: tenant.world.new_cluster(tenant.initial) for name, tenant in tenants.items()}
    planner = SharedPlanner({name: tenant.member for name, tenant in tenants.items()}, budget, SPLITS[split])
    price = {name: budget.price(tenant.member.planner.policy) for name, tenant in tenants.items()}
    steps: dict[str, list[Step]] = {name: [] for name in clusters}
    most = 0.0
    for tick, at in enumerate(loop.due(VirtualClock(0.0, duration_s), scrape_s), 1):
        seen = {name: cluster.observe(at) for name, cluster in clusters.items()}
        decisions = planner.step(seen)
        for name, decision in decisions.items():
            clusters[name].apply(decision)
            steps[name].append(Step(seen[name], decision))
        asked = sum(n * price[name][pool] for name, d in decisions.items() for pool, n in d.replicas.items())
        most = max(most, asked)
        if progress is not None and tick % 50 == 0:
            progress(min(1.0, at / duration_s))
    runs = {name: world.ended(split, clusters[name], steps[name], started) for name, world in worlds.items()}
    return SharedRun(split, runs, most)


def shares_of(run: SharedRun, tenants: Mapping[str, Tenant], budget: SharedBudget) -> Shares:
    """The figures of a run."""
    summaries = {name: summarise(one) for name, one in run.runs.items()}
    counted = {name: tenants[name].member.priority * s.requests for name, s in summaries.items()}
    kept = sum(counted[name] * (s.attainment.both or 0.0) for name, s in summaries.items())
    cost = 0.0
    for name, summary in summaries.items():
        for pool in tenants[name].member.planner.policy.pools:
            cost += summary.gpu_hours_by_pool[pool.name] * pool.cost
    return Shares(
        split=run.split,
        models=summaries,
        priorities={name: tenant.member.priority for name, tenant in tenants.items()},
        attainment=kept / sum(counted.values()) if sum(counted.values()) > 0 else None,
        gpu_hours=sum(s.gpu_hours for s in summaries.values()),
        cost=cost,
        budget=budget,
        most=run.most,
    )


def _started(tenants: Mapping[str, Tenant], budget: SharedBudget, split: str) -> dict[str, Tenant]:
    """All on a clock that begins with the run, the fleets at the start brought under the budget.

    In proportion, or to the quotas where there are some.
    """
    claims = {name: _start_claim(tenant, budget) for name, tenant in tenants.items()}
    first = (equal if split == "equal" else proportional)(claims, {}, budget.limit)
    return {name: replace(t, world=_from_zero(t.world), initial=first[name]) for name, t in tenants.items()}


def _from_zero(world: World) -> World:
    return replace(world, traffic=replace(world.traffic, epoch_s=0.0))


def _start_claim(tenant: Tenant, budget: SharedBudget) -> Claim:
    policy, wanted = tenant.member.planner.policy, dict(tenant.initial)
    least = {pool.name: min(wanted[pool.name], max(1, pool.min_replicas)) for pool in policy.pools}
    return Claim(wanted, least, budget.price(policy), kept=lambda fleet: 0.0)


def _common(worlds: Mapping[str, World]) -> tuple[float, float]:
    """(seconds between looks, seconds of traffic) of all models."""
    looks = {world.scrape_s for world in worlds.values()}
    if len(looks) > 1:
        raise ValueError(f"all models must be looked at together: scrape is {', '.join(f'{s:g} s' for s in looks)}")
    lengths = {name: world.traffic.duration_s for name, world in worlds.items()}
    longest = max(lengths.values())
    if min(lengths.values()) < longest - 60.0:
        said = ", ".join(f"{name} {seconds / 60.0:.0f} min" for name, seconds in lengths.items())
        raise ValueError(f"models that share a budget need traffic of one length: {said}")
    return looks.pop(), longest
