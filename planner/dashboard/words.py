"""A decision in words: what is asked for, why, and what was in the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from planner.core.types import Decision, Reason

WHY = {
    Reason.SIZED: "Sized for the load that is expected until new workers could serve.",
    Reason.FAST_PATH: "More arrived than the last decision planned for, so the fleet was raised at once.",
    Reason.HELD_BLIND: "Nothing could be measured, so what was asked for is kept.",
    Reason.HELD_BETWEEN: "Between full decisions, and nothing calls for more.",
    Reason.HELD_STARTING: "Nothing has been learnt yet, so what was found is kept.",
    Reason.IDLE: "There is no traffic.",
    Reason.FIXED: "The fleet is fixed by the policy.",
}
RULES = {
    Reason.MIN_REPLICAS: "never fewer than the policy's minimum",
    Reason.MAX_REPLICAS: "never more than the policy's maximum",
    Reason.STABILIZATION: "a dip must outlive the stabilisation window before workers go",
    Reason.STEP_UP: "no faster up than the policy allows",
    Reason.STEP_DOWN: "no faster down than the policy allows",
    Reason.GPU_BUDGET: "the GPU budget allows no more",
    Reason.SHARED_BUDGET: "the shared budget keeps more promises elsewhere",
    Reason.OVERDUE: "others do not become ready",
    Reason.WHAT_IF: "one fewer would not have kept the promise",
}
NOTICED = 0.03
"""A profile that is off by less is as good as right."""


def headline(decision: Decision, before: Mapping[str, int] | None) -> str:
    """What is asked for, as a change of ``before``."""
    if not decision.replicas:
        return "Nothing is known of the fleet yet, so nothing is asked for"
    moved = changes(decision, before)
    kept = [f"{pool} {n}" for pool, n in decision.replicas.items() if n == (before or {}).get(pool, n)]
    rest = f"{'keep' if moved else 'Keep'} {', '.join(kept)}" if kept else ""
    return "; ".join(filter(None, (moved, rest)))


def changes(decision: Decision, before: Mapping[str, int] | None) -> str:
    """What is asked for anew: ``decode 3 → 4``; empty when nothing is."""
    asked = decision.replicas.items()
    return ", ".join(f"{pool} {old} → {n}" for pool, n in asked if (old := (before or {}).get(pool, n)) != n)


def sentences(decision: Decision) -> list[str]:
    """Why, what was expected, what was in the way; most important first."""
    return [WHY.get(decision.reason, f"Reason: {decision.reason.value}."), *_details(decision)]


def milliseconds(seconds: float) -> str:
    """Three digits, in the unit of latency targets."""
    return f"{seconds * 1e3:.3g} ms" if seconds < 10 else f"{seconds:,.0f} s"


def _details(decision: Decision) -> Iterator[str]:
    forecast, expected = decision.forecast, decision.expected
    if forecast is not None:
        yield (
            f"Forecast: {forecast.rate:.3g} requests/s within {forecast.horizon_s:,.0f} s "
            f"({forecast.rate_low:.3g} to {forecast.rate_high:.3g}, nine times in ten), "
            f"{forecast.input_tokens:,.0f} prompt tokens to compute "
            f"and {forecast.output_tokens:,.0f} answer tokens each."
        )
    if expected is not None:
        yield (
            "This fleet should give "
            + ", ".join(
                (
                    "a TTFT beyond saturation"
                    if expected.ttft_s is None
                    else f"a TTFT of {milliseconds(expected.ttft_s)}",
                    "an ITL beyond saturation"
                    if expected.itl_s is None
                    else f"an ITL of {milliseconds(expected.itl_s)}",
                    "attainment unknown"
                    if expected.attainment is None
                    else f"both promises kept for {expected.attainment:.1%}",
                )
            )
            + "."
        )
    for a in decision.adjustments:
        yield f"{a.pool}: {a.before} wanted, {a.after} allowed: {RULES.get(a.reason, a.reason.value)}."
    for pool, factor in decision.corrections.items():
        if abs(factor - 1.0) >= NOTICED:
            side = "above" if factor > 1 else "below"
            yield f"{pool}: times are {abs(factor - 1.0):.0%} {side} what the profile says."
    if not decision.feasible:
        yield "The promise cannot be kept by any fleet; this is the best that can be had."
    yield from decision.notes
