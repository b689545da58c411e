"""The ``slo`` law in the loop: learn, forecast, size at the price of a promise; react to overload."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from planner.core.attainment import urgency
from planner.core.correction import Correction, Evidence, corrected
from planner.core.load import Lengths, Load, fixed_length, lengths_of, load_of
from planner.core.memory import Mix, dispersion, recent_rate, turn_page
from planner.core.policy import Policy, Promise, What
from planner.core.proposal import Proposal
from planner.core.sizing import mix, slo
from planner.core.sizing.models import PoolModel
from planner.core.state import PlannerState, Price
from planner.core.supply import Supply, planned
from planner.core.tuning import LEAST_OBSERVED, LEAST_RATE, SHORT_TERM_S, Tuning
from planner.core.types import DemandForecast, Observation, Reason, Role, Window
from predictors import registry
from predictors.api import Forecast, Predictor


def propose(policy: Policy, state: PlannerState, seen: Observation) -> tuple[Proposal | None, PlannerState]:
    """The full decision: demand over the horizon, corrected profile, replicas at today's price of a miss."""
    rate = _offered(policy, state)
    state = replace(state, answering=_answering(policy, state, rate))
    predictors = _taught(policy, state, seen.at, rate)
    state = _learnt(policy, state, predictors, rate)
    if rate is None:
        return None, state
    horizon_s = max(state.supply.get(p.name, Supply()).startup_s(p) for p in policy.pools) + policy.interval_s
    steps = max(1, math.ceil(horizon_s / policy.interval_s - 1e-6))
    path = predictors["rate"].path(steps)
    rates = scenarios(path, rate, policy.tuning)
    if sum(rates) <= len(rates) * LEAST_RATE:
        return Proposal({pool.name: 0 for pool in policy.pools}, Reason.IDLE), replace(state, load=None)
    load = _load(policy, state, rates, rate)
    if load is None:
        return None, state
    load = _with_drift(policy, predictors, load, steps)
    parts = slo.models(policy.pools, policy.sla, load, state.slowness)
    state = _priced(policy, state, parts, load)
    forecast = _forecast(path, rates, load, horizon_s)
    extra = _backlog_rate(policy, state, seen, load, parts, rate)
    if extra > 0:
        load = load.plus(extra)
        parts = slo.models(policy.pools, policy.sla, load, state.slowness)
    return _proposal(policy, state, seen, parts, load, forecast, Reason.SIZED), replace(state, load=load)


def react(policy: Policy, state: PlannerState, seen: Observation) -> Proposal | None:
    """The fast look: size at once for an overload the last full decision did not plan for.

    The rate of the last few windows counts only as far as it stands above chance; a backlog counts
    as load to be worked off within an interval. ``None`` when the plan still holds.
    """
    load = state.load
    now = recent_rate(state.memory, SHORT_TERM_S)
    if load is None or state.asked is None or now is None:
        return None
    asked = planned(state.asked, state.made_up)
    doubt = policy.tuning.fast_doubt * math.sqrt(load.dispersion_at(now) * now / SHORT_TERM_S)
    sure = max(0.0, now - doubt)
    if sure + _waiting(policy, seen, load) / policy.interval_s <= max(load.rates):
        return None
    parts = slo.models(policy.pools, policy.sla, load, state.slowness)
    sudden = load.at(sure + _backlog_rate(policy, state, seen, load, parts, sure))
    parts = slo.models(policy.pools, policy.sla, sudden, state.slowness)
    urgent = _proposal(policy, state, seen, parts, sudden, None, Reason.FAST_PATH)
    wanted = {name: max(n, asked.get(name, 0)) for name, n in urgent.wanted.items()}
    return replace(urgent, wanted=wanted) if wanted != asked else None


def scenarios(path: Sequence[Forecast] | None, rate: float, tuning: Tuning) -> tuple[float, ...]:
    """Equally likely rates to plan for: at each level the highest over the horizon.

    Before the predictor knows its own errors, the last rate with a prior spread.
    """
    spread = tuning.forecast_spread
    known = [[step.mean + spread * (s - step.mean) for s in step.scenarios] for step in path or () if step.scenarios]
    if known:
        return tuple(max(0.0, max(step[i] for step in known)) for i in range(len(known[-1])))
    mean = max((step.mean for step in path or ()), default=rate)
    return tuple(mean * (1.0 + tuning.prior_spread * spread * z) for z in (-1.4, -0.7, -0.3, 0.0, 0.3, 0.7, 1.4))


