"""What an explanation says beside the decision itself: what was seen, and what would have changed it."""

from __future__ import annotations

from collections.abc import Iterator

from planner.adapters.decision_log import About
from planner.core.types import PoolReading
from planner.replay.evidence import Seen
from planner.replay.whatif import WhatIf
from planner.units import show_duration
from planner.words import fleet


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


def planned(rate: float) -> str:
    """What a fast look held its rate against."""
    return f"The last full decision had planned for {rate:,.3g} requests/s at most."


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
