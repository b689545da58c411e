"""From a rate that changes in steps to the moments at which requests arrive.

Per second: a Gamma factor of mean 1 whose shape is the dispersion (smaller is burstier, absent is
Poisson), then a Poisson number of arrivals, then uniform moments inside the second:

    N(second) ~ Poisson(expected(second) · G),   G ~ Gamma(shape = k) / k

so the variance over the mean of the counts per second is 1 + expected / k.

Every hour of the trace's clock has its own random stream, a function of the seed and the hour: a
window of a trace holds exactly the requests that the whole trace has there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.simulation.traffic.errors import TrafficError
from planner.simulation.traffic.lengths import LengthModel

HOUR_S = 3600

MAX_REQUESTS = 200_000_000
"""Twenty bytes each: beyond this the answer is a smaller window, not a larger machine."""


@dataclass(frozen=True, slots=True)
class RateCurve:
    """Requests per second: ``rates[i]`` from ``edges_s[i]`` to ``edges_s[i + 1]``, nothing outside."""

    edges_s: NDArray[np.float64]  # ascending, one more than rates; the first is 0
    rates: NDArray[np.float64]

    @property
    def end_s(self) -> float:
        """Where the curve ends."""
        return float(self.edges_s[-1])

    def expected(self, grid_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Expected requests between neighbouring points of ``grid_s``."""
        reached = np.concatenate(([0.0], np.cumsum(self.rates * np.diff(self.edges_s))))
        return np.maximum(np.diff(np.interp(grid_s, self.edges_s, reached)), 0.0)

    def scaled(self, factor: float) -> RateCurve:
        """The same curve with every rate multiplied."""
        return RateCurve(self.edges_s, self.rates * factor)


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of the trace's clock, in seconds; the end is not part of it."""

    from_s: float
    to_s: float


@dataclass(frozen=True, slots=True)
class Requests:
    """Drawn requests in order of arrival; times on the trace's clock."""

    at_s: NDArray[np.float64]
    input_tokens: NDArray[np.int32]
    output_tokens: NDArray[np.int32]


def stream(seed: int, purpose: str, index: int) -> np.random.Generator:
    """The random numbers of one purpose and one stretch, a function of these and the seed alone."""
    return np.random.default_rng([seed, *purpose.encode(), index])


def draw(curve: RateCurve, lengths: LengthModel, window: Window, dispersion: float | None, seed: int) -> Requests:
    """All requests of ``curve`` inside ``window``.

    Raises:
        TrafficError: more than ``MAX_REQUESTS`` are to be expected.
    """
    refuse_floods(float(curve.expected(np.array([window.from_s, window.to_s]))[0]))
    return gathered(list(_hours(curve, lengths, window, dispersion, seed)))


def refuse_floods(expected: float) -> None:
    """Raise ``TrafficError`` when more requests are due than a run can hold."""
    if expected > MAX_REQUESTS:
        raise TrafficError(
            f"about {expected:,.0f} requests are due, more than the {MAX_REQUESTS:,} that one run can hold: "
            "choose a shorter window or a smaller scale"
        )


def _hours(
    curve: RateCurve, lengths: LengthModel, window: Window, dispersion: float | None, seed: int
) -> Iterator[Requests]:
    for hour in range(int(window.from_s // HOUR_S), math.ceil(window.to_s / HOUR_S)):
        at = arrivals_of_hour(curve, hour, dispersion, stream(seed, "arrivals", hour))
        inputs, outputs = lengths.draw(at, stream(seed, "lengths", hour))
        yield cut(Requests(at, inputs, outputs), window)


def arrivals_of_hour(
    curve: RateCurve, hour: int, dispersion: float | None, random: np.random.Generator
) -> NDArray[np.float64]:
    """Moments of arrival in one hour of the trace's clock, ascending (see the module for the law)."""
    grid = hour * float(HOUR_S) + np.arange(HOUR_S + 1, dtype=np.float64)
    expected = curve.expected(grid)
    if dispersion is not None:
        expected = expected * random.standard_gamma(dispersion, HOUR_S) / dispersion
    counts = random.poisson(expected)
    inside = np.clip(grid, 0.0, curve.end_s)  # a curve may end in the middle of a second
    at = np.repeat(inside[:-1], counts)
    at += np.repeat(np.diff(inside), counts) * random.random(len(at))
    at.sort()
    return at


def cut(requests: Requests, window: Window) -> Requests:
    """The requests inside a window, times still on the trace's clock."""
    first, last = np.searchsorted(requests.at_s, [window.from_s, window.to_s], side="left")
    return Requests(requests.at_s[first:last], requests.input_tokens[first:last], requests.output_tokens[first:last])


def gathered(parts: list[Requests]) -> Requests:
    """Consecutive stretches as one."""
    return Requests(
        np.concatenate([part.at_s for part in parts]),
        np.concatenate([part.input_tokens for part in parts]),
        np.concatenate([part.output_tokens for part in parts]),
    )
