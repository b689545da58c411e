"""What is going to be asked of the fleet: requests, prompt and answer tokens, each foreseen with its spread.

From the windows gathered since the last full decision to one load of equally likely rates over the horizon.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from planner.core.load import Load, fixed_length, lengths_of, load_of
from planner.core.memory import Memory, dispersion
from planner.core.policy import Policy
from planner.core.state import PlannerState
from planner.core.tuning import LEAST_OBSERVED, Tuning
from planner.core.types import DemandForecast, Window
from predictors import registry
from predictors.api import Forecast

REQUESTS, PROMPTS, ANSWERS = "rate", "prompt tokens", "answer tokens"
"""The series that are foreseen, all per second."""


def offered(policy: Policy, memory: Memory) -> float | None:
    """Requests per second since the last full decision; ``None`` when too little of it was seen."""
    window = memory.gathered
    if window is None or window.started is None:
        return None
    if window.seconds < max(memory.blind_s, LEAST_OBSERVED * policy.interval_s):
        return None
    return window.started / window.seconds


def taught(policy: Policy, state: PlannerState, at: float, rate: float | None) -> PlannerState:
    """The state whose predictors have this interval's values; ``None`` is a gap."""
    window = state.memory.gathered
    isl, osl = _lengths(window)
    if window is not None and rate is not None and osl is not None:
        state = replace(state, answering=_answering(policy, state.answering, rate, osl, window.seconds))
    values = {
        REQUESTS: rate,
        PROMPTS: None if rate is None or isl is None else rate * isl,
        ANSWERS: None if rate is None or osl is None else state.answering,
    }
    predictors = {}
    for name, value in values.items():
        old = state.predictors.get(name)
        predictors[name] = registry.make(policy.predictor, policy.interval_s) if old is None else old.copy()
        predictors[name].update(policy.slot_s(at), value)
    return replace(state, predictors=predictors)


def scenarios(path: Sequence[Forecast] | None, now: float, tuning: Tuning) -> tuple[float, ...]:
    """Equally likely rates to plan for: at each level the highest over the horizon.

    Before the predictor knows its own errors, the rate of ``now`` with a prior spread.
    """
    spread = tuning.forecast_spread
    known = [[step.mean + spread * (s - step.mean) for s in step.scenarios] for step in path or () if step.scenarios]
    if known:
        return tuple(max(0.0, max(step[i] for step in known)) for i in range(len(known[-1])))
    mean = max((step.mean for step in path or ()), default=now)
    return tuple(mean * (1.0 + tuning.prior_spread * spread * z) for z in (-1.4, -0.7, -0.3, 0.0, 0.3, 0.7, 1.4))


def ahead(policy: Policy, state: PlannerState, rates: tuple[float, ...], rate: float, steps: int) -> Load | None:
    """The load at the equally likely ``rates``, now at ``rate``; ``None`` before any length was seen.

    Prompts and answers are foreseen themselves: where lengths drift, requests do not tell.
    """
    seen = state.memory.mix
    if seen.input_tokens is None:
        return None
    prompt = lengths_of(seen.input_tokens)
    output = lengths_of(seen.output_tokens) if seen.output_tokens is not None else fixed_length(prompt.mean)
    burst, over = dispersion(state.memory, policy.tuning)
    load = load_of(rates, prompt, 1.0 - seen.cached_share, output, burst, over or rate)
    prompts = _of_mean_length(policy, state, PROMPTS, load.input_tokens.mean, steps)
    answers = _of_mean_length(policy, state, ANSWERS, load.output_tokens.mean, steps)
    if not policy.tuning.drift or prompts is None or answers is None:
        return load
    return replace(load, prompt_rates=prompts, answer_rates=answers)


def said(path: Sequence[Forecast] | None, load: Load, horizon_s: float) -> DemandForecast:
    """The forecast as a decision tells it."""
    last = path[-1] if path else None
    return DemandForecast(
        horizon_s=horizon_s,
        rate=last.mean if last else load.mean_rate,
        rate_low=last.quantile(0.05) if last and last.quantiles else min(load.rates),
        rate_high=last.quantile(0.95) if last and last.quantiles else max(load.rates),
        input_tokens=load.input_tokens.mean,
        output_tokens=load.output_tokens.mean,
        dispersion=load.dispersion_at(load.mean_rate),
    )


def _lengths(window: Window | None) -> tuple[float | None, float | None]:
    """Mean tokens of a prompt, prefix hits taken off, and of an answer; ``None`` where none was seen."""
    if window is None:
        return None, None
    prompts, answers = window.input_tokens, window.output_tokens
    isl, osl = (each.mean if each is not None else None for each in (prompts, answers))
    if isl is not None and prompts is not None and window.cached_tokens is not None:
        isl *= 1.0 - min(1.0, window.cached_tokens / max(prompts.total, 1.0))
    return isl, osl


def _answering(policy: Policy, before: float | None, rate: float, osl: float, seconds: float) -> float:
    """Answer tokens per second over as long as an answer takes, which is what decode feels.

    Where all steps keep the ITL target an answer is over within W = OSL × ITL, and throughput grows with the
    sequences in flight less than in proportion: dN/dt = λ − X(N)/OSL ≤ λ − N/W up to the N that the target allows.
    So what a replica holds is at most what arrives, exponentially smoothed with time constant W.
    """
    now, lasts_s = rate * osl, policy.tuning.lasting * osl * policy.sla.itl_s
    if before is None or lasts_s <= 0:
        return now
    return now + (before - now) * math.exp(-seconds / lasts_s)


def _of_mean_length(policy: Policy, state: PlannerState, series: str, mean: float,
                    steps: int) -> tuple[float, ...] | None:  # fmt: skip
    """Equally likely tokens per second of a series, as so many requests of the ``mean`` length."""
    path = state.predictors[series].path(steps)
    if not path or mean <= 0:
        return None
    return tuple(tokens / mean for tokens in scenarios(path, path[0].mean, policy.tuning))
