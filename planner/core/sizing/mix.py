"""Several pools of one role: what a mixed fleet can do, and the cheapest one that keeps the promise.

Workers of different speed stand behind one router, and routers balance requests (or their tokens), not speed. So a
mixed fleet is judged by its *slowest* pool: no worker may be given more sequences than the slowest can decode within
the ITL target, and every request counts as if the slowest had served it. In that pool's replicas the others are
worth what they do at that pace: more than one, and less than they would alone among their like. Once the
capacity is known that a load needs, the fleet is a matter of prices: the cheapest cover, found exactly by branch and
bound. Pools of which there is one of a role pass through unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from planner.core.load import Load
from planner.core.policy import Pool
from planner.core.sizing import slo
from planner.core.sizing.aggregated import AggregatedModel
from planner.core.sizing.decode import DecodeModel
from planner.core.sizing.model import PoolModel
from planner.core.sizing.prefill import PrefillModel
from planner.core.types import Expected

Parts = Mapping[str, PoolModel]

A_MOVE_COSTS = 0.25
"""A replica that is not there yet counts this much dearer: until it serves, what it replaces is paid for too. A mix
changes only when the new one is cheaper by more than that on what it adds."""
LATE_BY_ITSELF = 0.1
"""A pool that lets down more requests than the best of its role, however many replicas it has, is used as long as
that stays below this part of the miss budget."""
COVERS = 1e-6
"""This much missing to the capacity needed, in replicas, is rounding."""


def groups(pools: Sequence[Pool]) -> list[tuple[Pool, ...]]:
    """Pools by role, in the order in which the roles come first."""
    by_role: dict[str, list[Pool]] = {}
    for pool in pools:
        by_role.setdefault(pool.role, []).append(pool)
    return [tuple(group) for group in by_role.values()]


def leads(pools: Sequence[Pool]) -> tuple[Pool, ...]:
    """The first pool of every role: what a promise costs is reckoned in it."""
    return tuple(group[0] for group in groups(pools))


def at_price(pools: Sequence[Pool], parts: Parts, price: float, cap: float, held: Mapping[str, int],
             ready: Mapping[str, int]) -> dict[str, int]:  # fmt: skip
    """Replicas as ``slo.at_price`` has them; of several pools of one role the cheapest mix.

    ``held`` is what was asked for: moving costs. Of it ``ready`` replicas serve, and those that another kind is to
    replace stay until it serves.
    """
    fleet: dict[str, int] = {}
    for group in groups(pools):
        if len(group) == 1:
            fleet |= slo.at_price(group, parts, price, cap)
        else:
            fleet |= _cheapest(group, parts, price, cap, held, ready)
    return {pool.name: fleet[pool.name] for pool in pools}


def equivalent(pools: Sequence[Pool], parts: Parts, fleet: Mapping[str, float]) -> dict[str, float]:
    """What a fleet is worth in replicas of the slowest pool in use: one entry for every role."""
    found = {}
    for group in groups(pools):
        used = [pool for pool in group if fleet.get(pool.name, 0) > 0] or [group[0]]
        slow, worth = _worth(used, parts)
        found[slow.name] = sum(fleet.get(pool.name, 0) * worth[pool.name] for pool in used)
    return found


def expect(pools: Sequence[Pool], parts: Parts, load: Load, fleet: Mapping[str, int]) -> Expected:
    """What the model expects of a fleet, mixed or not."""
    whole = equivalent(pools, parts, fleet)
    return slo.expect(tuple(pool for pool in pools if pool.name in whole), parts, load, whole)


def missed_per_s(pools: Sequence[Pool], parts: Parts, fleet: Mapping[str, int], name: str) -> float:
    """Expected misses per second of the role of pool ``name`` with the whole ``fleet``."""
    group = next(group for group in groups(pools) if any(pool.name == name for pool in group))
    ((slow, n),) = equivalent(group, parts, fleet).items()
    return parts[slow].missed_per_s(max(n, 0.5))


def unreachable(pools: Sequence[Pool], parts: Parts) -> tuple[str, ...]:
    """What no fleet can keep: a role falls short only where all of its pools do."""
    short: dict[str, PoolModel] = {}
    for group in groups(pools):
        if all(parts[pool.name].reachable is not None for pool in group):
            short |= {pool.name: parts[pool.name] for pool in group}
    return slo.unreachable(short)


def _cheapest(group: tuple[Pool, ...], parts: Parts, price: float, cap: float, held: Mapping[str, int],
              ready: Mapping[str, int]) -> dict[str, int]:  # fmt: skip
    """The cheapest mix of any of the pools that has the capacity it needs; if none has, the one that misses least."""
    best: tuple[float, float] | None = None  # (misses that no pool of the mix can mend, cost of fleet and moves)
    fleet: dict[str, int] = {}
    wanted = 0.0  # requests/s that it can take when it is busy all the time
    for used in _subsets(group, parts):
        slow, worth = _worth(used, parts)
        needed = slo.at_price((slow,), parts, price, cap)[slow.name]
        offers = [Offer.of(pool, worth[pool.name], held.get(pool.name, 0)) for pool in used]
        counts = cover(offers, needed)
        capacity = sum(n * offer.worth for n, offer in zip(counts, offers, strict=True))
        short = 0.0 if capacity >= needed - COVERS else parts[slow.name].missed_per_s(max(capacity, 0.5))
        rank = (short, sum(offer.cost(n) for n, offer in zip(counts, offers, strict=True)))
        if best is None or rank < best:
            best, fleet = rank, {pool.name: n for pool, n in zip(used, counts, strict=True)}
            wanted = capacity / parts[slow.name].busy(1.0)
    fleet = {pool.name: fleet.get(pool.name, 0) for pool in group}
    return _until_ready(group, parts, fleet, wanted, {name: min(n, held.get(name, 0)) for name, n in ready.items()})


def _until_ready(group: Sequence[Pool], parts: Parts, fleet: Mapping[str, int], wanted: float,
                 serving: Mapping[str, int]) -> dict[str, int]:  # fmt: skip
    """``fleet``, and of what serves now as much more as it takes to serve ``wanted`` requests/s: the cheapest first."""
    kept = dict(fleet)
    missing = wanted - sum(min(n, serving.get(name, 0)) / parts[name].busy(1.0) for name, n in fleet.items())
    for pool in sorted(group, key=lambda pool: pool.price * parts[pool.name].busy(1.0)):
        spare = serving.get(pool.name, 0) - fleet[pool.name]
        if spare > 0 and missing > COVERS:
            more = min(spare, math.ceil(missing * parts[pool.name].busy(1.0) - COVERS))
            kept[pool.name] += more
            missing -= more / parts[pool.name].busy(1.0)
    return kept


def _subsets(group: tuple[Pool, ...], parts: Parts) -> Iterator[tuple[Pool, ...]]:
    """Which pools may serve together: all that must be there, and any of those that can keep the promise."""
    open_pools = [pool for pool in group if pool.max_replicas > 0] or list(group)
    least = min(parts[pool.name].hopeless for pool in open_pools)
    late = least + LATE_BY_ITSELF * parts[group[0].name].promise.measure.allowance
    fit = [pool for pool in open_pools if parts[pool.name].hopeless <= late or pool.min_replicas > 0]
    for size in range(1, len(fit) + 1):
        for used in combinations(fit, size):
            if all(pool in used for pool in group if pool.min_replicas > 0):
                yield used


def _worth(used: Sequence[Pool], parts: Parts) -> tuple[Pool, dict[str, float]]:
    """(the slowest pool, what one replica of each is worth in replicas of it)."""
    slow = max(used, key=lambda pool: parts[pool.name].busy(1.0))
    if len(used) == 1:
        return slow, {slow.name: 1.0}
    most = min((held(parts[pool.name]) for pool in used), default=math.inf)
    pace = {pool.name: _pace(parts[pool.name], most) for pool in used}
    return slow, {name: one / pace[slow.name] for name, one in pace.items()}


def held(model: PoolModel) -> float:
    """Sequences that one replica decodes within the ITL target."""
    if isinstance(model, DecodeModel | AggregatedModel):
        return model.decoding.within(max(model.sla.itl_s, model.alone_s) / model.slowness)
    return math.inf


def _pace(model: PoolModel, held: float) -> float:
    """Requests per second that one replica can take with no more than ``held`` sequences."""
    seconds = 0.0
    if isinstance(model, DecodeModel | AggregatedModel):
        seconds += model.tokens * model.slowness / model.decoding.best(held)
    if isinstance(model, AggregatedModel):
        seconds += model.prompts.mean_s
    if isinstance(model, PrefillModel):
        seconds += model.queue.mean_s
    return 1.0 / seconds


@dataclass(frozen=True, slots=True)
class Offer:
    """Replicas of one pool that can be had: how many, at what price, what one is worth."""

    least: int
    most: int
    price: float  # of one replica, per hour
    worth: float  # in units of the capacity needed
    held: int  # that are there

    @classmethod
    def of(cls, pool: Pool, worth: float, held: int) -> Offer:
        """What a pool offers, to somebody who has ``held`` of its replicas."""
        return cls(pool.min_replicas, pool.max_replicas, pool.price, worth, held)

    def cost(self, n: int) -> float:
        """Price of ``n`` replicas, those that must be moved here dearer."""
        return self.price * (n + A_MOVE_COSTS * max(0, n - self.held))


def cover(offers: Sequence[Offer], needed: float) -> tuple[int, ...]:
    """Counts whose worth adds up to at least ``needed`` for the lowest cost; all there is if that is not enough.

    Branch and bound over the offers, best price per worth first: a branch ends where even the rest of the capacity
    at the best price left would cost more than the best cover known.
    """
    order = sorted(range(len(offers)), key=lambda i: offers[i].price / offers[i].worth)
    search = _Search([offers[i] for i in order])
    search.down(0, needed, 0.0, ())
    counts = search.counts or tuple(offers[i].most for i in order)
    return tuple(counts[order.index(i)] for i in range(len(offers)))


class _Search:
    """Branch and bound: one offer a level."""

    def __init__(self, offers: Sequence[Offer]) -> None:
        self._offers = offers
        self.counts: tuple[int, ...] = ()
        self._cost = math.inf

    def down(self, level: int, needed: float, cost: float, counts: tuple[int, ...]) -> None:
        """Every count of the offer at ``level`` that may lead to something cheaper."""
        if level == len(self._offers):
            if needed <= COVERS and cost < self._cost - COVERS:
                self.counts, self._cost = counts, cost
            return
        offer, last = self._offers[level], level == len(self._offers) - 1
        enough = max(offer.least, math.ceil((needed - COVERS) / offer.worth))
        start = min(offer.most, enough)
        for n in range(start, start - 1 if last else offer.least - 1, -1):
            rest, spent = needed - n * offer.worth, cost + offer.cost(n)
            if spent + self._least(level + 1, rest) < self._cost - COVERS:
                self.down(level + 1, rest, spent, (*counts, n))

    def _least(self, level: int, needed: float) -> float:
        """No cover of ``needed`` by the offers from ``level`` on costs less."""
        rest = self._offers[level:]
        floor = sum(offer.cost(offer.least) for offer in rest)
        if needed <= COVERS or not rest:
            return floor
        return max(floor, needed * min(offer.price / offer.worth for offer in rest))
