"""The figures that tell one stretch of traffic from another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.simulation.traffic.types import Traffic


@dataclass(frozen=True, slots=True)
class TrafficFigures:
    """``None`` where the traffic is too short to tell."""

    requests: int
    duration_s: float
    mean_rate: float  # requests per second
    peak_minute_rate: float | None  # requests per second in the busiest whole minute
    input_tokens_mean: float
    input_tokens_p99: float
    output_tokens_mean: float
    output_tokens_p99: float
    interarrival_cv: float | None  # standard deviation over mean of the gaps; 1 for Poisson
    dispersion_index: float | None  # variance over mean of the requests per second inside minutes; 1 for Poisson
    repeated_block_share: float | None  # prefix blocks seen before, of all blocks asked for


def describe(traffic: Traffic) -> TrafficFigures:
    """Figures of a stretch of traffic; rates are per second, lengths in tokens."""
    minutes = _counts(traffic, 60.0)
    gaps = np.diff(traffic.arrivals_s)
    return TrafficFigures(
        requests=traffic.requests,
        duration_s=traffic.duration_s,
        mean_rate=traffic.requests / traffic.duration_s,
        peak_minute_rate=float(minutes.max()) / 60.0 if minutes.size else None,
        input_tokens_mean=float(traffic.input_tokens.mean()),
        input_tokens_p99=float(np.percentile(traffic.input_tokens, 99)),
        output_tokens_mean=float(traffic.output_tokens.mean()),
        output_tokens_p99=float(np.percentile(traffic.output_tokens, 99)),
        interarrival_cv=float(gaps.std() / gaps.mean()) if gaps.size > 1 and gaps.mean() > 0 else None,
        dispersion_index=_dispersion(_counts(traffic, 1.0)),
        repeated_block_share=_repeated(traffic),
    )


def _counts(traffic: Traffic, bin_s: float) -> NDArray[np.int64]:
    """Requests in each whole bin; an unfinished last bin would look quiet."""
    whole = int(traffic.duration_s / bin_s + 1e-9)
    bins = (traffic.arrivals_s / bin_s).astype(np.int64)
    return np.bincount(bins[bins < whole], minlength=whole)[:whole]


def _dispersion(seconds: NDArray[np.int64]) -> float | None:
    """Mean variance within whole minutes over the mean count: what the minute's level does not explain."""
    minutes = seconds[: len(seconds) // 60 * 60].reshape(-1, 60)
    return float(minutes.var(axis=1, ddof=1).mean() / minutes.mean()) if minutes.any() else None


def _repeated(traffic: Traffic) -> float | None:
    if traffic.block_ids is None or not len(traffic.block_ids):
        return None
    return 1.0 - len(np.unique(traffic.block_ids)) / len(traffic.block_ids)
