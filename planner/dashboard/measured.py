"""What one window says of load, latency and promises, in a form that adds up over windows.

Shares are the planner's own (``planner.core.attainment``): a target between two bucket edges is a bracket with an
estimate inside it, and where engines do not tell the mean ITL of requests the mean step of their worker stands for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from operator import itemgetter

from planner.core.attainment import late_share, slow_share
from planner.core.histogram import Histogram, joined
from planner.core.policy import Sla
from planner.core.types import PoolReading, Window

FINENESS = 1.02
"""Steps of workers are kept in classes 2 % wide, so that a p95 over hours needs no more memory than one of a minute."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A quantile as far as buckets show it: between ``low`` and ``high``; ``None`` above is an open last bucket."""

    low: float
    value: float | None
    high: float | None


@dataclass(slots=True)
class Promises:
    """Requests that got their first token, and how many of them missed: at least, estimated, at most."""

    requests: float = 0.0
    late: tuple[float, float, float] = (0.0, 0.0, 0.0)
    slow: float = 0.0
    missed: tuple[float, float, float] = (0.0, 0.0, 0.0)
    itl_unknown: float = 0.0  # requests in windows that tell no ITL; counted as kept, as the planner does

    def absorb(self, later: Promises) -> None:
        """Both stretches together."""
        self.requests += later.requests
        self.late = _added(self.late, later.late)
        self.slow += later.slow
        self.missed = _added(self.missed, later.missed)
        self.itl_unknown += later.itl_unknown


@dataclass(slots=True)
class Measured:
    """One stretch of time. Sums, so that stretches add up; ``None`` where nothing was measured."""

    seconds: float = 0.0  # in which arrivals were counted
    started: float | None = None
    ttft: Histogram | None = None
    itl: tuple[float, float] = (0.0, 0.0)  # (seconds, gaps): their mean is the mean gap between tokens
    steps: dict[int, float] = field(default_factory=dict)  # token gaps by class of their worker's mean step
    promises: Promises = field(default_factory=Promises)
    blind: int = 0  # looks at which nothing could be read

    def absorb(self, later: Measured) -> None:
        """Both stretches together."""
        self.seconds += later.seconds
        if later.started is not None:
            self.started = (self.started or 0.0) + later.started
        self.ttft = joined(self.ttft, later.ttft)
        self.itl = (self.itl[0] + later.itl[0], self.itl[1] + later.itl[1])
        for key, gaps in later.steps.items():
            self.steps[key] = self.steps.get(key, 0.0) + gaps
        self.promises.absorb(later.promises)
        self.blind += later.blind

    @property
    def rate(self) -> float | None:
        """Requests per second that arrived."""
        return self.started / self.seconds if self.started is not None and self.seconds > 0 else None

    @property
    def itl_mean(self) -> float | None:
        """Mean gap between tokens, in seconds."""
        return self.itl[0] / self.itl[1] if self.itl[1] > 0 else None

    @property
    def itl_p95(self) -> float | None:
        """95 % of all tokens came from workers whose mean step was no longer than this, in seconds."""
        total, keys = sum(self.steps.values()), sorted(self.steps)
        for key, below in zip(keys, accumulate(self.steps[key] for key in keys), strict=True):
            if below >= 0.95 * total > 0:
                return float(FINENESS**key)
        return None


def measure(window: Window, decoding: Iterable[PoolReading], sla: Sla | None) -> Measured:
    """What a window says; without ``sla`` nothing is said of promises."""
    readings = tuple(decoding)
    found = Measured(started=window.started, ttft=window.ttft)
    if window.started is not None:
        found.seconds = window.seconds
    if window.itl is not None:
        found.itl = (window.itl.total, window.itl.count)
    for mean, gaps in (step for reading in readings for step in _steps(reading)):
        if mean > 0 and gaps > 0:
            key = round(math.log(mean) / math.log(FINENESS))
            found.steps[key] = found.steps.get(key, 0.0) + gaps
            if window.itl is None:
                found.itl = (found.itl[0] + mean * gaps, found.itl[1] + gaps)
    if sla is not None and window.ttft is not None:
        found.promises = _promises(window.ttft, readings, sla)
    return found


def p95(histogram: Histogram | None) -> Estimate | None:
    """The 95th percentile of a histogram; ``None`` without observations.

    Inside its bucket the tail falls geometrically, as ``late_share`` takes it: the p95 is at the target just where
    the estimated late share is 5 %.
    """
    if histogram is None or histogram.count <= 0:
        return None
    n, left = histogram.count, 0.05
    tail = [1.0 - below / n for below in accumulate(histogram.counts)]
    i = next((i for i, share in enumerate(tail) if share <= left + 1e-12), len(tail) - 1)
    low, high = (histogram.edges[i - 1] if i > 0 else 0.0), histogram.edges[i]
    if math.isinf(high):
        return Estimate(low, None, None)
    inner, outer = (tail[i - 1] if i > 0 else 1.0), max(tail[i], 0.5 / max(n, 1.0))
    if outer >= left or inner <= left:
        return Estimate(low, high, high)
    place = math.log(inner / left) / math.log(inner / outer)
    return Estimate(low, low + place * (high - low), high)


def share(part: float, whole: float) -> float | None:
    """``part`` of ``whole``; ``None`` of nothing."""
    return part / whole if whole > 0 else None


def decoding(readings: Mapping[str, PoolReading], prefill: Iterable[str]) -> list[PoolReading]:
    """Readings of the pools whose workers produce tokens: all but those called ``prefill``."""
    return [reading for name, reading in readings.items() if name not in prefill]


def _steps(reading: PoolReading) -> tuple[tuple[float, float], ...]:
    """(mean step, gaps) of every worker; without them the pool's mean speaks for all, as in ``slow_share``."""
    if reading.worker_steps:
        return reading.worker_steps
    whole = reading.step_seconds
    return ((whole.mean, whole.count),) if whole is not None and whole.mean is not None else ()


def _promises(ttft: Histogram, readings: tuple[PoolReading, ...], sla: Sla) -> Promises:
    """As the planner's error budget counts: shares of pools add up, the worst decoding pool speaks for all."""
    n, bracket, late = ttft.count, ttft.share_at_most(sla.ttft_s), late_share(ttft, sla.ttft_s)
    if bracket is None or late is None:
        return Promises()
    shares = [found for reading in readings if (found := _slow(reading, sla.itl_s)) is not None]
    fewest, slow, often = max(shares, key=itemgetter(1), default=(0.0, 0.0, 0.0))
    least, most = 1.0 - bracket[1], 1.0 - bracket[0]
    missed = (max(least, fewest), min(1.0, late + slow), min(1.0, most + often))
    return Promises(
        requests=n,
        late=(least * n, late * n, most * n),
        slow=slow * n,
        missed=(missed[0] * n, missed[1] * n, missed[2] * n),
        itl_unknown=0.0 if shares else n,
    )


def _slow(reading: PoolReading, target_s: float) -> tuple[float, float, float] | None:
    """Share of requests slower than the target: at least, estimated, at most; steps of workers are one number."""
    own, slow = reading.request_itl, slow_share(reading, target_s)
    bracket = own.share_at_most(target_s) if own is not None else None
    if slow is None or bracket is None:
        return None if slow is None else (slow, slow, slow)
    return 1.0 - bracket[1], slow, 1.0 - bracket[0]


def _added(a: tuple[float, float, float], b: tuple[float, float, float]) -> tuple[float, float, float]:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]
