"""How many promises were kept, as far as buckets show, and what is left of the error budget.

A target between two bucket edges is seen as a bracket. Inside it the tail is
taken to fall geometrically, which is exact for an exponential wait. A
request's mean ITL is not exposed at all; the mean step of its worker over a
few seconds stands for it, since all sequences of a worker share the step.
"""

from __future__ import annotations

from collections.abc import Sequence

from planner.core.histogram import Histogram
from planner.core.policy import Measure, Promise, Sla, What
from planner.core.tuning import Tuning
from planner.core.types import PoolReading


def late_share(ttft: Histogram | None, target_s: float) -> float | None:
    """Share of first tokens later than ``target_s``; ``None`` without any."""
    bracket = ttft.share_at_most(target_s) if ttft is not None else None
    if ttft is None or bracket is None:
        return None
    low, high = bracket
    if low == high:
        return 1.0 - low
    below = max((e for e in ttft.edges if e <= target_s), default=0.0)
    above = min(e for e in ttft.edges if e > target_s)
    if above == float("inf"):
        return 1.0 - low
    floor = 0.5 / max(ttft.count, 1.0)  # an empty tail is not an impossible one
    outer, inner = max(1.0 - high, floor), max(1.0 - low, floor)
    place = (target_s - below) / (above - below)
    between: float = inner ** (1.0 - place) * outer**place
    return min(1.0 - low, max(1.0 - high, between))


def slow_share(reading: PoolReading, target_s: float) -> float | None:
    """Share of token gaps on workers whose mean step was above ``target_s``; ``None`` without any.

    Without per-worker means the pool's mean speaks for all.
    """
    if reading.worker_steps:
        total = sum(gaps for _, gaps in reading.worker_steps)
        return sum(gaps for mean, gaps in reading.worker_steps if mean > target_s) / total
    mean = reading.step_seconds.mean if reading.step_seconds is not None else None
    return None if mean is None else float(mean > target_s)


def let_down(promise: Promise, sla: Sla, ttft: Histogram, decoding: Sequence[PoolReading]) -> float:
    """What a window took from a promise, of every request: the share that missed, or the mean over its target.

    The worst decoding pool speaks for all; shares of the two latencies add up. No metric tells a request's own ITL:
    its mean is taken over token gaps here.
    """
    found = sum(_TAKEN[what](promise.measure, sla.target_s(what), ttft, decoding) for what in promise.latencies)
    return found if promise.measure.share is None else min(1.0, found)


def measured(promise: Promise, decoding: Sequence[PoolReading]) -> bool:
    """Whether the window showed all latencies of a promise: no token gaps are measured, no metric of them is not."""
    if What.ITL not in promise.latencies:
        return True
    return bool(decoding) and all(r.worker_steps or r.step_seconds is not None for r in decoding)


def _taken_ttft(measure: Measure, target_s: float, ttft: Histogram, _: Sequence[PoolReading]) -> float:
    return (late_share(ttft, target_s) if measure.share is not None else (ttft.mean or 0.0) / target_s) or 0.0


def _taken_itl(measure: Measure, target_s: float, _: Histogram, decoding: Sequence[PoolReading]) -> float:
    if measure.share is not None:
        return max((slow_share(reading, target_s) or 0.0 for reading in decoding), default=0.0)
    return max((mean_step_s(reading) or 0.0 for reading in decoding), default=0.0) / target_s


_TAKEN = {What.TTFT: _taken_ttft, What.ITL: _taken_itl}


def mean_step_s(reading: PoolReading) -> float | None:
    """Mean token gap of a pool in seconds; ``None`` without any."""
    if reading.worker_steps:
        return sum(mean * gaps for mean, gaps in reading.worker_steps) / sum(gaps for _, gaps in reading.worker_steps)
    return reading.step_seconds.mean if reading.step_seconds is not None else None


def spent(budget: float, missed: float, requests: float, allowance: float, elapsed_s: float,
          tuning: Tuning) -> float:  # fmt: skip
    """Error budget after a window: what was missed beyond the allowance of each request, old misses forgotten."""
    aim = allowance * (1.0 - tuning.feedback_aim)
    faded = budget * max(0.0, 1.0 - elapsed_s / tuning.budget_leak_s)
    return faded + missed - aim * requests


def urgency(budget: float, rate: float, allowance: float, tuning: Tuning, visible: bool = True) -> float:
    """Log factor on the price of a miss: budget overspent by an hour's allowance multiplies it by e.

    Where misses are not all ``visible`` a budget that looks unspent proves nothing: the factor stays at 0.
    """
    if rate <= 0:
        return 0.0
    low = tuning.feedback_low if visible else 0.0
    return min(max(budget / (allowance * rate * 3600.0), low), tuning.feedback_high)
