"""Every figure has the meaning that docs/concepts.md gives it, checked against sums by hand."""

from __future__ import annotations

import numpy as np
import pytest

from planner.core.types import Decision, Expected, Observation, Reason
from planner.ports import Step
from planner.simulation.report.figures import Row, summarise, worst
from planner.simulation.run import Promise, Run, WorkerSpan
from planner.simulation.traffic.types import Traffic

NAN = float("nan")


def run(ttft, itl, osl=None, arrivals=None, spans=(), duration_s=3600.0, steps=(), **more):
    count = len(ttft)
    lengths = np.full(count, 10, np.int32)
    outputs = lengths if osl is None else np.array(osl, np.int32)
    times = np.linspace(0, duration_s - 1, count) if arrivals is None else np.array(arrivals, float)
    given = {
        "policy": "test",
        "traffic": Traffic("hand", times, lengths, outputs, duration_s),
        "promise": Promise(0.5, 0.025, 0.99),
        "ttft_s": np.array(ttft, np.float32),
        "itl_s": np.array(itl, np.float32),
        "spans": spans,
        "gpus_per_replica": {"prefill": 1, "decode": 2},
        "steps": steps,
        "seed": 1,
        "wall_seconds": 1.0,
        "plant_seconds": 0.5,
    }
    return Run(**{**given, **more})


def test_what_was_lost_counts_as_missed_on_both_promises():
    """Four arrive: one keeps both, one is late, one is slow, one is lost. Per request, not per promise."""
    summary = summarise(run([0.1, 0.9, 0.1, NAN], [0.01, 0.01, 0.05, NAN]))

    assert summary.requests == 4
    assert summary.completed == 3
    assert (summary.attainment.ttft, summary.attainment.itl, summary.attainment.both) == (0.5, 0.5, 0.25)


def test_one_token_keeps_the_itl_promise_and_stays_out_of_its_percentiles():
    summary = summarise(run([0.1, 0.1], [0.0, 0.02], osl=[1, 10]))

    assert summary.attainment.itl == 1.0
    assert summary.itl.p50 == pytest.approx(0.02)


def test_the_worst_hour_is_not_diluted_by_the_day():
    arrivals = np.arange(0, 86_400, 10.0)
    kept = ~((arrivals >= 36_000) & (arrivals < 39_600))  # the eleventh hour is dead

    assert kept.mean() > 0.95
    assert worst(arrivals, kept, 3600.0) == 0.0
    assert worst(arrivals[:0], kept[:0], 3600.0) is None


def test_gpu_hours_run_from_asking_to_ending_inside_the_window():
    spans = [
        WorkerSpan("prefill", asked_s=0.0, ready_s=0.0),  # the whole hour
        WorkerSpan("prefill", asked_s=1800.0, ready_s=1920.0, draining_s=2400.0, ended_s=2700.0),  # a quarter
        WorkerSpan("prefill", asked_s=3000.0, ended_s=3060.0),  # cancelled while starting: still a minute
        WorkerSpan("decode", asked_s=900.0, ready_s=1020.0, ended_s=7200.0),  # three quarters, two GPUs each
        WorkerSpan("decode", asked_s=4000.0),  # after the window
    ]
    summary = summarise(run([0.1], [0.01], spans=spans))

    assert summary.gpu_hours_by_pool["prefill"] == pytest.approx(1 + 0.25 + 1 / 60)
    assert summary.gpu_hours_by_pool["decode"] == pytest.approx(2 * 0.75)
    assert summary.goodput_per_gpu_hour == pytest.approx(1 / summary.gpu_hours)
    prefill = summary.pools["prefill"]
    assert (prefill.mean, prefill.min, prefill.max) == (pytest.approx(1 + 0.25 + 1 / 60), 1, 2)


def step(at, feasible=True, notes=(), **fleet):
    decision = Decision(at, fleet, fleet, Reason.SIZED, expected=Expected(0.1, 0.01, 1.0), feasible=feasible,
                        notes=notes)  # fmt: skip
    return Step(Observation(at, {}), decision)


def test_changes_are_of_what_was_asked_for():
    steps = [step(0, prefill=1), step(60, prefill=2), step(120, prefill=2), step(180, prefill=1)]

    assert summarise(run([0.1], [0.01], steps=steps)).changes_per_hour == 2.0


def test_a_promise_out_of_reach_is_a_result():
    beyond = [step(60.0 * k, False, ("decode: ITL 1 ms is out of reach; best reachable 4 ms",)) for k in range(3)]
    summary = summarise(run([0.1], [0.01], steps=[*beyond, step(200.0)]))

    assert not summary.feasible
    assert "best reachable 4 ms" in summary.notes[-1]
    assert summarise(run([0.1], [0.01], steps=[beyond[0], step(60.0), step(120.0)])).feasible  # a moment is no verdict


def test_no_requests_have_no_shares():
    """None is not measured; 0 % or 100 % of nothing would both be wrong."""
    summary = summarise(run([], []))

    assert summary.attainment.both is None
    assert summary.ttft.p95 is None
    assert summary.to_json()["attainment"]["worst_hour"] is None


def test_a_row_says_when_the_bound_could_not_keep_as_little():
    summary = summarise(run([0.1, 0.9], [0.01, 0.01]))  # kept 50 %

    assert not Row(summary, 1.1, 0.5003).is_far
    assert Row(summary, 0.9, 0.64).is_far
    assert not Row(summary, None, None).is_far
