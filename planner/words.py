"""Decisions in sentences for people, on the page and in explanations. The only place where reasons become words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from planner.adapters.decision_log import About
from planner.core.policy import Sla
from planner.core.types import Adjustment, Decision, Reason
from planner.units import show_duration

REASONS: Mapping[Reason, str] = {
    Reason.SIZED: "sized for the load that was forecast",
    Reason.FAST_PATH: "sized at once for an overload that the last full decision had not planned for",
    Reason.HELD_BLIND: "held as it was asked for: nothing could be measured",
    Reason.HELD_BETWEEN: "held between two full decisions: no overload was seen",
    Reason.HELD_STARTING: "held as it was asked for: too little has been measured to decide",
    Reason.IDLE: "no requests came and none are forecast",
    Reason.FIXED: "fixed by the configuration: nothing that is seen moves it",
    Reason.INFEASIBLE: "no fleet can keep the promise; sized for the best that can be had",
    Reason.MIN_REPLICAS: "never fewer than {after} replicas (min_replicas)",
    Reason.MAX_REPLICAS: "never more than {after} replicas (max_replicas)",
    Reason.STABILIZATION: "{after} were wanted shortly before, and a dip must outlive the stabilization window",
    Reason.STEP_UP: "no faster up than this in one step",
    Reason.GPU_BUDGET: "all pools together may not have more GPUs (budget)",
    Reason.SHARED_BUDGET: "the budget is shared, and the rest of it keeps more promises elsewhere",
    Reason.OVERDUE: "others do not become ready",
}
"""What every reason means."""


def fleet(replicas: Mapping[str, int], before: Mapping[str, int] | None = None) -> str:
    """``prefill 6 → 7, decode 3``: replicas, and what they were."""
    known = before or {}
    parts = [_step(pool, known.get(pool, n), n) for pool, n in replicas.items()]
    return ", ".join(parts) or "nothing: the fleet has not been seen yet"


def changes(replicas: Mapping[str, int], before: Mapping[str, int]) -> str:
    """``prefill 6 → 7``: what is asked for anew; empty when nothing is."""
    return ", ".join(_step(pool, before[pool], n) for pool, n in replicas.items() if before.get(pool, n) != n)


def _step(pool: str, before: int, n: int) -> str:
    return f"{pool} {n}" if before == n else f"{pool} {before} → {n}"


def sentences(decision: Decision, about: About | None) -> list[str]:
    """Everything that a decision says of itself, most important first."""
    why = REASONS[decision.reason]
    rules = (rule(moved, about) for moved in decision.adjustments)
    model = (*forecast(decision, about), *expected(decision, about))
    return [f"{why[0].upper()}{why[1:]}.", *model, *rules, *corrections(decision), *decision.notes]


def forecast(decision: Decision, about: About | None) -> Iterator[str]:
    """The load that the decision was made for."""
    load = decision.forecast
    if load is None:
        return
    band = f" (90 % of cases within {load.rate_low:,.3g} to {load.rate_high:,.3g})" if load.rate_high > 0 else ""
    yield f"{load.rate:,.3g} requests/s{band}, with prompts of {load.input_tokens:,.0f} tokens that are not cached " \
          f"and answers of {load.output_tokens:,.0f}."  # fmt: skip
    parts = ""
    if about is not None and load.horizon_s > about.interval_s:
        start = show_duration(load.horizon_s - about.interval_s)
        parts = f": the longest start-up ({start}) and one interval ({show_duration(about.interval_s)})"
    yield f"It looks {show_duration(load.horizon_s)} ahead{parts}."
    if load.dispersion > 1.0:
        yield f"Arrivals scatter {load.dispersion:.3g} times as much as chance alone would have them."


def corrections(decision: Decision) -> Iterator[str]:
    """How far the profile is off, as learnt from what was seen."""
    for pool, factor in decision.corrections.items():
        if abs(factor - 1.0) < 0.005:
            yield f"{pool} is as fast as its profile says."
        else:
            yield f"{pool} takes {factor:.3g} × the time its profile says."


def rule(moved: Adjustment, about: About | None) -> str:
    """One rule that moved a number."""
    text = REASONS[moved.reason].format(after=moved.after)
    if moved.reason is Reason.GPU_BUDGET and about is not None and (budget := about.settings.get("budget")):
        text = f"all pools together may not have more than {budget} GPUs (budget)"
    return f"{moved.pool} {moved.before} → {moved.after}: {text} [{moved.reason.value}]."


def expected(decision: Decision, about: About | None) -> Iterator[str]:
    """What the planner's own model expects of the fleet."""
    model = decision.expected
    if model is None:
        return
    ttft = "beyond saturation" if model.ttft_s is None else show_duration(model.ttft_s)
    itl = "beyond saturation" if model.itl_s is None else show_duration(model.itl_s)
    text = f"TTFT {ttft} and ITL {itl} on average"
    if model.attainment is not None:
        goal = f" ({_goal(about.sla)})" if about is not None else ""
        text += f"; {model.attainment:.2%} of requests keep both promises{goal}"
    yield f"{text}."


def _goal(sla: Sla) -> str:
    return f"the goal is {sla.goal:.4g}" if sla.is_joint else f"promised: {sla}"
