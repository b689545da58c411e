"""From what a law wants to a decision: bounds of the pools, and no more GPUs than there are."""

from __future__ import annotations

from collections.abc import Mapping

from planner.core.types import Adjustment, Decision, Observation, Reason
from planner.simulation.peers.api import Site


def answer(
    site: Site,
    seen: Observation,
    wanted: Mapping[str, int],
    reason: Reason = Reason.SIZED,
    notes: tuple[str, ...] = (),
    limits: tuple[Adjustment, ...] = (),
) -> Decision:
    """The decision for ``wanted`` replicas; a pool that ``wanted`` leaves out keeps what was requested.

    Where the law has no budget of its own, pods beyond the site's GPUs would stay pending: growth is granted
    pool by pool while GPUs last, and nothing is taken away. ``limits`` are rules the law applied itself.
    """
    asked = {pool.name: wanted.get(pool.name, seen.pools[pool.name].requested) for pool in site.pools}
    fleet = dict(asked)
    for moved in limits:
        fleet[moved.pool] = moved.after
    adjustments = list(limits)
    for pool in site.pools:
        before = fleet[pool.name]
        after = min(max(before, pool.min_replicas), pool.max_replicas)
        if after != before:
            rule = Reason.MIN_REPLICAS if after > before else Reason.MAX_REPLICAS
            adjustments.append(Adjustment(pool.name, rule, before, after))
        fleet[pool.name] = after
    if site.budget_gpus is not None:
        adjustments += _granted(site, seen, fleet, site.budget_gpus)
    return Decision(seen.at, fleet, asked, reason, tuple(adjustments), notes=notes)


def _granted(site: Site, seen: Observation, fleet: dict[str, int], budget: int) -> list[Adjustment]:
    moved = []
    kept = {pool.name: min(fleet[pool.name], seen.pools[pool.name].requested) for pool in site.pools}
    free = budget - sum(pool.gpus * kept[pool.name] for pool in site.pools)
    for pool in site.pools:
        room = max(0, free // pool.gpus)
        granted = min(fleet[pool.name], kept[pool.name] + room)
        free -= pool.gpus * (granted - kept[pool.name])
        if granted != fleet[pool.name]:
            moved.append(Adjustment(pool.name, Reason.GPU_BUDGET, fleet[pool.name], granted))
            fleet[pool.name] = granted
    return moved
