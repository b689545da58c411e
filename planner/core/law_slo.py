"""The ``slo`` law in the loop: learn, forecast, size at the price of a promise; react to overload."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from planner.core import demand
from planner.core.attainment import urgency, visible
from planner.core.correction import Correction, Evidence, corrected
from planner.core.load import Load
from planner.core.memory import recent_rate, turn_page
from planner.core.overload import backlog_rate, crowd, crowd_note, crowd_rate, sudden_crowd, waiting
from planner.core.policy import Policy, Promise
from planner.core.proposal import Proposal
from planner.core.sizing import mix, slo
from planner.core.sizing.model import PoolModel
from planner.core.state import PlannerState, Price
from planner.core.supply import Supply, planned
from planner.core.tuning import LEAST_RATE, MOST_PLANNED, SHORT_TERM_S
from planner.core.types import DemandForecast, Observation, Reason, Role


def propose(policy: Policy, state: PlannerState, seen: Observation) -> tuple[Proposal | None, PlannerState]:
    """The full decision: demand over the horizon, corrected profile, replicas at today's price of a miss."""
    rate = demand.offered(policy, state.memory)
    state = _learnt(policy, demand.taught(policy, state, seen.at, rate), rate)
    if rate is None:
        return None, state
    horizon_s = max(state.supply.get(p.name, Supply()).startup_s(p) for p in policy.pools) + policy.interval_s
    steps = max(1, math.ceil(horizon_s / policy.interval_s - 1e-6))
    path = state.predictors[demand.REQUESTS].path(steps)
    rates = demand.scenarios(path, rate, policy.tuning)
    load = demand.ahead(policy, state, rates, rate, steps)
    if sum(rates) <= len(rates) * LEAST_RATE:
        return Proposal({pool.name: 0 for pool in policy.pools}, Reason.IDLE), replace(state, load=load)
    if load is None:
        return None, state
    parts = slo.models(policy.pools, policy.sla, load, state.slowness)
    state = _priced(policy, state, parts, load)
    forecast = demand.said(path, load, horizon_s)
    crowded, extra = crowd(policy, state, seen, parts), backlog_rate(policy, state, seen, load, parts, rate)
    answers = crowd_rate(policy, state, seen, load, crowded)
    state = replace(state, crowd=crowded)
    if answers > 0:
        load = load.plus(0.0, answers)
        parts = slo.models(policy.pools, policy.sla, load, state.slowness)
    lasting = None
    if extra > 0:
        lasting = _wanted(policy, state, seen, parts, load)
        load = load.plus(extra)
        parts = slo.models(policy.pools, policy.sla, load, state.slowness)
    proposal = _proposal(policy, state, seen, parts, load, forecast, Reason.SIZED)
    return replace(proposal, notes=crowd_note(crowded), lasting=lasting), replace(state, load=load)


def react(policy: Policy, state: PlannerState, seen: Observation) -> Proposal | None:
    """The fast look: size at once for an overload the last full decision did not plan for.

    The rate of the last few windows counts only as far as it stands above chance; a backlog counts as load to be
    worked off within an interval, a crowd in decode as answers that are asked for. ``None`` when the plan still holds.
    """
    load = state.load
    now = recent_rate(state.memory, SHORT_TERM_S)
    if load is None or state.asked is None or now is None:
        return None
    asked = planned(state.asked, state.made_up)
    doubt = policy.tuning.fast_doubt * math.sqrt(load.dispersion_at(now) * now / SHORT_TERM_S)
    sure = max(0.0, now - doubt)
    more = sure + waiting(policy, seen, load) / policy.interval_s > max(load.rates)
    crowded = sudden_crowd(policy, state, seen, load)
    if not more and crowded <= 0:
        return None
    parts = slo.models(policy.pools, policy.sla, load, state.slowness)
    extra = backlog_rate(policy, state, seen, load, parts, sure)
    answers = crowd_rate(policy, state, seen, load, crowded)
    calm = (load.at(sure) if sure > load.mean_rate else load).plus(0.0, answers)
    sudden = (load.at(sure + extra) if more else load).plus(0.0, answers)
    parts = slo.models(policy.pools, policy.sla, sudden, state.slowness)
    urgent = _proposal(policy, state, seen, parts, sudden, None, Reason.FAST_PATH)
    wanted = {name: max(n, asked.get(name, 0)) for name, n in urgent.wanted.items()}
    if wanted == asked:
        return None
    parts = slo.models(policy.pools, policy.sla, calm, state.slowness)
    lasting = _wanted(policy, state, seen, parts, calm)
    return replace(urgent, wanted=wanted, notes=crowd_note(crowded), lasting=lasting)


