"""From cumulative counters to one window: the only way a measurement enters.

A scrape is what Prometheus holds at one moment: counters since some start,
gauges now. Two scrapes make a window. The simulated cluster and the live
source both come through here, so a policy sees the same thing in both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from planner.core.histogram import Histogram
from planner.core.types import Observation, PoolReading, Window


@dataclass(frozen=True, slots=True)
class Cumulative:
    """A Prometheus histogram as exposed: cumulative in ``le`` and in time."""

    edges: tuple[float, ...]  # upper bounds, ascending, last is inf
    buckets: tuple[float, ...]  # count of values <= edge, since the process started
    total: float  # sum of values since the process started


@dataclass(frozen=True, slots=True)
class FrontDoor:
    """One frontend instance's counters. ``None``: the series is absent."""

    started: float | None = None
    finished: float | None = None
    cached_tokens: float | None = None
    generated_tokens: float | None = None
    input_tokens: Cumulative | None = None
    output_tokens: Cumulative | None = None
    ttft: Cumulative | None = None
    itl: Cumulative | None = None
    duration: Cumulative | None = None


ByWorker = Mapping[str, Mapping[str, Cumulative]]
"""One histogram of each worker, by pool and worker."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """What was exposed at ``at``: counters by frontend instance, gauges by pool."""

    at: float
    front: Mapping[str, FrontDoor]  # by instance
    pools: Mapping[str, PoolReading]  # gauges; latencies are filled in by ``observe``
    steps: ByWorker = field(default_factory=dict)  # seconds, one value per token gap
    problems: tuple[str, ...] = ()
    counted_at: float | None = None  # the moment the counters are of, where scrapes are older than the look
    request_itl: ByWorker = field(default_factory=dict)  # seconds, one value per request that finished: its mean gap


def observe(before: Scrape | None, after: Scrape) -> Observation:
    """What happened between two scrapes, and how the pools look now.

    An instance that was not there before counts from zero (it was born in the
    window); one that has gone takes its last moments with it; a counter that
    went down was restarted, and what it shows is all since then. A signal that
    no instance exposes stays ``None``.
    """
    steps = _increases(before.steps if before else {}, after.steps)
    own = _increases(before.request_itl if before else {}, after.request_itl)
    pools = {
        name: replace(
            reading,
            step_seconds=_merged(steps.get(name, {}).values()),
            request_itl=_merged(own.get(name, {}).values()),
            worker_steps=_means(steps.get(name)),
        )
        for name, reading in after.pools.items()
    }
    window = None
    if before is not None and after.front and _counted_at(after) > _counted_at(before):
        window = _window(before, after)
    return Observation(after.at, pools, window, after.problems)


def _window(before: Scrape, after: Scrape) -> Window:
    pairs = [(before.front.get(name) or FrontDoor(), door) for name, door in after.front.items()]
    return Window(
        seconds=_counted_at(after) - _counted_at(before),
        started=_sum(_grown(old.started, new.started) for old, new in pairs),
        finished=_sum(_grown(old.finished, new.finished) for old, new in pairs),
        cached_tokens=_sum(_grown(old.cached_tokens, new.cached_tokens) for old, new in pairs),
        generated_tokens=_sum(_grown(old.generated_tokens, new.generated_tokens) for old, new in pairs),
        input_tokens=_merged(_increase(old.input_tokens, new.input_tokens) for old, new in pairs),
        output_tokens=_merged(_increase(old.output_tokens, new.output_tokens) for old, new in pairs),
        ttft=_merged(_increase(old.ttft, new.ttft) for old, new in pairs),
        itl=_merged(_increase(old.itl, new.itl) for old, new in pairs),
        duration=_merged(_increase(old.duration, new.duration) for old, new in pairs),
    )


def _counted_at(scrape: Scrape) -> float:
    return scrape.at if scrape.counted_at is None else scrape.counted_at


def _grown(old: float | None, new: float | None) -> float | None:
    """Increase of a counter that may have been restarted from zero."""
    if new is None or math.isnan(new):
        return None
    if old is None or math.isnan(old) or new < old:
        return new
    return new - old


def _increase(old: Cumulative | None, new: Cumulative | None) -> Histogram | None:
    """Increase of a histogram over the window, as counts per bucket."""
    if new is None or math.isnan(new.total):
        return None
    restarted = old is None or old.edges != new.edges or new.buckets[-1] < old.buckets[-1]
    if old is None or restarted:
        base, total = (0.0,) * len(new.buckets), new.total
    else:
        base, total = old.buckets, new.total - old.total
    grown = [b - a for a, b in zip(base, new.buckets, strict=True)]
    counts = tuple(max(0.0, b - a) for a, b in zip([0.0, *grown], grown, strict=False))
    return Histogram(new.edges, counts, total)


def _increases(before: ByWorker, after: ByWorker) -> dict[str, dict[str, Histogram]]:
    found = {}
    for pool, own in after.items():
        old = before.get(pool, {})
        grown = ((worker, _increase(old.get(worker), now)) for worker, now in own.items())
        found[pool] = {worker: histogram for worker, histogram in grown if histogram is not None}
    return found


def _means(steps: Mapping[str, Histogram] | None) -> tuple[tuple[float, float], ...]:
    counted = [(h.total, h.count) for h in (steps or {}).values()]
    return tuple((total / count, count) for total, count in counted if count > 0)


def _merged(parts: Iterable[Histogram | None]) -> Histogram | None:
    whole: Histogram | None = None
    for part in parts:
        if part is not None:
            whole = part if whole is None else _on_shared_edges(whole, part)
    return whole


def _on_shared_edges(a: Histogram, b: Histogram) -> Histogram:
    """Both together; instances of different versions cut differently, and the edges they share are exact."""
    if a.edges == b.edges:
        return a.plus(b)
    shared = tuple(edge for edge in a.edges if edge in set(b.edges))
    return _coarser(a, shared).plus(_coarser(b, shared))


def _coarser(histogram: Histogram, edges: tuple[float, ...]) -> Histogram:
    counts = dict.fromkeys(edges, 0.0)
    for edge, count in zip(histogram.edges, histogram.counts, strict=True):
        counts[next(e for e in edges if e >= edge)] += count
    return Histogram(edges, tuple(counts.values()), histogram.total)


def _sum(parts: Iterable[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if known else None
