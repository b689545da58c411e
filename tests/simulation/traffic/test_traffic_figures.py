"""Figures of a stretch of traffic, checked on traffic whose figures are known."""

from __future__ import annotations

import numpy as np
import pytest

from planner.simulation.traffic.describe import describe
from planner.simulation.traffic.load import TrafficSpec, load
from planner.simulation.traffic.types import Traffic


def every(step_s: float, duration_s: float, **more: object) -> Traffic:
    at = np.arange(0.0, duration_s, step_s)
    lengths = np.full(len(at), 7, np.int32)
    return Traffic("clockwork", at, lengths, lengths * 2, duration_s, **more)  # type: ignore[arg-type]


def test_clockwork_has_no_variance() -> None:
    figures = describe(every(0.5, 120.0))

    assert (figures.requests, figures.mean_rate, figures.peak_minute_rate) == (240, 2.0, 2.0)
    assert (figures.input_tokens_mean, figures.output_tokens_p99) == (7.0, 14.0)
    assert figures.interarrival_cv == pytest.approx(0.0, abs=1e-9)
    assert figures.dispersion_index == pytest.approx(0.0)
    assert figures.repeated_block_share is None


def test_what_is_too_short_to_tell_is_none() -> None:
    figures = describe(every(1.0, 1.0))

    assert (figures.peak_minute_rate, figures.interarrival_cv, figures.dispersion_index) == (None, None, None)


def test_an_unfinished_minute_is_not_the_quietest_nor_the_busiest() -> None:
    traffic = every(1.0, 60.0)
    burst = Traffic(
        "burst",
        np.concatenate((traffic.arrivals_s, np.full(500, 61.0))),
        np.ones(560, np.int32),
        np.ones(560, np.int32),
        62.0,
    )

    assert describe(burst).peak_minute_rate == 1.0


def test_poisson_has_index_one_whatever_the_rate_does() -> None:
    """Inside minutes: the rise of the rate is not burstiness."""
    figures = describe(load(TrafficSpec("ramp:low=1/s,high=60/s,duration=6h,isl=9,osl=9")))

    assert figures.dispersion_index == pytest.approx(1.0, abs=0.05)
    assert figures.peak_minute_rate == pytest.approx(60, rel=0.08)


def test_dispersed_traffic_has_the_index_of_its_law() -> None:
    figures = describe(load(TrafficSpec("poisson:rate=40/s,duration=6h,isl=9,osl=9", dispersion=8)))

    assert figures.dispersion_index == pytest.approx(1 + 40 / 8, rel=0.05)


def test_repeated_blocks_are_those_seen_before() -> None:
    blocks = {"block_ids": np.array([0, 1, 0, 2, 0], np.int32), "block_starts": np.array([0, 2, 4, 5])}

    assert describe(every(1.0, 3.0, **blocks)).repeated_block_share == pytest.approx(2 / 5)
