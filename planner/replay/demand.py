"""From the measured past to requests for the plant: rates per bin, burstiness, lengths out of histograms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.core.histogram import Histogram
from planner.core.memory import Memory, dispersion, remember
from planner.core.tuning import Tuning
from planner.core.types import Observation
from planner.replay.past import Bin, Past, Stretch, merged_histogram
from planner.simulation.traffic.arrivals import refuse_floods, stream
from planner.simulation.traffic.types import Traffic

HOUR_S = 3600.0
LEAST_EXCESS_S = 1e-4
"""A dispersion of less than 1.01 at 100 requests/s is Poisson's."""
GRID = (np.arange(256) + 0.5) / 256.0
"""Places within a bucket, equally likely, at which its mean is taken."""


@dataclass(frozen=True, slots=True)
class BucketLengths:
    """Lengths of one signal drawn out of a histogram's buckets, with its mean.

    Within a bucket a length is low · (high / low)^(u^g), u uniform: with g = 1 its logarithm is uniform. One g for
    all buckets is chosen so that the mean of all is the histogram's own (its sum over its count), so every value
    stays in its bucket.
    """

    lows: NDArray[np.float64]
    highs: NDArray[np.float64]
    shares: NDArray[np.float64]
    power: float

    def draw(self, count: int, random: np.random.Generator) -> NDArray[np.int32]:
        """That many lengths, in tokens, from 1."""
        bucket = random.choice(len(self.shares), size=count, p=self.shares)
        low, high = self.lows[bucket], self.highs[bucket]
        values = low * (high / low) ** (random.random(count) ** self.power)
        return np.maximum(1, np.rint(values)).astype(np.int32)

    @property
    def mean(self) -> float:
        """Mean of what is drawn."""
        return _mean(self.lows, self.highs, self.shares, self.power)


def bucket_lengths(histogram: Histogram) -> BucketLengths:
    """How to draw from a histogram of lengths (tokens).

    A bucket without an upper edge reaches to twice its lower one, or to eight times the mean where it is the only one.

    Raises:
        ValueError: nothing was observed.
    """
    mean = histogram.mean
    if mean is None:
        raise ValueError("a histogram without observations has no lengths")
    edges = np.array(histogram.edges)
    counts = np.array(histogram.counts)
    used = counts > 0
    lows = np.concatenate(([0.0], edges[:-1]))
    open_high = np.maximum(2.0 * lows, 8.0 * mean if lows[-1] == 0.0 else 0.0)
    highs = np.where(np.isfinite(edges), edges, open_high)
    floors = np.floor(lows) + 1.0  # the lower edge itself is the bucket below
    lows, highs, shares = floors[used], highs[used], counts[used] / counts.sum()
    highs = np.maximum(highs, lows)
    return BucketLengths(lows, highs, shares, _power(lows, highs, shares, mean))


def _power(lows: NDArray[np.float64], highs: NDArray[np.float64], shares: NDArray[np.float64], mean: float) -> float:
    """The g at which the mean is ``mean`` (bisection: the mean falls with g), or as near as buckets allow."""
    low, high = 1e-3, 1e3
    for _ in range(60):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if _mean(lows, highs, shares, middle) > mean else (low, middle)
    return high


def _mean(lows: NDArray[np.float64], highs: NDArray[np.float64], shares: NDArray[np.float64], power: float) -> float:
    inside = (lows * (highs / lows) ** (GRID[:, None] ** power)).mean(axis=0)
    return float((inside * shares).sum())


