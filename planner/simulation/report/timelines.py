"""A run over time, in a few hundred bins: what pictures are made of."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.simulation.report.figures import HOUR_S, steps_of
from planner.simulation.run import Run, WorkerSpan

BINS = 480
F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Staircase:
    """Replicas over time: each count holds from its time on."""

    times_s: F64
    counts: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PoolLines:
    """One pool over time."""

    wanted: Staircase
    asked: Staircase  # allowed: asked for and not ended
    ready: Staircase


@dataclass(frozen=True, slots=True)
class Timelines:
    """Values by bin (``times_s`` are the bins' middles); NaN where a bin has none."""

    times_s: F64
    bin_s: float
    rate: F64  # requests per second that arrived
    forecast_s: F64  # the times that forecasts spoke about
    forecast_low: F64
    forecast_mean: F64
    forecast_high: F64
    ttft_p50: F64
    ttft_p95: F64
    itl_p50: F64
    itl_p95: F64
    kept: F64  # share
    gpu_hours: F64  # so far
    pools: Mapping[str, PoolLines]


def timelines(run: Run) -> Timelines:
    """The run in at most ``BINS`` bins, none shorter than 10 s."""
    traffic = run.traffic
    bin_s = max(10.0, traffic.duration_s / BINS)
    count = max(1, int(np.ceil(traffic.duration_s / bin_s)))
    edges = np.searchsorted(traffic.arrivals_s, bin_s * np.arange(count + 1))
    with np.errstate(invalid="ignore"):
        both = (run.ttft_s <= run.promise.ttft_s) & (run.itl_s <= run.promise.itl_s)
    low, mean, high, at = _forecasts(run)
    ends = np.minimum(bin_s * np.arange(1, count + 1), traffic.duration_s)
    return Timelines(
        times_s=bin_s * (np.arange(count, dtype=np.float64) + 0.5),
        bin_s=bin_s,
        rate=np.diff(edges) / np.diff(np.append(bin_s * np.arange(count), traffic.duration_s)),
        forecast_s=at,
        forecast_low=low,
        forecast_mean=mean,
        forecast_high=high,
        ttft_p50=_quantile(run.ttft_s, edges, 0.5),
        ttft_p95=_quantile(run.ttft_s, edges, 0.95),
        itl_p50=_quantile(run.itl_s, edges, 0.5),
        itl_p95=_quantile(run.itl_s, edges, 0.95),
        kept=_means(both, edges),
        gpu_hours=_spent(run, ends),
        pools={pool: _pool(run, pool) for pool in run.gpus_per_replica},
    )


def _forecasts(run: Run) -> tuple[F64, F64, F64, F64]:
    said = [(s.decision.at - run.traffic.epoch_s + f.horizon_s, f) for s in run.steps if (f := s.decision.forecast)]
    inside = [(at, f) for at, f in said if at <= run.traffic.duration_s]
    thin = inside[:: max(1, len(inside) // BINS)]
    columns = (
        [f.rate_low for _, f in thin],
        [f.rate for _, f in thin],
        [f.rate_high for _, f in thin],
        [a for a, _ in thin],
    )
    low, mean, high, at = (np.array(column, float) for column in columns)
    return low, mean, high, at


def _quantile(values: NDArray[np.float32], edges: NDArray[np.int64], level: float) -> F64:
    found = np.full(len(edges) - 1, np.nan)
    for i, (a, b) in enumerate(itertools.pairwise(edges)):
        known = values[a:b][np.isfinite(values[a:b])]
        if len(known):
            found[i] = np.quantile(known, level)
    return found


def _means(kept: NDArray[np.bool_], edges: NDArray[np.int64]) -> F64:
    sums = np.concatenate([[0], np.cumsum(kept)])
    came = np.diff(edges)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(came > 0, (sums[edges[1:]] - sums[edges[:-1]]) / came, np.nan)


def _spent(run: Run, ends: F64) -> F64:
    spent = np.zeros(len(ends))
    for span in run.spans:
        last = ends if span.ended_s is None else np.minimum(ends, span.ended_s)
        spent += run.gpus_per_replica[span.pool] * np.maximum(0.0, last - max(0.0, span.asked_s)) / HOUR_S
    return spent


def _pool(run: Run, pool: str) -> PoolLines:
    def ready(span: WorkerSpan) -> tuple[float | None, float | None]:
        return span.ready_s, span.draining_s if span.draining_s is not None else span.ended_s

    return PoolLines(
        _wanted(run, pool),
        Staircase(*steps_of(run, pool, lambda span: (span.asked_s, span.ended_s))),
        Staircase(*steps_of(run, pool, ready)),
    )


def _wanted(run: Run, pool: str) -> Staircase:
    """What the law wanted before any rule, wherever it changed."""
    times: list[float] = []
    counts: list[int] = []
    for step in run.steps:
        wanted = step.decision.wanted.get(pool)
        if (
            wanted is not None
            and step.decision.reason.value not in ("held-between-decisions",)
            and (not counts or counts[-1] != wanted)
        ):
            times.append(step.decision.at - run.traffic.epoch_s)
            counts.append(wanted)
    return Staircase(np.array(times, float), np.array(counts, np.int64))
