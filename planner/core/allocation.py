"""A hard budget shared by several policies: it goes where it keeps most promises for its price.

Every policy claims a fleet and says what smaller ones would keep. Smallest fleets come first. What is left is handed
out in stretches, best first: a stretch is worth the kept requests it adds, times the policy's weight, per unit of
the budget. Far below what a load needs a replica keeps no promise at all, and the last few keep most of them; so a
claim is cut where its curve of kept requests touches its upper hull, and a stretch reaches across such a valley
(the greedy solution of the linear multiple-choice knapsack, which is at most one stretch from the best; Sinha and
Zoltners 1979). The order of stretches does not depend on the budget: where all replicas have one price, no policy
loses a replica because the budget grew, and none because its weight did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

Fleet = Mapping[str, int]

FITS = 1e-9
"""Prices are sums of floats: this much above the budget is rounding."""

WORTH_A_MOVE = 0.03
"""A replica that moves serves nobody for a start-up: budgets move when this share of all requests more is kept."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What one policy asks of a common budget."""

    wanted: Fleet  # replicas by pool, after the policy's own rules
    least: Fleet  # the smallest fleet that serves, by pool; never more than is wanted
    price: Mapping[str, float]  # of one replica, in the budget's unit: GPUs, or cost per hour
    kept: Callable[[Fleet], float]  # requests per second that keep their promise with a fleet
    weight: float = 1.0  # what one kept request counts

    def cost(self, fleet: Fleet) -> float:
        """Price of a fleet, in the budget's unit."""
        return sum(n * self.price[pool] for pool, n in fleet.items())


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A part of a policy's way from its smallest to its wanted fleet, given as one."""

    owner: str
    start: int  # place on the way
    end: int
    worth: float  # weighted kept requests per unit of the budget


def shared(claims: Mapping[str, Claim], budget: float) -> dict[str, dict[str, int]]:
    """A fleet for every claim, together within ``budget``.

    All that is wanted if it fits. When not even the smallest fleets fit, the heaviest policies get theirs and the
    others nothing: a configuration that allows this should be refused before.
    """
    if sum(claim.cost(claim.wanted) for claim in claims.values()) <= budget + FITS:
        return {name: dict(claim.wanted) for name, claim in claims.items()}
    left = budget
    ways: dict[str, list[dict[str, int]]] = {}
    fleets: dict[str, dict[str, int]] = {}
    for name, claim in sorted(claims.items(), key=lambda item: -item[1].weight):
        serves = claim.cost(claim.least) <= left + FITS
        fleets[name] = dict(claim.least) if serves else dict.fromkeys(claim.wanted, 0)
        left -= claim.cost(fleets[name])
        if serves:
            ways[name] = way_up(claim)
    stretches = [stretch for name, way in ways.items() for stretch in _stretches(name, claims[name], way)]
    reached = dict.fromkeys(ways, 0)
    for stretch in sorted(stretches, key=lambda s: -s.worth):
        claim, way = claims[stretch.owner], ways[stretch.owner]
        if reached[stretch.owner] != stretch.start:
            continue
        for place in range(stretch.start, stretch.end):
            step = claim.cost(way[place + 1]) - claim.cost(way[place])
            if step > left + FITS:
                break
            left -= step
            reached[stretch.owner] = place + 1
    return {name: dict(ways[name][reached[name]]) if name in ways else fleets[name] for name in claims}


def with_little_change(
    claims: Mapping[str, Claim], held: Mapping[str, Fleet], budget: float
) -> dict[str, dict[str, int]]:
    """As ``shared``, unless what each one ``held`` can be left to it at little loss.

    Loads that change by the minute would move replicas to and fro. Nobody is left more than it wants.
    """
    best = shared(claims, budget)
    calm = {name: replace(claim, least=_still_wanted(claim, held[name])) for name, claim in claims.items()}
    if sum(claim.cost(claim.least) for claim in calm.values()) > budget + FITS:
        return best
    kept = shared(calm, budget)
    most = sum(claim.weight * claim.kept(claim.wanted) for claim in claims.values())
    gain = sum(claim.weight * (claim.kept(best[name]) - claim.kept(kept[name])) for name, claim in claims.items())
    return best if gain > WORTH_A_MOVE * most else kept


def _still_wanted(claim: Claim, held: Fleet) -> dict[str, int]:
    return {pool: max(claim.least[pool], min(n, held.get(pool, 0))) for pool, n in claim.wanted.items()}


def way_up(claim: Claim) -> list[dict[str, int]]:
    """Fleets from the smallest to the wanted one, a replica apart, each the best part of the next.

    Built from the top: the replica goes that is missed least for its price. Where none is missed any more, since
    the rest is overloaded anyway, the pool with most of its wish: pools form a chain, served best by equal shortage.
    """
    wanted, price = claim.wanted, claim.price
    fleet, way = dict(wanted), [dict(wanted)]
    kept = claim.kept(fleet)
    while open_pools := [pool for pool in fleet if fleet[pool] > claim.least[pool]]:
        after = {pool: claim.kept({**fleet, pool: fleet[pool] - 1}) for pool in open_pools}
        missed = {pool: ((kept - after[pool]) / price[pool], -fleet[pool] / wanted[pool]) for pool in open_pools}
        goes = min(open_pools, key=missed.__getitem__)
        fleet[goes] -= 1
        kept = after[goes]
        way.append(dict(fleet))
    return way[::-1]


def _stretches(owner: str, claim: Claim, way: Sequence[Fleet]) -> list[_Stretch]:
    """The way in stretches of falling worth: between the corners of the upper hull of kept requests over price."""
    points = [(claim.cost(fleet), claim.kept(fleet)) for fleet in way]
    corners: list[int] = []
    for place in range(len(points)):
        while len(corners) > 1 and _slope(points, corners[-2], corners[-1]) <= _slope(points, corners[-1], place):
            corners.pop()
        corners.append(place)
    return [_Stretch(owner, a, b, claim.weight * _slope(points, a, b)) for a, b in pairwise(corners)]


def _slope(points: list[tuple[float, float]], a: int, b: int) -> float:
    return (points[b][1] - points[a][1]) / (points[b][0] - points[a][0])