@dataclass(frozen=True, slots=True)
class HourLengths:
    """Lengths of the requests of one hour, prompts and answers drawn apart."""

    prompts: BucketLengths
    answers: BucketLengths
    uncached: float = 1.0  # share of prompt tokens that the prefix cache did not take

    def draw(self, count: int, random: np.random.Generator) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Prompt and answer lengths of that many requests, in tokens."""
        prompts = np.maximum(1, np.rint(self.prompts.draw(count, random) * self.uncached))
        return prompts.astype(np.int32), self.answers.draw(count, random)


@dataclass(frozen=True, slots=True)
class Demand:
    """The requests of a past period, ready to be drawn.

    Every bin gets as many requests as were counted in it. Within a bin they fall on its seconds by Gamma weights,
    and uniformly within a second.
    """

    past: Past
    lengths: Sequence[HourLengths]  # one for each hour of the period
    shape: float | None  # of the Gamma factor on every second's rate, smaller is burstier; None: Poisson
    notes: tuple[str, ...]

    @property
    def rate(self) -> float:
        """Mean requests per second, where they were counted."""
        return sum(one.requests for one in self.past.bins) / self.past.known_s

    @property
    def dispersion(self) -> float:
        """Variance over mean of arrivals at the mean rate: 1 + rate / shape (see ``traffic.arrivals``)."""
        return 1.0 if self.shape is None else 1.0 + self.rate / self.shape

    def traffic(self, stretch: Stretch, seed: int) -> Traffic:
        """The requests of one stretch; the same seed draws the same."""
        refuse_floods(sum(one.requests for one in stretch.bins))
        hours = [self._hour(hour, list(bins), seed) for hour, bins in groupby(stretch.bins, self._hour_of)]
        at, inputs, outputs = (np.concatenate(parts) for parts in zip(*hours, strict=True))
        return Traffic(
            name="prometheus",
            arrivals_s=at - stretch.start,
            input_tokens=inputs,
            output_tokens=outputs,
            duration_s=stretch.seconds,
            epoch_s=stretch.start,
            notes=self.notes,
        )

    def _hour_of(self, one: Bin) -> int:
        return int((one.start - self.past.start + 1e-6) / HOUR_S)

    def _hour(self, hour: int, bins: Sequence[Bin], seed: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        random = stream(seed, "arrivals", hour)
        ends = np.rint(np.cumsum([one.requests for one in bins])).astype(np.int64)
        counts = np.diff(ends, prepend=0)
        at = np.concatenate([self._moments(one, int(n), random) for one, n in zip(bins, counts, strict=True)])
        return at, *self.lengths[hour].draw(len(at), stream(seed, "lengths", hour))

    def _moments(self, one: Bin, count: int, random: np.random.Generator) -> NDArray[np.float64]:
        """When the requests of a bin arrive, ascending, in seconds since the epoch."""
        seconds = max(1, round(one.end - one.start))
        weights = np.ones(seconds) if self.shape is None else random.standard_gamma(self.shape, seconds)
        counts = random.multinomial(count, weights / weights.sum())
        places = np.repeat(np.arange(seconds, dtype=np.float64), counts) + random.random(count)
        places.sort()
        return one.start + places * (one.end - one.start) / seconds


def demand_of(past: Past, shape: float | None) -> Demand:
    """The demand of a period; ``shape`` is its burstiness, as learnt from looks a scrape apart.

    Raises:
        ValueError: nothing arrived in it, or no length was measured.
    """
    if not sum(one.requests for one in past.bins) > 0:
        raise ValueError("no request arrived in this period: there is nothing to try")
    lengths, said = _lengths(past)
    return Demand(past, lengths, shape, said)


def shape_of(samples: Iterable[Iterable[Observation]]) -> float | None:
    """Shape of the Gamma factor that gives the dispersion of these samples; ``None``: no more than Poisson's.

    Each sample is a stretch of looks a scrape apart. The planner's own estimate (variance over mean I at rate λ)
    gives (I − 1) / λ = 1 / shape; the median of the samples counts, since one of them may hold a step of the rate.
    """
    tuning, found = Tuning(), []
    for sample in samples:
        memory = Memory()
        for seen in sample:
            memory = remember(memory, seen.window, 0.0, tuning)
        index, rate = dispersion(memory, tuning)
        if rate > 0:
            found.append((index - 1.0) / rate)
    excess = float(np.median(found)) if found else 0.0
    return 1.0 / excess if excess > LEAST_EXCESS_S else None


def _lengths(past: Past) -> tuple[list[HourLengths], tuple[str, ...]]:
    """Length histograms of each hour; an hour without any has those of the whole."""
    hours = max(1, int(np.ceil((past.end - past.start) / HOUR_S)))
    by_hour: list[list[Bin]] = [[] for _ in range(hours)]
    for one in past.bins:
        by_hour[min(hours - 1, int((one.start - past.start) / HOUR_S))].append(one)
    prompts = _hourly(by_hour, past.bins, "input_tokens", "prompts")
    answers = _hourly(by_hour, past.bins, "output_tokens", "answers")
    hits = _cached(past.bins)
    said = ["lengths are drawn out of histograms, prompts and answers apart: whether long prompts have long answers "
            "is not to be seen there"]  # fmt: skip
    if hits > 0.001:
        said.append(f"the prefix cache took {hits:.1%} of prompt tokens: prompts are shortened by that much")
    return [HourLengths(p, a, 1.0 - hits) for p, a in zip(prompts, answers, strict=True)], tuple(said)


def _hourly(by_hour: Sequence[Sequence[Bin]], bins: Sequence[Bin], signal: str, what: str) -> list[BucketLengths]:
    whole = merged_histogram(bins, signal)
    if whole is None:
        raise ValueError(f"the lengths of {what} were not measured ({signal}): planner check shows which metric it was")
    general = bucket_lengths(whole)
    hourly = (merged_histogram(some, signal) for some in by_hour)
    return [general if found is None else bucket_lengths(found) for found in hourly]


def _cached(bins: Sequence[Bin]) -> float:
    """Share of prompt tokens answered from the prefix cache, where that is measured."""
    known = [one.window for one in bins if one.window.cached_tokens is not None and one.window.input_tokens is not None]
    tokens = sum(w.input_tokens.total for w in known if w.input_tokens is not None)
    hits = sum(w.cached_tokens for w in known if w.cached_tokens is not None)
    return min(0.99, hits / tokens) if tokens > 0 else 0.0
