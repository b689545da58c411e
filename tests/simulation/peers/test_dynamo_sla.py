"""Dynamo's SLA mode: its engine model and floor by hand, its forecasters, blind, and in a run."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.core.types import Reason, Role
from planner.simulation.peers.dynamo import Count, Pass, Work
from planner.simulation.peers.dynamo_engine import Engine, Limits, Regression
from planner.simulation.peers.dynamo_forecast import FORECASTERS, Arima, Constant, Kalman, Shape
from planner.simulation.peers.dynamo_sla import SLA_ARIMA, SLA_CONSTANT, SLA_KALMAN, SLA_PROPHET, benchmarks, law_of
from tests.simulation.peers import rigs

LIMITS = Limits(8192, 256, 100_000)
ROLES = (Role.PREFILL, Role.DECODE)
PROMPTS = [Pass(Work(prompts=1, prompt_tokens=n), seconds=0.01 + 2e-5 * n) for n in range(500, 8001, 500)]
STEPS = [
    Pass(Work(sequences=n, kv_tokens=kv * n), seconds=0.005 + 2e-5 * n + 1e-7 * kv * n)
    for n in range(1, 90, 8)
    for kv in (500, 1500)
]


def engine(role: Role) -> Engine:
    """An engine of known speed; its last prompts were of 4,250 tokens on average."""
    made = Engine(role, LIMITS)
    made.learn(PROMPTS if role is Role.PREFILL else STEPS)
    return made


def test_the_regression_by_hand() -> None:
    model = Regression()
    for one in STEPS:
        model.learn(one)
    assert model.seconds(Work(sequences=40, kv_tokens=40_000)) == pytest.approx(0.005 + 0.0008 + 0.004)
    assert model.seconds(Work()) == 0.0


def test_more_work_is_never_believed_to_be_faster() -> None:
    model = Regression()
    for n in range(1, 11):
        model.learn(Pass(Work(sequences=n, kv_tokens=1000 * n * n), seconds=0.02 - 1e-3 * n + 1e-6 * n * n))
    assert model.seconds(Work(sequences=1)) is None  # flat: it says nothing


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 100_000)), min_size=70, max_size=120))
def test_no_more_than_64_passes_are_kept(rows: list[tuple[int, int]]) -> None:
    model = Regression()
    for n, kv in rows:
        model.learn(Pass(Work(sequences=n, kv_tokens=kv), seconds=0.01))
    busy = sum(1 for n, kv in rows if n or kv)
    assert sum(map(len, model.rows.values())) == min(64, busy)


def test_ttft_and_itl_by_hand() -> None:
    prefill, decode = engine(Role.PREFILL), engine(Role.DECODE)
    # 6,000 wait and 4,250 come: 10,250 tokens are one pass of 8,192 and one of 2,058
    waiting = Pass(queued=Work(prompts=3, prompt_tokens=6000))
    assert prefill.ttft_s(waiting, None) == pytest.approx(0.02 + 2e-5 * 10_250)
    assert prefill.ttft_s(waiting, 0.5) == pytest.approx(0.01 + 2e-5 * 5125)  # half of it is cached
    # 20 sequences of 1,000 and the next, whose context is the mean of those learnt: 1,000
    running = Pass(Work(sequences=20, kv_tokens=20_000))
    assert decode.itl_s(running) == pytest.approx(0.005 + 2e-5 * 21 + 1e-7 * 21_000)
    assert decode.itl_s(running, 2.0) == pytest.approx(0.005 + 2e-5 * 41 + 1e-7 * 41_000)


def test_the_rate_of_one_engine_by_hand() -> None:
    # prompts of 2,000: up to 4 together; 4 take 0.17 s: 23.5 a second, more than one in 0.05 s
    assert engine(Role.PREFILL).rate(2000, 100, 0.5, None) == pytest.approx(4 / 0.17)
    assert engine(Role.PREFILL).rate(2000, 100, 0.1, None) == pytest.approx(2 / 0.09)  # three would take 0.13 s
    # context 1,050: 0.005 + n · 1.25e-4 ≤ 0.015 for n ≤ 80; 80 / (100 · 0.015) a second
    assert engine(Role.DECODE).rate(1000, 100, 0.015, None) == pytest.approx(80 / 1.5)
    assert engine(Role.DECODE).rate(0, 100, 0.015, None) is None


def test_the_floor_by_hand() -> None:
    law = law_of(rigs.site(), dict.fromkeys(ROLES, LIMITS))
    for judge, known in zip(law.judges, (PROMPTS, STEPS), strict=True):
        judge.engine.learn(known)
    counts = (Count(2), Count(2))
    # prefill: 100 / 23.5 = 4.3; decode: context 2,050, 0.005 + n · 2.25e-4 ≤ 0.025 for n ≤ 48 (the cache), 48 / 1.58
    assert law.predict(counts, (100.0, 2000.0, 100.0, None)) == (5, 4)
    assert law.predict(counts, (1000.0, 2000.0, 100.0, None)) == (10, 10)  # 8 more at most
    assert law.predict((Count(30), Count(9)), (0.0, 2000.0, 100.0, None)) == (22, 1)
    assert law.predict(counts, (100.0, 0.0, 100.0, None)) == (2, 2)  # one role unknown: none moves


def test_the_load_loop_by_hand() -> None:
    law = law_of(rigs.site(), dict.fromkeys(ROLES, LIMITS))
    for judge, known in zip(law.judges, (PROMPTS, STEPS), strict=True):
        judge.engine.learn(known)
    late, fine = Pass(queued=Work(prompts=9, prompt_tokens=22_000)), Pass(queued=Work(prompts=1, prompt_tokens=2000))
    calm = {"d": Pass(Work(sequences=70, kv_tokens=70_000))}
    both = (Count(2), Count(1))
    assert law.decide(0.0, ({"a": late, "b": late}, calm), both, False) == {Role.PREFILL: 3, Role.DECODE: 1}
    assert law.decide(5.0, ({"a": late, "b": fine}, calm), both, False) is None  # not every engine is late
    idle = {"a": Pass(), "b": Pass()}
    assert law.decide(10.0, (idle, calm), both, False) == {Role.PREFILL: 1, Role.DECODE: 1}
    law.loop.floor = (2, 1)
    assert law.decide(15.0, (idle, calm), both, False) is None  # the floor holds it


@pytest.mark.parametrize("name", sorted(FORECASTERS))
def test_forecasters_skip_the_idle_beginning_and_need_five_values(name: str) -> None:
    series = FORECASTERS[name]()
    assert series.ahead() == 0.0
    for value in (0.0, 0.0, 7.0, 9.0):
        series.add(value)
    assert series.ahead() == 9.0


def test_kalman_follows_a_line() -> None:
    kalman = Kalman()
    for k in range(40):
        kalman.add(100.0 + 10 * k)
    assert kalman.ahead() == pytest.approx(500.0, rel=0.02)


def test_arima_by_its_own_library() -> None:
    values = [100.0, 180.0, 120.0, 170.0, 110.0, 190.0, 105.0, 185.0, 115.0, 175.0, 108.0, 182.0]
    arima = Arima()
    for value in values[:-1]:
        arima.add(value)
    assert 160 < arima.ahead() < 200  # low, high, low: high comes next
    arima.add(values[-1])
    assert 90 < arima.ahead() < 130
    flat = Arima()
    for _ in range(6):
        flat.add(50.0)
    assert flat.ahead() == 50.0


def test_prophet_follows_a_line() -> None:
    series = FORECASTERS["prophet"]()
    for k in range(60):
        series.add(100.0 + 10 * k)
    assert series.ahead() == pytest.approx(700.0, rel=0.05)


def test_an_idle_interval_keeps_the_last_lengths() -> None:
    shape = Shape(Constant(), Constant(), Constant())
    shape.add(0.0, math.nan, math.nan)
    assert shape.ahead() == (0.0, 0.0, 0.0)
    shape.add(60.0, 1000.0, 200.0)
    shape.add(0.0, math.nan, math.nan)
    assert shape.ahead() == (0.0, 1000.0, 200.0)


def test_the_profile_is_what_it_starts_from() -> None:
    prefill, decode = rigs.site().pools
    assert len(benchmarks(prefill)) == len(rigs.PROFILE.prefill_points)
    point, first = rigs.PROFILE.decode_points[-1], benchmarks(decode)[-1]
    assert first.seconds == point.itl_s
    assert first.scheduled.sequences == round(first.scheduled.kv_tokens / point.context_tokens)


def test_blind_it_holds() -> None:
    law = SLA_CONSTANT.decider(rigs.site())
    decision = law.step(rigs.seen(0.0, {"prefill": rigs.reading(starting=2), "decode": rigs.reading(starting=3)}))
    assert rigs.fleet(decision) == (2, 3)
    assert decision.reason is Reason.HELD_BLIND


@pytest.mark.parametrize("peer", [SLA_ARIMA, SLA_CONSTANT, SLA_KALMAN, SLA_PROPHET], ids=lambda peer: peer.name)
def test_up_in_an_overload_and_down_when_idle(peer: object) -> None:
    run = rigs.over_and_idle(peer, knobs={"interval_s": 60.0}, minutes=(6, 12))  # type: ignore[arg-type]
    asked = rigs.fleets(run, "prefill")
    assert max(asked) > 1
    assert asked[-1] < max(asked)