def _offered(policy: Policy, state: PlannerState) -> float | None:
    """Requests per second since the last full decision; ``None`` when too little of it was seen."""
    window = state.memory.gathered
    if window is None or window.started is None:
        return None
    if window.seconds < max(state.memory.blind_s, LEAST_OBSERVED * policy.interval_s):
        return None
    return window.started / window.seconds


def _taught(policy: Policy, state: PlannerState, at: float, rate: float | None) -> dict[str, Predictor]:
    """Predictors of requests, and of prompt and answer tokens, per second: all three with this interval's value."""
    predictors = {}
    prompts, answers = _tokens_per_s(state.memory.gathered, rate)
    answers = None if answers is None else state.answering
    for name, value in (("rate", rate), ("prompt tokens", prompts), ("answer tokens", answers)):
        old = state.predictors.get(name)
        predictors[name] = registry.make(policy.predictor, policy.interval_s) if old is None else old.copy()
        predictors[name].update(policy.slot_s(at), value)
    return predictors


def _tokens_per_s(window: Window | None, rate: float | None) -> tuple[float | None, float | None]:
    """Offered prompt tokens (prefix hits taken off) and answer tokens per second; ``None`` where no length was seen."""
    if window is None or rate is None:
        return None, None
    prompts, answers = window.input_tokens, window.output_tokens
    isl, osl = (each.mean if each is not None else None for each in (prompts, answers))
    if isl is not None and prompts is not None and window.cached_tokens is not None:
        isl *= 1.0 - min(1.0, window.cached_tokens / max(prompts.total, 1.0))
    return None if isl is None else rate * isl, None if osl is None else rate * osl


def _answering(policy: Policy, state: PlannerState, rate: float | None) -> float | None:
    """Answer tokens per second over as long as an answer takes, which is what decode feels.

    Where all steps keep the ITL target an answer is over within W = OSL × ITL, and throughput grows with the
    sequences in flight less than in proportion: dN/dt = λ − X(N)/OSL ≤ λ − N/W up to the N that the target allows.
    So what a replica holds is at most what arrives, exponentially smoothed with time constant W.
    """
    window, old = state.memory.gathered, state.answering
    _, offered = _tokens_per_s(window, rate)
    if offered is None or window is None or old is None or not rate:
        return old if offered is None else offered
    lasts_s = policy.tuning.lasting * offered / rate * policy.sla.itl_s
    return offered + (old - offered) * math.exp(-window.seconds / lasts_s) if lasts_s > 0 else offered


def _with_drift(policy: Policy, predictors: Mapping[str, Predictor], load: Load, steps: int) -> Load:
    """The load with prompts and answers as they are foreseen themselves: where lengths drift, requests do not tell."""
    found = []
    for name, mean in (("prompt tokens", load.input_tokens.mean), ("answer tokens", load.output_tokens.mean)):
        path = predictors[name].path(steps)
        if not policy.tuning.drift or not path or mean <= 0:
            return load
        found.append(tuple(tokens / mean for tokens in scenarios(path, path[0].mean, policy.tuning)))
    return replace(load, prompt_rates=found[0], answer_rates=found[1])


def _learnt(policy: Policy, state: PlannerState, predictors: Mapping[str, Predictor],
            rate: float | None) -> PlannerState:  # fmt: skip
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
    return replace(
        state,
        corrections=corrections,
        evidence=carried,
        memory=turn_page(state.memory, policy.tuning),
        predictors=predictors,
    )


def _load(policy: Policy, state: PlannerState, rates: tuple[float, ...], rate: float) -> Load | None:
    mix: Mix = state.memory.mix
    if mix.input_tokens is None:
        return None
    prompt = lengths_of(mix.input_tokens)
    output: Lengths = lengths_of(mix.output_tokens) if mix.output_tokens is not None else fixed_length(prompt.mean)
    burst, over = dispersion(state.memory, policy.tuning)
    return load_of(rates, prompt, 1.0 - mix.cached_share, output, burst, over or rate)


