"""How many promises were kept, as far as buckets show, and what is left of the error budget.

A target between two bucket edges is seen as a bracket. Inside it the tail is
taken to fall geometrically, which is exact for an exponential wait. Where no
engine tells each request's own mean ITL, the mean step of its worker over a
few seconds stands for it, since all sequences of a worker share the step.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from planner.core.histogram import Histogram
from planner.core.policy import Measure, Pool, Promise, Sla, What
from planner.core.tuning import Tuning
from planner.core.types import PoolReading, Role


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
    """Share of requests whose own mean ITL was above ``target_s``; ``None`` where nothing tells.

    Without a histogram of them, of token gaps on workers whose mean step was; without per-worker means the pool's
    mean speaks for all.
    """
    own = late_share(reading.request_itl, target_s)
    if own is not None:
        return own
    if reading.worker_steps:
        total = sum(gaps for _, gaps in reading.worker_steps)
        return sum(gaps for mean, gaps in reading.worker_steps if mean > target_s) / total
    mean = reading.step_seconds.mean if reading.step_seconds is not None else None
    return None if mean is None else float(mean > target_s)


def let_down(promise: Promise, sla: Sla, ttft: Histogram, decoding: Sequence[PoolReading]) -> float:
    """What a window took from a promise, of every request: the share that missed, or the mean over its target.

    The worst decoding pool speaks for all; shares of the two latencies add up.
    """
    found = sum(_TAKEN[what](promise.measure, sla.target_s(what), ttft, decoding) for what in promise.latencies)
    return found if promise.measure.share is None else min(1.0, found)


def measured(promise: Promise, decoding: Sequence[PoolReading]) -> bool:
    """Whether the window showed all latencies of a promise: no token gaps are measured, no metric of them is not."""
    if What.ITL not in promise.latencies:
        return True
    told = (r.worker_steps or r.step_seconds is not None or r.request_itl is not None for r in decoding)
    return bool(decoding) and all(told)


def visible(promise: Promise, pools: Sequence[Pool], told: Container[str]) -> bool:
    """Whether all misses show: which answers met prompts in the same worker, only requests' own ITL tells.

    ``told`` names the pools whose engines tell it.
    """
    blind = (pool.role is Role.AGGREGATED and pool.name not in told for pool in pools)
    return What.ITL not in promise.latencies or not any(blind)


def _taken_ttft(measure: Measure, target_s: float, ttft: Histogram, _: Sequence[PoolReading]) -> float:
    return (late_share(ttft, target_s) if measure.share is not None else (ttft.mean or 0.0) / target_s) or 0.0


def _taken_itl(measure: Measure, target_s: float, _: Histogram, decoding: Sequence[PoolReading]) -> float:
    if measure.share is not None:
        return max((slow_share(reading, target_s) or 0.0 for reading in decoding), default=0.0)
    return max((mean_itl_s(reading) or 0.0 for reading in decoding), default=0.0) / target_s


_TAKEN = {What.TTFT: _taken_ttft, What.ITL: _taken_itl}


def mean_itl_s(reading: PoolReading) -> float | None:
    """Mean ITL of a pool in seconds: over requests where engines tell, else over token gaps; ``None`` without any.

    To an engine an answer of one token has an ITL of 0 s.
    """
    if reading.request_itl is not None and reading.request_itl.mean is not None:
        return reading.request_itl.mean
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
