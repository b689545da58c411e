"""A pool's gauges and the front door's histograms as the queries of other autoscalers read them.

``None``: the series is absent.
"""

from __future__ import annotations

from itertools import accumulate

from planner.core.histogram import Histogram
from planner.core.types import PoolReading


def waiting(reading: PoolReading) -> float | None:
    """Requests queued at workers that serve; where the source tells no more, at all of them."""
    return reading.waiting if reading.backlog is None else sum(reading.backlog)


def in_flight(reading: PoolReading) -> float | None:
    """Requests inside the workers, worked on or queued."""
    return None if reading.running is None or reading.waiting is None else reading.running + reading.waiting


def kv_sum(reading: PoolReading) -> float | None:
    """Occupied KV cache in caches of one worker."""
    return None if reading.kv_usage is None else reading.kv_usage * reading.ready


def quantile(histogram: Histogram, q: float) -> float | None:
    """Prometheus's ``histogram_quantile``: values lie evenly in their bucket, the first begins at 0.

    Beyond the last finite edge it answers that edge. ``None`` when nothing was observed.
    """
    below = list(accumulate(histogram.counts))
    if not below or below[-1] <= 0:
        return None
    rank = q * below[-1]
    i = next(k for k, count in enumerate(below) if count >= rank)
    low = histogram.edges[i - 1] if i > 0 else 0.0
    if histogram.edges[i] == float("inf"):
        return low
    into = (rank - below[i] + histogram.counts[i]) / histogram.counts[i] if histogram.counts[i] > 0 else 0.0
    return low + (histogram.edges[i] - low) * into
