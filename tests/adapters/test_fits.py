"""Slow fits run beside the live planner: a decision never waits for one, and a failed one changes nothing."""

from __future__ import annotations

import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from planner.adapters.fits import FitsBeside
from planner.core.planner import Planner
from tests.core.worlds import policy, seen


class Held(Executor):
    """An executor that only runs what it was given when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Future[Any], Any, tuple[Any, ...]]] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append((future, fn, args))
        return future

    def run(self) -> None:
        for future, fn, args in self.waiting:
            try:
                future.set_result(fn(*args))
            except Exception as problem:  # as an executor does
                future.set_exception(problem)
        self.waiting.clear()


def wave(tick: int) -> float:
    return 100.0 + 30.0 * ((tick // 12) % 7)


def fed(steps: FitsBeside, ticks: range) -> None:
    for tick in ticks:
        steps.step(seen(5.0 * tick, wave(tick)))


def test_decisions_go_on_while_a_fit_runs_and_take_it_in_when_it_is_done() -> None:
    held = Held()
    steps = FitsBeside(Planner(policy(predictor="arima")), held)
    fed(steps, range(12 * 60))

    assert len(held.waiting) == 1  # asked for once, not at every step
    before = steps.planner.state.predictors["rate"].snapshot()
    held.run()
    fed(steps, range(12 * 60, 12 * 60 + 1))

    assert steps.planner.state.predictors["rate"].snapshot() != before


def test_a_fit_that_fails_is_told_and_wished_for_again() -> None:
    class Failing(Held):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_exception(RuntimeError("no memory"))
            self.waiting.append((future, fn, args))
            return future

    failing = Failing()
    steps = FitsBeside(Planner(policy(predictor="arima")), failing)
    fed(steps, range(12 * 60))

    assert steps.problems == {"rate": "fit of rate failed: no memory"}
    assert len(failing.waiting) > 1


def test_a_fit_in_a_thread_does_not_hold_up_a_step() -> None:
    """The executor's own wait must not be ours."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(time.sleep, 0.5)
        steps = FitsBeside(Planner(policy(predictor="arima")), pool)
        fed(steps, range(12 * 60))

        assert steps.planner.state.at == 5.0 * (12 * 60 - 1)
