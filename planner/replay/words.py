"""Decisions in sentences for people. The only place where reasons become words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from planner.adapters.decision_log import About
from planner.core.types import Adjustment, Decision, PoolReading, Reason
from planner.replay.evidence import Seen
from planner.replay.whatif import WhatIf
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
    Reason.STEP_DOWN: "no faster down than this in one step",
    Reason.GPU_BUDGET: "all pools together may not have more GPUs (budget)",
    Reason.SHARED_BUDGET: "the budget is shared, and the rest of it keeps more promises elsewhere",
    Reason.OVERDUE: "others do not become ready",
    Reason.WHAT_IF: "the rest would not have kept the promise with the whole load",
}
"""What every reason means."""


def fleet(replicas: Mapping[str, int], before: Mapping[str, int] | None = None) -> str:
    """``prefill 6 → 7, decode 3``: replicas, and what they were."""
    if not replicas:
        return "nothing: the fleet has not been seen yet"
    parts = []
    for pool, n in replicas.items():
        old = n if before is None else before.get(pool, n)
        parts.append(f"{pool} {n}" if old == n else f"{pool} {old} → {n}")
    return ", ".join(parts)


def seen(what: Seen, about: About | None) -> Iterator[str]:
    """What was measured before the decision."""
    if what.seconds <= 0:
        yield "Nothing could be measured."
    else:
        yield f"Over {show_duration(what.seconds)}: {_traffic(what)}."
        yield f"{_latency(what, about)}."
    if what.blind_steps and what.seconds > 0:
        yield f"At {what.blind_steps} of the steps nothing could be read."
    yield from (f"{name}: {_pool(reading)}." for name, reading in what.pools.items())


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


def planned(rate: float) -> str:
    """What a fast look held its rate against."""
    return f"The last full decision had planned for {rate:,.3g} requests/s at most."


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
        goal = f" (the goal is {about.sla.goal:.4g})" if about is not None else ""
        text += f"; {model.attainment:.2%} of requests keep both promises{goal}"
    yield f"{text}."


def turn(one: WhatIf) -> str:
    """What would have changed the number."""
    what, value, actual = {
        "rate": ("traffic", f"{one.value:,.4g} requests/s", f"{one.actual:,.4g}"),
        "ttft": ("a TTFT target", show_duration(one.value), show_duration(one.actual)),
        "itl": ("an ITL target", show_duration(one.value), show_duration(one.actual)),
    }[one.condition]
    side = "above" if one.value > one.actual else "below"
    share = one.value / one.actual - 1.0
    if one.replicas is None:
        return f"{what} {side} {actual}, up to {value} ({share:+.0%}): still the same."
    return f"{what} of {value} instead of {actual} ({share:+.1%}): {fleet(one.replicas)}."


def held_until(pool: str, wish: int, since: str, until: str) -> str:
    """When a number that is held for the stabilization window may fall."""
    return f"{pool} stays at {wish} or more until {until}, since {wish} were wanted {since}."


def _traffic(what: Seen) -> str:
    rate = "requests are not measured"
    if what.rate_per_s is not None:
        rate = f"{what.rate_per_s:,.3g} requests/s ({what.requests:,.0f} in all)"
    lengths = [
        f"{word} of {tokens:,.0f} tokens"
        for word, tokens in (("prompts", what.input_tokens), ("answers", what.output_tokens))
        if tokens is not None
    ]
    hits = f", {what.cached_share:.1%} of prompt tokens from the prefix cache" if what.cached_share else ""
    return ", ".join([rate, *lengths]) + hits


def _latency(what: Seen, about: About | None) -> str:
    parts = []
    if what.ttft_s is not None:
        target = f" (target {show_duration(about.sla.ttft_s)}{_kept(what)})" if about is not None else ""
        parts.append(f"TTFT {show_duration(what.ttft_s)} on average{target}")
    if what.itl_s is not None:
        target = f" (target {show_duration(about.sla.itl_s)})" if about is not None else ""
        parts.append(f"{show_duration(what.itl_s)} between tokens{target}")
    return ", ".join(parts) or "Latencies are not measured"


def _kept(what: Seen) -> str:
    if what.ttft_kept is None:
        return ""
    low, high = what.ttft_kept
    if high - low < 5e-5:
        return f", kept by {high:.2%}"
    return f", kept by {low:.2%} to {high:.2%}, as far as buckets show"


def _pool(reading: PoolReading) -> str:
    starting = reading.requested - reading.ready
    ready = f"{reading.ready} serve" if starting <= 0 else f"{reading.ready} of {reading.requested} serve"
    parts = [ready]
    if reading.running is not None:
        parts.append(f"{reading.running:,.0f} requests in work")
    if reading.waiting is not None:
        parts.append(f"{reading.waiting:,.0f} waiting")
    if reading.kv_usage is not None and reading.kv_usage > 0:
        parts.append(f"KV cache {reading.kv_usage:.0%} full")
    return ", ".join(parts)
