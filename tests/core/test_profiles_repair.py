"""Points that contradict each other are repaired as little as possible, and every repair is told."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls

from planner.adapters.profile_files import load
from planner.core.profile_shape import midway, nonnegative_fit, order
from tests.core.profile_worlds import decode_point, prefill_point, prefill_s, profile, step_s

values = st.lists(st.floats(-5.0, 5.0), min_size=1, max_size=12)
LENGTHS = (128.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0)


def with_noise(*noise: float):
    return profile([prefill_point(isl, factor) for isl, factor in zip(LENGTHS, noise, strict=True)])


def test_the_real_profile_needs_three_repairs_of_two_percent():
    """At the engine's batch limit of about 900 sequences they were measured out of order; nothing else was."""
    repairs = load("h200-llama31-8b-fp8-tp1").repairs

    assert [r.what for r in repairs] == [f"ITL of {n} sequences at context 350" for n in (768, 788, 808)]
    assert max(abs(r.after / r.before - 1.0) for r in repairs) < 0.021


def test_two_points_in_the_wrong_order_meet_in_the_middle():
    """1,024 tokens take 35.9 ms, 2,048 take 52.8: measured 30 % up and 20 % down they are 46.6 and 42.3."""
    known = with_noise(1, 1, 1.3, 0.8, 1, 1)
    first, second = known.repairs

    assert (first.before, second.before) == pytest.approx((1.3 * prefill_s(1024), 0.8 * prefill_s(2048)))
    middle = math.sqrt(first.before * second.before)
    assert first.after < middle < second.after  # not quite level: a tenth of the physical rise stays
    assert second.after / first.after == pytest.approx((prefill_s(2048) / prefill_s(1024)) ** 0.1, rel=0.02)


def test_the_first_request_of_a_cold_engine_is_set_aside():
    """128 tokens in 0.9 s would drag every other point up; the others are read as measured."""
    known = with_noise(40, 1, 1, 1, 1, 1)
    (told,) = known.repairs

    assert told.what == "prefill time at ISL 128"
    assert (told.before, told.after) == pytest.approx((40 * prefill_s(128), prefill_s(128)), rel=1e-3)
    assert known.prefill.isl_range == (512.0, 8192.0)


def test_a_stalled_batch_is_set_aside():
    points = [decode_point(n, c, 6.0 if (n, c) == (8.0, 500.0) else 1.0)
              for c in (500.0, 4000.0, 9000.0) for n in (1.0, 8.0, 32.0, 40.0)]  # fmt: skip
    (told,) = profile(decode=points).repairs

    assert told.what == "ITL of 8 sequences at context 500"
    assert told.after == pytest.approx(step_s(8.0, 500.0), rel=1e-3)


def test_points_of_different_contexts_are_compared_too():
    """8 sequences of 500 tokens must not take longer than 8 of 4,000."""
    points = [decode_point(n, c, 1.25 if (n, c) == (8.0, 500.0) else 1.0)
              for c in (500.0, 4000.0) for n in (1.0, 8.0, 32.0, 90.0)]  # fmt: skip
    known = profile(decode=points)

    assert known.decode.itl_s(8.0, 500.0) < known.decode.itl_s(8.0, 4000.0) < known.decode.itl_s(32.0, 4000.0)
    assert {r.what for r in known.repairs} == {
        "ITL of 8 sequences at context 500",
        "ITL of 8 sequences at context 4000",
    }


@given(values, st.data())
def test_repair_is_monotone_and_moves_nobody_more_than_half_of_the_worst_contradiction(measured, data):
    y = np.array(measured)
    below = order(*(np.array(data.draw(st.permutations(range(len(y)))), float) for _ in range(2)))
    repaired = midway(y, below)
    worst = max((y[i] - y[j] for i, j in zip(*np.nonzero(below), strict=True)), default=0.0)

    assert all(repaired[i] <= repaired[j] + 1e-12 for i, j in zip(*np.nonzero(below), strict=True))
    assert np.abs(repaired - y).max() <= worst / 2 + 1e-12


@given(st.integers(0, 2**32 - 1), st.integers(3, 20))
def test_the_fit_is_the_non_negative_least_squares_of_scipy(seed, size):
    """Another method, the same optimum."""
    draw = np.random.default_rng(seed)
    columns, target = draw.normal(size=(size, 3)) + 0.5, draw.uniform(0.5, 2.0, size)
    found = np.array(nonnegative_fit(columns, target))
    rows = columns / target[:, None]
    _, best = nnls(rows, np.ones(size))

    assert (found >= 0).all()
    assert np.linalg.norm(rows @ found - 1.0) == pytest.approx(best, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("prefill", "decode", "sentence"),
    [
        ([prefill_point(128.0)], None, "prefill has 1 prompt lengths; at least 2 are needed"),
        (None, [decode_point(1.0, 500.0)], "decode has 1 points; at least 4 are needed"),
        (None, [decode_point(n, 500.0) for n in (1.0, 2.0, 3.0, 4.0)], "only 1 of context lengths; at least 2"),
        (None, [decode_point(2.0, c) for c in (1e2, 2e2, 3e2, 4e2)], "only 1 of batch sizes; at least 2"),
    ],
)
def test_too_few_points_are_told_with_how_many_are_needed(prefill, decode, sentence):
    with pytest.raises(ValueError, match=sentence):
        profile(prefill, decode)
