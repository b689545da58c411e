"""How a pool's correction is learnt: by the scatter of the evidence, anew when the engine changes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.core import tuning
from planner.core.correction import Correction


def told(ratios: list[float], start: Correction | None = None) -> list[Correction]:
    """The correction after each interval's ratio."""
    corrections = [start or Correction()]
    for ratio in ratios:
        corrections.append(corrections[-1].told(ratio, gain=1.0))
    return corrections[1:]


def noisy(truth: float, spread: float, intervals: int, seed: int = 1) -> list[float]:
    """Ratios around ``truth``."""
    draw = random.Random(seed)
    return [truth * draw.gauss(1.0, spread) for _ in range(intervals)]


def test_the_first_interval_counts_by_what_is_known_of_profiles_and_of_evidence() -> None:
    """By hand: doubt 0.2² + 0.01² against noise 0.2² gives a weight of 0.0401 / 0.0801."""
    after = Correction().told(1.3, gain=1.0)
    assert after.slowness == pytest.approx(1.0 + 0.3 * 0.0401 / 0.0801)
    assert after.doubt == pytest.approx(0.0401 * 0.04 / 0.0801)


def test_steady_evidence_is_believed_quickly_and_scattered_evidence_is_averaged() -> None:
    steady = told(noisy(1.3, 0.01, 120))
    assert all(c.slowness == pytest.approx(1.3, abs=0.08) for c in steady[4:])
    assert all(c.slowness == pytest.approx(1.3, abs=0.03) for c in steady[20:])
    scattered = told(noisy(1.3, 0.2, 240))
    late = [c.slowness for c in scattered[60:]]
    assert max(late) - min(late) < 0.2  # single intervals differ by three times as much
    assert sum(late) / len(late) == pytest.approx(1.3, abs=0.05)


@pytest.mark.parametrize("spread", [0.02, 0.2])
@pytest.mark.parametrize("change", [0.7, 1.3])
def test_an_engine_that_changes_is_followed_within_minutes(spread: float, change: float) -> None:
    """Hours of evidence do not hold the correction back, however much it scatters."""
    for seed in range(5):
        before = told(noisy(1.0, spread, 300, seed))[-1]
        after = told(noisy(change, spread, 20, seed + 100), before)
        assert (after[-1].slowness - 1.0) / (change - 1.0) > 0.5


def test_level_and_shape_are_told_apart_by_loads() -> None:
    """A profile whose slope is half as much again: half empty the fleet looks fast, at its target it is not."""
    draw, correction = random.Random(1), Correction()
    for interval in range(120):
        lone = 0.4 if interval < 60 else 0.75  # a replica more since then
        correction = correction.told((lone + 1.5 * (1.0 - lone)) * draw.gauss(1.0, 0.01), 1.0, lone, 0.3)

    assert correction.level - 0.5 * correction.shape == pytest.approx(1.0, abs=0.04)
    assert correction.level + 0.5 * correction.shape == pytest.approx(1.5, abs=0.06)
    # by hand: T = 1, ℓ = 0.3: 1.5 / (1 + 0.5 · 0.3)
    assert correction.slowness == pytest.approx(1.304, abs=0.03)


def test_one_load_says_little_about_the_shape() -> None:
    """Evidence from one load moves both factors alike."""
    correction = Correction()
    for _ in range(60):
        correction = correction.told(1.3, 1.0, 0.5, 0.3)

    assert correction.shape == 0.0
    assert correction.slowness == pytest.approx(1.3, abs=0.01)


def test_counting_errors_do_not_look_like_a_shape() -> None:
    """A steady load, a right profile: miscounted sequences move the expected step and its lone share together."""
    draw, correction = random.Random(1), Correction()
    for _ in range(240):
        miscounted = draw.gauss(1.0, 0.05)
        step = 0.5 + 0.5 * miscounted
        correction = correction.told(1.0 / step, 1.0, 0.5 / step, 0.2)

    assert correction.slowness == pytest.approx(1.0, abs=0.04)


evidence = st.tuples(st.floats(0.0, 100.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0))


@given(st.lists(evidence, max_size=80), st.floats(0.0, 1.0))
def test_no_evidence_moves_it_out_of_bounds(seen: list[tuple[float, float, float]], gain: float) -> None:
    correction = Correction()
    for ratio, lone, at_target in seen:
        correction = correction.told(ratio, gain, lone, at_target)
        assert tuning.CORRECTION_LOW <= correction.slowness <= tuning.CORRECTION_HIGH
        assert correction.doubt > 0
        assert correction.shape_doubt > 0
        assert correction.both**2 <= correction.doubt * correction.shape_doubt * (1.0 + 1e-6)
        assert correction.noise > 0
    assert gain > 0 or correction.slowness == 1.0
