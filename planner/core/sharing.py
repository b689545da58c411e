"""Several policies under one budget: each decides for itself, and what is short is shared.

A policy knows nothing of the others. Its decision says what its own rules allow; here the decisions of all are
brought under the common limit, and every number that moves says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from planner.core import allocation
from planner.core.allocation import Claim, Fleet
from planner.core.load import Load
from planner.core.memory import recent_rate
from planner.core.planner import Planner
from planner.core.policy import Policy, Pool
from planner.core.sizing import mix, slo
from planner.core.sizing.model import PoolModel
from planner.core.state import PlannerState
from planner.core.tuning import LEAST_RATE
from planner.core.types import Adjustment, Decision, Observation, Reason

HELD = (Reason.HELD_BLIND, Reason.HELD_BETWEEN, Reason.HELD_STARTING)

Split = Callable[[Mapping[str, Claim], Mapping[str, Fleet], float], Mapping[str, Fleet]]
"""``split(claims, held, budget)``: a fleet for every claim; ``held`` is what each was given last."""


@dataclass(frozen=True, slots=True)
class SharedBudget:
    """A hard limit for all policies together, in GPUs, or in cost per hour."""

    limit: float
    in_cost: bool = False

    def price(self, policy: Policy) -> dict[str, float]:
        """Price of one replica of every pool, in the unit of the limit."""
        return {pool.name: pool.price if self.in_cost else float(pool.gpus) for pool in policy.pools}

    def check(self, policies: Mapping[str, Policy]) -> None:
        """Refuse a limit below what all need to serve at all.

        Raises:
            ValueError: the smallest fleets do not fit together.
        """
        least = {name: _smallest(policy, self.price(policy)) for name, policy in policies.items()}
        if sum(least.values()) > self.limit:
            each = ", ".join(f"{name} {price:g}" for name, price in least.items())
            raise ValueError(
                f"budget ({self.limit:g} {'per hour' if self.in_cost else 'GPUs'}) is below the smallest fleets that "
                f"serve ({sum(least.values()):g}: {each})"
            )


@dataclass(slots=True)
class Member:
    """One policy of several: its planner, what steps it, and what one of its kept promises counts."""

    planner: Planner
    priority: float = 1.0
    step: Callable[[Observation], Decision] | None = None  # in place of the planner's own: one that runs its fits


class SharedPlanner:
    """Planners under one budget. Sans-I/O, as each of them: observations in, decisions out."""

    def __init__(
        self, members: Mapping[str, Member], budget: SharedBudget, split: Split = allocation.with_little_change
    ) -> None:
        budget.check({name: member.planner.policy for name, member in members.items()})
        self._members, self._budget, self._split = members, budget, split
        self._given: dict[str, dict[str, int]] = {}
        self._wishes: dict[str, Fleet] = {}

    def step(self, seen: Mapping[str, Observation]) -> dict[str, Decision]:
        """Answer one observation of every policy.

        All share anew when one of them has made a full decision. Between, nobody gives anything up: what a
        sudden overload asks for comes from what is free.
        """
        own = {name: (member.step or member.planner.step)(seen[name]) for name, member in self._members.items()}
        for name, decision in own.items():
            if decision.reason is not Reason.HELD_BETWEEN or name not in self._wishes:
                self._wishes[name] = dict(decision.replicas)
        anew = not self._given or any(decision.reason not in (*HELD, Reason.FAST_PATH) for decision in own.values())
        if anew or any(decision.reason is Reason.FAST_PATH for decision in own.values()):
            self._given = self._shared(own, anew=anew)
        return {name: self._settled(name, decision) for name, decision in own.items()}

    def _shared(self, own: Mapping[str, Decision], *, anew: bool) -> dict[str, dict[str, int]]:
        held = {name: self._given.get(name, dict(decision.replicas)) for name, decision in own.items()}
        claims = {name: self._claim(name, held[name], anew=anew) for name in own}
        limit = self._budget.limit
        given = self._split(claims, held, limit) if anew else allocation.shared(claims, limit)
        return {name: dict(fleet) for name, fleet in given.items()}

    def _claim(self, name: str, held: Fleet, *, anew: bool) -> Claim:
        member, wish = self._members[name], self._wishes[name]
        policy, state = member.planner.policy, member.planner.state
        price = self._budget.price(policy)
        serves = {p.name: min(wish[p.name], max(1, p.min_replicas)) for p in policy.pools}
        least = serves if anew else {pool: min(wish[pool], held[pool]) for pool in wish}
        return Claim(
            wanted=_within(self._budget.limit, wish, least, price),
            least=least,
            price=price,
            kept=kept_by(policy, state, wish),
            weight=member.priority,
        )

    def _settled(self, name: str, decision: Decision) -> Decision:
        """The decision with what the policy was given; its planner remembers that it asked for no more."""
        planner, given = self._members[name].planner, self._given[name]
        planner.state = replace(planner.state, asked=given)
        if given == dict(decision.replicas):
            return decision
        before = self._wishes[name]
        moved = [Adjustment(p, Reason.SHARED_BUDGET, before[p], n) for p, n in given.items() if n != before[p]]
        state, policy, expected = planner.state, planner.policy, decision.expected
        if expected is not None and state.load is not None:
            parts = slo.models(policy.pools, policy.sla, state.load, state.slowness)
            expected = mix.expect(policy.pools, parts, state.load, given)
        return replace(decision, replicas=given, adjustments=(*decision.adjustments, *moved), expected=expected)


def kept_by(policy: Policy, state: PlannerState, wish: Fleet) -> Callable[[Fleet], float]:
    """Requests per second of today's load that keep their promise with a fleet.

    What waits already is to be served, and is late. Without a model of the load: as many as the scarcest pool has of
    its wish.
    """
    now = recent_rate(state.memory, policy.interval_s) or 0.0
    if policy.law != "slo" or state.load is None or state.load.mean_rate <= LEAST_RATE:
        return lambda fleet: now * min((fleet[pool] / n for pool, n in wish.items() if n > 0), default=1.0)
    load = state.load
    fresh = min(1.0, now / load.mean_rate)
    parts = slo.models(policy.pools, policy.sla, load, state.slowness)
    return _Kept(policy.pools, parts, load, fresh)


class _Kept:
    """Kept requests per second by fleet; a pool's misses are computed once for every number of replicas."""

    def __init__(self, pools: Sequence[Pool], parts: Mapping[str, PoolModel], load: Load, share: float) -> None:
        self._pools, self._parts, self._load, self._share = pools, parts, load, share
        self._missed: dict[tuple[str, float], tuple[float, ...]] = {}

    def __call__(self, fleet: Fleet) -> float:
        pools = [self._misses(pool, n) for pool, n in mix.equivalent(self._pools, self._parts, fleet).items()]
        kept = 0.0
        for place, rate in enumerate(self._load.rates):
            kept += rate * max(0.0, 1.0 - sum(missed[place] for missed in pools))
        return self._share * kept / len(self._load.rates)

    def _misses(self, pool: str, n: float) -> tuple[float, ...]:
        """Share of requests that the pool lets down, at each of the equally likely rates."""
        if (pool, n) not in self._missed:
            model = self._parts[pool]
            self._missed[pool, n] = tuple(model.miss(n, rate) if n > 0 else 1.0 for rate in self._load.rates)
        return self._missed[pool, n]


def _smallest(policy: Policy, price: Mapping[str, float]) -> float:
    return sum(max(1, pool.min_replicas) * price[pool.name] for pool in policy.pools)


def _within(limit: float, wish: Fleet, least: Fleet, price: Mapping[str, float]) -> dict[str, int]:
    """A wish beyond the whole budget, cut in proportion to about the budget: it can get no more anyway."""
    over = sum((n - least[pool]) * price[pool] for pool, n in wish.items())
    left = limit - sum(n * price[pool] for pool, n in least.items())
    scale = min(1.0, max(0.0, left) / over) if over > 0 else 1.0
    return {pool: least[pool] + math.ceil((n - least[pool]) * scale) for pool, n in wish.items()}