def _priced(policy: Policy, state: PlannerState, parts: Mapping[str, PoolModel], load: Load) -> PlannerState:
    """Average today's shadow price of each promise into what it has cost of late."""
    keep, weight, prices = 1.0 - policy.interval_s / policy.tuning.price_memory_s, load.mean_rate, dict(state.prices)
    for promise, own in slo.by_promise(policy.sla, parts).items():
        now = slo.shadow_price(mix.leads(slo.those(policy.pools, own)), own, promise.measure.allowance)
        if now is not None:
            old = prices.get(promise.what, Price())
            prices[promise.what.value] = Price(keep * old.log_sum + weight * math.log(now), keep * old.weight + weight)
    return replace(state, prices=prices)


def _proposal(policy: Policy, state: PlannerState, seen: Observation, parts: Mapping[str, PoolModel], load: Load,
              forecast: DemandForecast | None, reason: Reason) -> Proposal:  # fmt: skip
    asked = slo.by_promise(policy.sla, parts)
    if policy.tuning.joint:
        fleets = (_at_price(policy, state, seen, promise, own, load) for promise, own in asked.items())
        wanted = slo.most(policy.pools, fleets)
    else:
        wanted = slo.fewest(policy.pools, policy.sla, parts)
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


def _at_price(policy: Policy, state: PlannerState, seen: Observation, promise: Promise, parts: Mapping[str, PoolModel],
              load: Load) -> dict[str, int]:  # fmt: skip
    """Replicas at today's price of one promise, by the models of its pools."""
    pools, allowance = slo.those(policy.pools, parts), promise.measure.allowance
    # which answers met prompts in the same worker, no metric tells
    visible = What.ITL not in promise.latencies or all(pool.role is not Role.AGGREGATED for pool in pools)
    urgent = urgency(state.budgets.get(promise.what, 0.0), load.mean_rate, allowance, policy.tuning, visible)
    price = math.exp((state.prices.get(promise.what, Price()).log or 0.0) + urgent)
    cap = policy.tuning.miss_cap * allowance * math.exp(-min(0.0, urgent)) / len(mix.leads(pools))
    held = state.asked or {name: reading.requested for name, reading in seen.pools.items()}
    ready = {name: reading.ready for name, reading in seen.pools.items()}
    return mix.at_price(pools, parts, price, cap, held, ready)


def _forecast(path: Sequence[Forecast] | None, rates: tuple[float, ...], load: Load,
              horizon_s: float) -> DemandForecast:  # fmt: skip
    last = path[-1] if path else None
    return DemandForecast(
        horizon_s=horizon_s,
        rate=last.mean if last else load.mean_rate,
        rate_low=last.quantile(0.05) if last and last.quantiles else min(rates),
        rate_high=last.quantile(0.95) if last and last.quantiles else max(rates),
        input_tokens=load.input_tokens.mean,
        output_tokens=load.output_tokens.mean,
        dispersion=load.dispersion_at(load.mean_rate),
    )


def _waiting(policy: Policy, seen: Observation, load: Load) -> float:
    """Requests that wait, if they are more than the TTFT target explains."""
    waiting = max((reading.waiting or 0.0 for reading in seen.pools.values()), default=0.0)
    return policy.tuning.backlog * max(0.0, waiting - load.mean_rate * policy.sla.ttft_s)


def _backlog_rate(policy: Policy, state: PlannerState, seen: Observation, load: Load,
                  parts: Mapping[str, PoolModel], rate: float) -> float:  # fmt: skip
    """A backlog as an extra rate: to be worked off within one interval once help is there.

    Everybody who comes behind a backlog misses too, so what it costs to be rid of it quickly is little. It
    goes on growing until help comes: by what ``rate`` is above the capacity that is ready.
    """
    backlog = _waiting(policy, seen, load)
    if backlog <= 0:
        return 0.0
    grows = 0.0
    for group in mix.groups([pool for pool in policy.pools if pool.name in seen.pools]):
        readings = [seen.pools[pool.name] for pool in group]
        serving = {pool.name: reading.ready for pool, reading in zip(group, readings, strict=True)}
        ((slow, ready),) = mix.equivalent(group, parts, serving).items()
        busy = parts[slow].busy(rate)
        if busy > ready:
            helps = (state.supply.get(pool.name, Supply()).help_in_s(pool, reading, policy.tuning)
                     for pool, reading in zip(group, readings, strict=True))  # fmt: skip
            help_in_s = max(helps)
            grows = max(grows, rate * (1.0 - ready / busy) * help_in_s)
    return (backlog + grows) / policy.interval_s
