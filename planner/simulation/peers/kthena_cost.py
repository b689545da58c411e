"""Kthena's heterogeneous target: one law for all kinds of GPU of a role, its replicas dealt out in cost blocks.

Source: volcano-sh/kthena v1.0.0 ``pkg/autoscaler/autoscaler/optimizer.go``. The replicas of every kind between its
minimum and its maximum are cut into blocks of 1, P, P² … (P is ``costExpansionRatePercent`` / 100, 200 as shipped);
a block costs its length times the cost of one, and blocks are taken from the cheapest on until the replicas that the
law wants are there. A replica is a replica: what one can do is not asked. The law and its targets are those of
``kthena``, with all metrics of a role's kinds together; ``InBlocks`` deals the replicas of any other law out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from planner.core.policy import Pool
from planner.core.sizing.mix import groups
from planner.core.types import Decision, Observation, PoolReading, Reason
from planner.ports import Decider
from planner.simulation.peers.kthena import LOOP_S, Target
from planner.simulation.peers.objects import Look


class CostBlocks:
    """One ``Target`` for every role; what it comes to is dealt out over the role's pools."""

    tick_s = LOOP_S

    def __init__(self, pools: Sequence[Pool], knobs: Mapping[str, float]) -> None:
        self._groups = groups(pools)
        self._expansion = knobs["cost_expansion_percent"]
        self._targets = [Target(_whole(group), knobs) for group in self._groups]
        self._asked: dict[str, int] = {}
        self._next_s = -math.inf

    def step(self, seen: Observation) -> Decision:
        """Every role's answer, every 15 seconds."""
        if seen.at < self._next_s or not all(pool.name in seen.pools for group in self._groups for pool in group):
            asked = self._asked or {name: reading.requested for name, reading in seen.pools.items()}
            return Decision(seen.at, dict(asked), dict(asked), Reason.HELD_BETWEEN)
        self._next_s = (math.floor(seen.at / LOOP_S + 1e-9) + 1) * LOOP_S
        for group, target in zip(self._groups, self._targets, strict=True):
            reading = together([seen.pools[pool.name] for pool in group])
            current = sum(self._asked.get(pool.name, seen.pools[pool.name].requested) for pool in group)
            answer = target.look(Look(seen.at, current, reading, seen.window))
            self._asked |= dealt(group, answer.replicas, self._expansion)
        return Decision(seen.at, dict(self._asked), dict(self._asked), Reason.SIZED)


@dataclass(frozen=True, slots=True)
class Deal:
    """Replicas of every role dealt out in blocks. None is never asked for: one of the cheapest is always there."""

    groups: tuple[tuple[Pool, ...], ...]  # by role
    speed: Mapping[str, float]  # of one replica, by pool
    expansion_percent: float

    @classmethod
    def of(cls, pools: Sequence[Pool], speed: Mapping[str, float], expansion_percent: float) -> Deal:
        """The pools of a policy, one of the cheapest of each role always there."""
        found = []
        for group in groups(pools):
            first = min(group, key=lambda pool: pool.price)
            found.append(tuple(replace(p, min_replicas=max(1, p.min_replicas)) if p is first else p for p in group))
        return cls(tuple(found), speed, expansion_percent)

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
    """Another law for how much is needed, cost blocks for which GPUs: what the choice alone is worth."""

    law: Decider
    deal: Deal

    def step(self, seen: Observation) -> Decision:
        """The law's decision, dealt out anew."""
        decision = self.law.step(seen)
        return replace(decision, replicas=self.deal.as_able_as(decision.replicas))


def dealt(pools: Sequence[Pool], replicas: int, expansion_percent: float) -> dict[str, int]:
    """``replicas`` over the pools: minimums first, then whole blocks from the cheapest on, the last one in part."""
    given = {pool.name: pool.min_replicas for pool in pools}
    left = replicas - sum(given.values())
    for _, index, length in blocks(pools, expansion_percent):
        taken = min(length, max(0, left))
        given[pools[index].name] += taken
        left -= taken
    return given


def blocks(pools: Sequence[Pool], expansion_percent: float) -> list[tuple[float, int, int]]:
    """(cost, index of the pool, replicas) of every block, cheapest first; equal ones in the order of the pools."""
    factor = max(1, int(expansion_percent) // 100)
    found = []
    for index, pool in enumerate(pools):
        left, length = pool.max_replicas - pool.min_replicas, 1
        while left > 0:
            size = left if factor == 1 else min(length, left)
            found.append((pool.price * size, index, size))
            left, length = left - size, length * factor
    return sorted(found, key=lambda block: block[:2])


def together(readings: Sequence[PoolReading]) -> PoolReading:
    """All replicas of a role as one pool: counts added, KV use averaged over replicas."""
    ready = sum(reading.ready for reading in readings)
    usage = sum((reading.kv_usage or 0.0) * reading.ready for reading in readings)
    backlogs = [reading.backlog for reading in readings]
    return PoolReading(
        requested=sum(reading.requested for reading in readings),
        ready=ready,
        running=sum(reading.running or 0.0 for reading in readings),
        waiting=sum(reading.waiting or 0.0 for reading in readings),
        kv_usage=usage / ready if ready > 0 else None,
        backlog=None if None in backlogs else tuple(n for backlog in backlogs for n in backlog or ()),
    )


def _whole(group: Sequence[Pool]) -> Pool:
    least, most = sum(pool.min_replicas for pool in group), sum(pool.max_replicas for pool in group)
    return replace(group[0], min_replicas=least, max_replicas=most)
