"""The classic law in the loop: last window's corrections, point forecasts, utilisation sized to 1.

The baseline, exact in its arithmetic (``planner.core.sizing.classic``). Where a window says nothing
the peer's behaviour depends on NaN; here it holds, as its own documentation intends.
"""

from __future__ import annotations

from dataclasses import replace

from planner.core.correction import Correction
from planner.core.histogram import mean_of
from planner.core.memory import turn_page
from planner.core.policy import Policy
from planner.core.proposal import Proposal
from planner.core.state import PlannerState
from planner.core.types import DemandForecast, Observation, Reason, Window
from predictors import registry
from predictors.api import Predictor


def propose(policy: Policy, state: PlannerState, seen: Observation) -> tuple[Proposal | None, PlannerState]:
    """Correct, forecast requests, ISL and OSL one interval ahead, size; ``None`` holds."""
    from planner.core.sizing import classic

    window = state.memory.gathered
    state = replace(state, memory=turn_page(state.memory, policy.tuning))
    if window is None or window.started is None:
        return None, state
    state = _taught(policy, state, seen.at, window)
    corrections = _corrections(policy, state, seen, window)
    state = replace(state, corrections={name: Correction(factor, factor) for name, factor in corrections.items()})
    ahead = {name: predictor.predict(1) for name, predictor in state.predictors.items()}
    requests, isl, osl = (ahead.get(name) for name in ("requests", "isl", "osl"))
    if requests is None or isl is None or osl is None:
        return None, state
    prefill, decode = classic.pair(policy.pools)
    fleet = classic.size(
        prefill.profile,
        requests=requests.mean,
        isl=isl.mean,
        osl=osl.mean,
        interval_s=policy.interval_s,
        itl_s=policy.sla.itl_s,
        prefill_correction=corrections.get(prefill.name, 1.0),
        decode_correction=corrections.get(decode.name, 1.0),
        prefill_gpus=prefill.gpus,
        decode_gpus=decode.gpus,
        min_endpoint=max(1, min(prefill.min_replicas, decode.min_replicas)),
        budget=policy.budget_gpus,
    )
    rate = requests.mean / policy.interval_s
    forecast = DemandForecast(policy.interval_s, rate, rate, rate, isl.mean, osl.mean)
    return Proposal({prefill.name: fleet[0], decode.name: fleet[1]}, Reason.SIZED, forecast), state


def _taught(policy: Policy, state: PlannerState, at: float, window: Window) -> PlannerState:
    values = {
        "requests": window.started,
        "isl": mean_of(window.input_tokens),
        "osl": mean_of(window.output_tokens),
    }
    predictors: dict[str, Predictor] = {}
    for name, value in values.items():
        old = state.predictors.get(name)
        predictors[name] = registry.make(policy.predictor, policy.interval_s) if old is None else old.copy()
        scaled = value * policy.interval_s / window.seconds if name == "requests" and value is not None else value
        predictors[name].update(policy.slot_s(at), scaled)
    return replace(state, predictors=predictors)


def _corrections(policy: Policy, state: PlannerState, seen: Observation, window: Window) -> dict[str, float]:
    from planner.core.sizing import classic

    prefill, decode = classic.pair(policy.pools)
    ttft = mean_of(window.ttft)
    itl = mean_of(window.itl)
    duration = mean_of(window.duration)
    isl = mean_of(window.input_tokens)
    osl = mean_of(window.output_tokens)
    serving = seen.pools.get(decode.name)
    ready = 0 if serving is None else serving.ready
    if ttft is None or itl is None or duration is None or isl is None or osl is None or not window.started or not ready:
        return state.slowness
    found = classic.corrections(
        decode.profile,
        observed_ttft_s=ttft,
        observed_itl_s=itl,
        requests=window.started,
        isl=isl,
        osl=osl,
        duration_s=duration,
        decode_replicas=ready,
        interval_s=window.seconds,
    )
    return {prefill.name: found[0], decode.name: found[1]}
