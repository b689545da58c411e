"""A stretch of a trace fits a small machine and keeps its shape."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner.local.segment import BUSIEST_S, Segment, busiest_tokens_per_s, traffic
from planner.simulation.traffic.load import TrafficSpec, load

DAY = Segment("azure2024_conv_1min_recon", minutes=6.0, speed=210.0, from_s=2 * 86_400.0 + 3 * 3_600.0)


def test_the_busiest_stretch_sets_the_rate() -> None:
    """More would measure the client's machine. Poisson noise of some hundred requests: a tenth."""
    made = traffic(DAY)

    assert made.duration_s == 360.0
    assert made.arrivals_s[-1] < 360.0
    assert busiest_tokens_per_s(made) == pytest.approx(DAY.tokens_per_s, rel=0.15)


def test_twice_the_tokens_are_twice_the_requests() -> None:
    more = traffic(replace(DAY, tokens_per_s=2 * DAY.tokens_per_s))

    assert more.requests == pytest.approx(2 * traffic(DAY).requests, rel=0.1)


def test_the_shape_over_the_day_stays() -> None:
    """Sixths of the run have the shares that sixths of the 21 hours have."""
    made = traffic(DAY)
    whole = load(TrafficSpec(DAY.trace, from_s=DAY.from_s, to_s=DAY.from_s + 21 * 3600.0, scale=0.01))
    shares = [np.histogram(t.arrivals_s / t.duration_s, 6, (0, 1))[0] / t.requests for t in (made, whole)]

    assert shares[0] == pytest.approx(shares[1], rel=0.1)


def test_lengths_shrink_together() -> None:
    """Prompt and answer of a request stay a pair: long prompts with their own answers."""
    one = replace(DAY, trace="azure2023_conv", speed=1.0, from_s=0.0, length_scale=1.0, tokens_per_s=800.0)
    full, quarter = traffic(one), traffic(replace(one, length_scale=0.25, tokens_per_s=200.0))
    pairs = set(zip(full.input_tokens.tolist(), full.output_tokens.tolist(), strict=True))
    scaled = {(round(isl * 0.25), round(osl * 0.25)) for isl, osl in pairs if osl < 400}
    again = set(zip(quarter.input_tokens.tolist(), quarter.output_tokens.tolist(), strict=True))
    inner = {(isl, osl) for isl, osl in again if isl > 2 and 2 < osl < 100}

    assert len(inner & scaled) > 0.9 * len(inner)


def test_the_busiest_stretch_of_a_step() -> None:
    """40 tokens/s for half a minute, then 100: the second half is the busiest."""
    arrivals = np.concatenate([np.arange(0, 30, 0.5), np.arange(30, 60, 0.2)])
    made = replace(traffic(DAY), arrivals_s=arrivals, duration_s=60.0,
                   output_tokens=np.full(len(arrivals), 20, np.int32))  # fmt: skip

    assert BUSIEST_S == 30.0
    assert busiest_tokens_per_s(made) == pytest.approx(100.0)
