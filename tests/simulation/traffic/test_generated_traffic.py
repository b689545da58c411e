"""Rates become arrivals by one law, and generators are rates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.simulation.traffic.arrivals import MAX_REQUESTS, RateCurve, Window, draw
from planner.simulation.traffic.errors import TrafficError
from planner.simulation.traffic.generators import GENERATORS, generate
from planner.simulation.traffic.lengths import LONGEST_TOKENS, LengthSample, around, from_spec

FIXED = around(100, 10, 0.0)

edges_and_rates = st.lists(
    st.tuples(st.floats(0.1, 2000), st.floats(0, 5)), min_size=1, max_size=12
)  # (length in seconds, requests per second)


def curve_of(pieces: list[tuple[float, float]]) -> RateCurve:
    edges = np.concatenate(([0.0], np.cumsum([length for length, _ in pieces])))
    return RateCurve(edges, np.array([rate for _, rate in pieces]))


@given(edges_and_rates, st.integers(0, 99), st.sampled_from([None, 0.5, 8.0]))
def test_arrivals_ascend_inside_the_curve(pieces, seed: int, dispersion: float | None) -> None:
    curve = curve_of(pieces)
    requests = draw(curve, FIXED, Window(0, curve.end_s), dispersion, seed)

    assert (np.diff(requests.at_s) >= 0).all()
    assert ((requests.at_s >= 0) & (requests.at_s <= curve.end_s)).all()
    assert len(requests.at_s) == len(requests.input_tokens) == len(requests.output_tokens)


@given(edges_and_rates, st.floats(0, 1), st.floats(0, 1), st.integers(0, 99))
def test_a_window_of_a_curve_is_that_part_of_the_whole(pieces, a: float, b: float, seed: int) -> None:
    """Whoever looks closer at one hour of a day must see the same requests."""
    curve = curve_of(pieces)
    window = Window(min(a, b) * curve.end_s, max(a, b) * curve.end_s)
    lengths = around(100, 10)
    whole = draw(curve, lengths, Window(0, curve.end_s), 2.0, seed)
    inside = (whole.at_s >= window.from_s) & (whole.at_s < window.to_s)
    if window.from_s < window.to_s:
        part = draw(curve, lengths, window, 2.0, seed)

        assert np.array_equal(part.at_s, whole.at_s[inside])
        assert np.array_equal(part.input_tokens, whole.input_tokens[inside])


@given(edges_and_rates, st.lists(st.floats(0, 25_000), min_size=2, max_size=20))
def test_no_request_is_lost_between_points_of_a_grid(pieces, grid: list[float]) -> None:
    curve = curve_of(pieces)
    points = np.unique([0.0, *(min(point, curve.end_s) for point in grid), curve.end_s])

    assert curve.expected(points).sum() == pytest.approx(sum(length * rate for length, rate in pieces))


@pytest.mark.parametrize("shape", [None, 8.0, 1.0])
def test_dispersion_is_the_shape_of_a_gamma_factor_per_second(shape: float | None) -> None:
    """Variance over mean of the counts per second is 1 + rate / shape: smaller shapes are burstier."""
    rate, seconds = 20.0, 40_000
    curve = RateCurve(np.array([0.0, seconds]), np.array([rate]))
    at = draw(curve, FIXED, Window(0, seconds), shape, seed=3).at_s
    counts = np.bincount(at.astype(int), minlength=seconds)
    expected = 1 + (rate / shape if shape else 0)

    assert counts.mean() == pytest.approx(rate, rel=6 * np.sqrt(expected / rate / seconds))
    # The relative error of a variance estimate of n draws is about sqrt((kurtosis - 1) / n) < sqrt(8 / n).
    assert counts.var() / counts.mean() == pytest.approx(expected, rel=5 * np.sqrt(8 / seconds))


def test_moments_are_uniform_inside_their_second() -> None:
    curve = RateCurve(np.array([0.0, 7200.0]), np.array([10.0]))
    inside = np.sort(draw(curve, FIXED, Window(0, 7200), 1.0, seed=5).at_s % 1.0)
    distance = np.abs(inside - np.arange(len(inside)) / len(inside)).max()

    assert distance < 1.95 / np.sqrt(len(inside))  # Kolmogorov-Smirnov at one in a thousand


def test_seconds_are_independent_of_each_other() -> None:
    curve = RateCurve(np.array([0.0, 20_000.0]), np.array([20.0]))
    at = draw(curve, FIXED, Window(0, 20_000), 2.0, seed=1).at_s
    counts = np.bincount(at.astype(int), minlength=20_000)

    assert abs(np.corrcoef(counts[1:], counts[:-1])[0, 1]) < 4 / np.sqrt(20_000)


def test_lengths_do_not_change_when_arrivals_look_elsewhere() -> None:
    """Common random numbers: another length model meets the same arrivals."""
    curve = RateCurve(np.array([0.0, 100.0]), np.array([5.0]))
    first = draw(curve, around(100, 10), Window(0, 100), 2.0, seed=1)
    second = draw(curve, around(5000, 700), Window(0, 100), 2.0, seed=1)

    assert np.array_equal(first.at_s, second.at_s)


def test_a_flood_is_refused_before_it_is_drawn() -> None:
    curve = RateCurve(np.array([0.0, 1e6]), np.array([MAX_REQUESTS / 1e5]))

    with pytest.raises(TrafficError, match="choose a shorter window or a smaller scale"):
        draw(curve, FIXED, Window(0, 1e6), None, seed=1)


def rates_at(text: str, *seconds: float) -> list[float]:
    curve = generate(text).curve
    return [float(curve.rates[np.searchsorted(curve.edges_s, at, side="right") - 1]) for at in seconds]


def test_generators_are_what_their_formula_says() -> None:
    assert rates_at("poisson:rate=20/s,duration=10m", 0, 599) == [20, 20]
    assert rates_at("step:low=5/s,high=20/s,at=10m,duration=30m", 599, 600, 1799) == [5, 20, 20]
    assert rates_at("spike:base=5/s,peak=50/s,at=10m,width=1m,duration=30m", 599, 600, 659, 660) == [5, 50, 50, 5]
    assert rates_at("ramp:low=10/s,high=70/s,duration=1h", 0, 1800, 3599) == pytest.approx([10, 40, 70], abs=0.02)
    sine = rates_at("sine:mean=20/s,amplitude=0.5,period=1h,duration=2h", 900, 2700, 3600, 4500)
    assert sine == pytest.approx([30, 10, 20, 30], abs=0.02)


def test_rates_and_durations_take_every_unit() -> None:
    assert generate("poisson:rate=1200/min,duration=0.5h").curve.rates.tolist() == [20]
    assert generate("poisson:rate=1200/min,duration=0.5h").curve.end_s == 1800


def test_a_spike_may_start_at_once_and_outlast_the_traffic() -> None:
    assert rates_at("spike:base=5/s,peak=50/s,at=0s,width=1h,duration=30m", 0, 1799) == [50, 50]


def test_lengths_may_stand_in_the_specification() -> None:
    same = generate("poisson:rate=1/s,duration=1m,isl=3000,osl=300,cv=0").lengths
    assert same is not None
    inputs, outputs = same.draw(np.zeros(5), np.random.default_rng(1))

    assert inputs.tolist() == [3000] * 5
    assert outputs.tolist() == [300] * 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("poisson:duration=10m", "rate is missing"),
        ("poisson", "rate, duration are missing"),
        ("poisson:rate=20,duration=10m", "rate: '20' is not a rate: write a number per unit of time"),
        ("poisson:rate=20/s,duration=10", "duration: '10' is not a duration"),
        ("poisson:rate=20/s,duration=0s", "0s is no length of time"),
        ("poisson:rate=20/s,duration=1m,rate=3/s", "rate is given twice"),
        ("poisson:rate=20/s,duration", "duration has no value"),
        ("poisson:rate=20/s,duration=1m,burst=3", "poisson has no 'burst'; it takes rate, duration"),
        ("poisson:rate=0/s,duration=1m", "makes no requests"),
        ("poisson:rate=1/s,duration=1m,isl=300", "osl is missing"),
        ("poisson:rate=1/s,duration=1m,isl=0,osl=5", "'0' is not a mean of at least 1 token"),
        ("poisson:rate=1/s,duration=1m,isl=5,osl=5,cv=-1", "'-1' is not a coefficient of variation"),
        ("sine:mean=1/s,amplitude=1.5,period=1h,duration=1h", "'1.5' is not a share"),
        ("sine:mean=1/s,amplitude=much,period=1h,duration=1h", "'much' is not a share"),
        ("step:low=1/s,high=2/s,at=30m,duration=30m", "at lies beyond the end"),
    ],
)
def test_a_generator_that_cannot_be_meant_is_refused(text: str, said: str) -> None:
    with pytest.raises(TrafficError) as caught:
        generate(text)
    assert text in str(caught.value)
    assert said in str(caught.value)


def test_every_generator_is_documented_where_it_is_made() -> None:
    from planner.simulation.traffic import generators

    assert all(f"``{kind}:" in (generators.__doc__ or "") for kind in GENERATORS)


@given(st.floats(10, 5000), st.floats(10, 5000), st.floats(0.1, 1.5), st.integers(0, 99))
def test_log_normal_lengths_keep_their_means_and_spread(isl: float, osl: float, cv: float, seed: int) -> None:
    inputs, outputs = around(isl, osl, cv).draw(np.zeros(20_000), np.random.default_rng(seed))

    # A log-normal of spread 1.5 has a kurtosis of some hundreds: the mean is the safer judge.
    assert inputs.mean() == pytest.approx(isl, rel=0.01 + 6 * cv / np.sqrt(20_000), abs=0.5)
    assert outputs.mean() == pytest.approx(osl, rel=0.01 + 6 * cv / np.sqrt(20_000), abs=0.5)
    assert inputs.min() >= 1
    assert inputs.max() <= LONGEST_TOKENS


def test_log_normal_lengths_have_the_spread_that_was_asked_for() -> None:
    inputs, _ = around(10_000, 10, 0.5).draw(np.zeros(200_000), np.random.default_rng(1))

    assert inputs.std() / inputs.mean() == pytest.approx(0.5, rel=0.02)


@given(st.integers(0, 99))
def test_a_sample_is_drawn_jointly(seed: int) -> None:
    """Long prompts with their own answers: drawing them apart would lose the correlation."""
    pairs = {(10, 1), (20, 200), (3000, 7)}
    sample = LengthSample(np.array([10, 20, 3000], np.int32), np.array([1, 200, 7], np.int32))
    inputs, outputs = sample.draw(np.zeros(200), np.random.default_rng(seed))

    assert set(zip(inputs.tolist(), outputs.tolist(), strict=True)) == pairs
    assert sample.mean_tokens() == pytest.approx((3030 + 208) / 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fixed:isl=3000", "osl is missing"),
        ("fixed:isl=3000,osl=5,cv=1", "fixed has no 'cv'; it takes isl, osl"),
        ("lognormal:isl=many,osl=5", "'many' is not a mean"),
        ("lognormal:isl=200000,osl=5", "from 1 to 131,072 tokens"),
    ],
)
def test_length_specifications_are_checked(text: str, said: str) -> None:
    with pytest.raises(TrafficError) as caught:
        from_spec(text)
    assert said in str(caught.value)
