"""What stands between the wanted and the allowed fleet: each rule moves numbers and says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from planner.core.policy import Policy
from planner.core.types import Adjustment, Reason

Fleet = dict[str, int]
Worth = Callable[[str, int], float]
"""``worth(pool, n)``: missed requests per second with ``n`` replicas in the pool (lower is better)."""


def constrain(policy: Policy, wanted: Mapping[str, int], recent: list[Mapping[str, int]],
              worth: Worth | None = None) -> tuple[Fleet, tuple[Adjustment, ...]]:  # fmt: skip
    """Apply the rules in order to the pools that are ``wanted``; note every number that a rule moved."""
    notes: list[Adjustment] = []
    fleet, pools = dict(wanted), [pool for pool in policy.pools if pool.name in wanted]
    for reason, rule in (
        (Reason.STABILIZATION, lambda f: stabilized(f, recent)),
        (Reason.MIN_REPLICAS, lambda f: {p.name: max(f[p.name], p.min_replicas) for p in pools}),
        (Reason.MAX_REPLICAS, lambda f: {p.name: min(f[p.name], p.max_replicas) for p in pools}),
        (Reason.GPU_BUDGET, lambda f: within_budget(policy, f, worth)),
    ):
        after = rule(fleet)
        notes += [Adjustment(name, reason, fleet[name], n) for name, n in after.items() if n != fleet[name]]
        fleet = after
    return fleet, tuple(notes)


def stabilized(fleet: Mapping[str, int], recent: list[Mapping[str, int]]) -> Fleet:
    """Never below the highest recent wish: a dip must outlive the window."""
    return {name: max([n, *(past.get(name, 0) for past in recent)]) for name, n in fleet.items()}


def within_budget(policy: Policy, fleet: Mapping[str, int], worth: Worth | None = None) -> Fleet:
    """The fleet inside the hard GPU budget: shrunk in proportion, the rest where a GPU saves most misses.

    In an overload the pools form a chain, and a chain is best served by equal shortage: the
    proportional shrink. What rounding leaves goes one replica at a time to the pool where it is worth
    most per GPU. No pool that serves goes to zero; the policy guarantees that this much fits.
    """
    gpus = {pool.name: pool.gpus for pool in policy.pools}
    budget = policy.budget_gpus
    total = sum(n * gpus[name] for name, n in fleet.items())
    if budget is None or total <= budget:
        return dict(fleet)
    least = {p.name: min(fleet[p.name], max(1, p.min_replicas)) for p in policy.pools if p.name in fleet}
    left = budget - sum(n * gpus[name] for name, n in least.items())
    over = {name: n - least[name] for name, n in fleet.items()}
    scale = left / max(1, sum(n * gpus[name] for name, n in over.items()))
    shrunk = {name: least[name] + int(over[name] * scale) for name in fleet}
    return _filled(shrunk, fleet, gpus, budget, worth)


def _filled(shrunk: Fleet, wanted: Mapping[str, int], gpus: Mapping[str, int], budget: int,
            worth: Worth | None) -> Fleet:  # fmt: skip
    left = budget - sum(n * gpus[name] for name, n in shrunk.items())
    while True:
        open_pools = [name for name in shrunk if shrunk[name] < wanted[name] and gpus[name] <= left]
        if not open_pools:
            return shrunk
        best = max(open_pools, key=lambda name: _gain(name, shrunk, wanted, worth) / gpus[name])
        shrunk[best] += 1
        left -= gpus[best]


def _gain(name: str, fleet: Fleet, wanted: Mapping[str, int], worth: Worth | None) -> float:
    if worth is None:
        return 1.0 - fleet[name] / wanted[name]
    return worth(name, fleet[name]) - worth(name, fleet[name] + 1)