def _learnt(policy: Policy, state: PlannerState, rate: float | None) -> PlannerState:
    """Corrections from the interval's evidence; the interval's windows folded into the mix."""
    window = state.memory.gathered
    measured = replace(state.load, rates=(rate,)) if state.load is not None and rate else None
    corrections = {
        pool.name: corrected(
            policy,
            pool,
            state.corrections.get(pool.name, Correction()),
            state.evidence.get(pool.name, Evidence()),
            window,
            measured,
        )
        for pool in policy.pools
        if pool.role is Role.DECODE or len(mix.groups(policy.pools)) == len(policy.pools)
    }
    carried = {name: Evidence(last_running=e.last_running) for name, e in state.evidence.items()}
    return replace(state, corrections=corrections, evidence=carried, memory=turn_page(state.memory, policy.tuning))


def _priced(policy: Policy, state: PlannerState, parts: Mapping[str, PoolModel], load: Load) -> PlannerState:
    """Average today's shadow price of each promise into what it has cost of late."""
    keep, prices = 1.0 - policy.interval_s / policy.tuning.price_memory_s, dict(state.prices)
    for promise, own in slo.by_promise(policy.sla, parts).items():
        now = slo.shadow_price(mix.leads(slo.those(policy.pools, own)), own, promise.measure.allowance)
        if now is not None:
            old = prices.get(promise.what, Price())
            prices[promise.what.value] = old.then(math.log(now), load.mean_rate, keep)
    return replace(state, prices=prices)


def _proposal(policy: Policy, state: PlannerState, seen: Observation, parts: Mapping[str, PoolModel], load: Load,
              forecast: DemandForecast | None, reason: Reason) -> Proposal:  # fmt: skip
    wanted, asked = _wanted(policy, state, seen, parts, load), slo.by_promise(policy.sla, parts)
    beyond = [said for own in asked.values() for said in mix.unreachable(slo.those(policy.pools, own), own)]
    unreachable = tuple(beyond)
    return Proposal(
        wanted=wanted,
        reason=Reason.INFEASIBLE if unreachable else reason,
        forecast=forecast,
        expect=lambda fleet: mix.expect(policy.pools, parts, load, fleet),
        worth=lambda name, n: mix.missed_per_s(policy.pools, parts, {**wanted, name: n}, name),
        unreachable=unreachable,
    )


def _wanted(policy: Policy, state: PlannerState, seen: Observation, parts: Mapping[str, PoolModel],
            load: Load) -> dict[str, int]:  # fmt: skip
    """Replicas for a load, by the models of its pools: the most that any promise asks for; none without requests."""
    if load.mean_rate <= LEAST_RATE:
        return dict.fromkeys((pool.name for pool in policy.pools), 0)
    if not policy.tuning.joint:
        return slo.fewest(policy.pools, policy.sla, parts)
    asked = slo.by_promise(policy.sla, parts)
    return slo.most(
        policy.pools, (_at_price(policy, state, seen, promise, own, load) for promise, own in asked.items())
    )


def _at_price(policy: Policy, state: PlannerState, seen: Observation, promise: Promise, parts: Mapping[str, PoolModel],
              load: Load) -> dict[str, int]:  # fmt: skip
    """Replicas at today's price of one promise, by the models of its pools.

    What may be missed is a share of the usual rate where that of now is lower: else a fleet would grow in a silence,
    for the little chance of requests that its forecast leaves.
    """
    pools, allowance = slo.those(policy.pools, parts), promise.measure.allowance
    told, cost = visible(promise, pools, state.request_itl), state.prices.get(promise.what, Price())
    rate = max(load.mean_rate, min(cost.usual_rate, load.highest_rate))
    urgent = urgency(state.budgets.get(promise.what, 0.0), rate, allowance, policy.tuning, told)
    price = math.exp((cost.log or 0.0) + urgent)
    strict = policy.tuning.miss_cap * allowance
    lenient = min(MOST_PLANNED, strict * math.exp(-min(0.0, urgent)))  # while the budget is not spent
    cap = max(strict, lenient) * rate / load.mean_rate / len(mix.leads(pools))
    held = state.asked or {name: reading.requested for name, reading in seen.pools.items()}
    ready = {name: reading.ready for name, reading in seen.pools.items()}
    return mix.at_price(pools, parts, price, cap, held, ready)
