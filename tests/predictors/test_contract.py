"""What every predictor promises, asked of every one in the registry."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictors import registry
from predictors.api import Predictor
from predictors.fits import run_fit

STEP = 180.0
NAMES = [*registry.BUILDERS, "calibrated+constant", "calibrated+kalman"]
named = pytest.mark.parametrize("name", NAMES)
values = st.lists(st.one_of(st.none(), st.floats(0.0, 1e9), st.sampled_from([0.0, 1.0, 1e6])), min_size=1, max_size=60)
few = settings(max_examples=15, deadline=None)


def taught(name, series):
    predictor = registry.make(name, STEP)
    for i, value in enumerate(series):
        predictor.update(i * STEP, value)
    return predictor


def said(predictor, steps=5):
    path = predictor.path(steps)
    return None if path is None else [(f.mean, dict(f.quantiles), f.scenarios) for f in path]


@named
def test_it_is_a_predictor_and_says_nothing_before_the_first_value(name):
    predictor = registry.make(name, STEP)

    assert isinstance(predictor, Predictor)
    assert predictor.predict(1) is None
    assert predictor.path(3) is None


@named
@few
@given(series=values)
def test_forecasts_are_finite_and_never_below_zero(name, series):
    for mean, quantiles, scenarios in said(taught(name, series)) or []:
        assert math.isfinite(mean)
        assert mean >= 0
        assert all(math.isfinite(v) and v >= 0 for v in (*quantiles.values(), *scenarios))
        ordered = [quantiles[level] for level in sorted(quantiles)]
        assert ordered == sorted(ordered)


@named
@few
@given(series=values)
def test_asking_changes_nothing(name, series):
    predictor = taught(name, series)
    first = said(predictor)
    predictor.fit_request()
    predictor.predict(2)

    assert said(predictor) == first


@named
@few
@given(series=values, more=values)
def test_a_snapshot_has_the_same_future(name, series, more):
    """Through JSON text, and as a copy; and updating the one leaves the other as it was."""
    predictor = taught(name, series)
    again = registry.restore(json.loads(json.dumps(predictor.snapshot(), allow_nan=False)))
    twin, before = predictor.copy(), said(predictor)
    for i, value in enumerate(more, start=len(series)):
        again.update(i * STEP, value)
        twin.update(i * STEP, value)
    assert said(predictor) == before

    for i, value in enumerate(more, start=len(series)):
        predictor.update(i * STEP, value)
    assert said(again) == said(twin) == said(predictor)


@named
def test_constant_traffic_is_forecast_as_itself(name):
    forecast = taught(name, [7.0] * 80).predict(3)

    assert forecast is not None
    assert forecast.mean == pytest.approx(7.0, rel=1e-3)


@named
def test_silence_is_forecast_as_silence(name):
    forecast = taught(name, [0.0] * 80).predict(3)

    assert forecast is not None
    assert forecast.mean == pytest.approx(0.0, abs=1e-6)
    assert forecast.quantile(0.95) == pytest.approx(0.0, abs=1e-2)


@named
def test_a_gap_is_a_gap_whether_said_or_skipped(name):
    """``None`` and a missing update are the same; neither is a zero."""
    told, skipped, zero = (registry.make(name, STEP) for _ in range(3))
    for i in range(60):
        value = 50.0 + i % 3
        if i in (30, 31):
            told.update(i * STEP, None)
            zero.update(i * STEP, 0.0)
            continue
        for predictor in (told, skipped, zero):
            predictor.update(i * STEP, value)

    assert said(told) == said(skipped)
    assert told.predict(1) is not None


LONG = {"prophet", "blend-all"}  # four weeks are 13,440 steps; said one by one they take long beside ARIMA


@pytest.mark.parametrize("name", [name for name in NAMES if name not in LONG])
@pytest.mark.parametrize("gap", [3, 200, 550])
def test_a_gap_of_hours_or_days_is_the_same_whether_said_or_skipped(name, gap):
    """A day is 480 steps. What is skipped of a long gap had been forgotten at its end."""
    told, skipped = (taught(name, [50.0 + i % 3 for i in range(520)]) for _ in range(2))
    for i in range(520, 520 + gap):
        told.update(i * STEP, None)
    for predictor in (told, skipped):
        for i in range(520 + gap, 530 + gap):
            predictor.update(i * STEP, 80.0 + i % 5)

    assert said(told) == said(skipped)


@named
def test_a_gap_of_years_takes_no_longer_than_what_is_remembered(name):
    """A state of last spring must not stop a controller for a quarter of a minute: no step is filled in twice."""
    predictor, filled = taught(name, [50.0 + i % 3 for i in range(60)]), 0
    wrapped = gridded(predictor)
    for one in wrapped:
        inner = one._learn

        def counted(value, learn=inner):
            nonlocal filled
            filled += 1
            learn(value)

        one._learn = counted
    predictor.update(10_000_000 * STEP, 50.0)

    assert filled <= sum(one.forgets_after + 6 for one in wrapped) + len(wrapped) * 6
    assert predictor.predict(1) is not None


def gridded(predictor):
    """A predictor and all that it wraps."""
    inner = getattr(predictor, "members", None) or filter(None, [getattr(predictor, "inner", None)])
    return [predictor, *(one for each in inner for one in gridded(each))]


@named
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_what_is_no_count_is_refused(name, value):
    with pytest.raises(ValueError, match=r"finite numbers of at least 0"):
        registry.make(name, STEP).update(0.0, value)


@named
def test_time_does_not_run_backwards(name):
    predictor = taught(name, [1.0, 2.0])

    with pytest.raises(ValueError, match="learnt already"):
        predictor.update(STEP, 3.0)


def test_an_unknown_name_is_met_with_those_there_are():
    with pytest.raises(ValueError, match=r"'arma' is none of constant, .*prophet"):
        registry.make("arma", STEP)


def test_a_spike_does_not_blow_up_the_default():
    """One value a hundred times the others: the next forecasts stay below it."""
    forecast = taught("default", [10.0] * 60 + [1000.0] + [10.0] * 5).predict(3)

    assert forecast is not None
    assert forecast.mean < 150.0


def test_quantiles_are_calibrated_on_noise():
    """Independent noise, 3,000 steps: nine of ten values at or under q0.9, within two points."""
    import numpy as np

    from predictors.backtest import backtest

    series = np.random.default_rng(3).poisson(200, 3000).astype(float).tolist()
    scores = backtest("default", series, STEP, (1, 3))

    assert all(score.coverage == pytest.approx(0.90, abs=0.02) for score in scores)


def test_kalman_learns_its_noise_from_the_data():
    """On noise around a level it averages; on a wandering level it follows."""
    import numpy as np

    rng = np.random.default_rng(4)
    noise = 100.0 + 10.0 * rng.standard_normal(300)
    wander = 1000.0 + np.cumsum(20.0 * rng.standard_normal(300))
    calm, moving = taught("kalman", np.abs(noise).tolist()), taught("kalman", np.abs(wander).tolist())

    assert calm.predict(1).mean == pytest.approx(100.0, abs=5.0)
    assert abs(moving.predict(1).mean - wander[-1]) < 25.0


def sine(count):
    return [100.0 + 60.0 * math.sin(2 * math.pi * i / 480) for i in range(count)]  # a day of 3-minute steps


@pytest.mark.parametrize("name", ["arima", "prophet"])
def test_a_fit_is_plain_data_and_is_adopted(name):
    """Asked for, run elsewhere, adopted: then the forecast is the model's, and survives a snapshot."""
    series = sine(1000 if name == "prophet" else 200)
    predictor = taught(name, series)
    request = predictor.fit_request()
    assert request is not None
    model = json.loads(json.dumps(run_fit(request), allow_nan=False))
    assert predictor.fit_request() is not None  # asking again asks again, until it is adopted
    before = predictor.predict(5).mean
    predictor.adopt(model)
    after = predictor.predict(5).mean
    truth = sine(len(series) + 5)[-1]

    assert predictor.fit_request() is None
    assert abs(after - truth) < abs(before - truth) + 0.5
    assert registry.restore(predictor.snapshot()).predict(5).mean == after


def test_prophet_sees_the_day():
    """Two hours ahead on the flank of the day: a level would be far off."""
    predictor = taught("prophet", sine(1100))
    predictor.adopt(run_fit(predictor.fit_request()))
    truth = sine(1100 + 40)[-1]

    assert predictor.predict(40).mean == pytest.approx(truth, abs=12.0)


def test_the_blend_follows_who_is_right():
    """A trend: the member that sees it gets more weight than the constant."""
    predictor = registry.make("blend", STEP)
    for i in range(120):
        predictor.update(i * STEP, 100.0 + 5.0 * i)
    weights = dict(zip((m.NAME for m in predictor.members), predictor.weights(), strict=False))

    assert weights["holt"] > weights["constant"]
