"""Slow fits run beside the live planner: a decision never waits for one, and a failed one changes nothing."""

from __future__ import annotations

from concurrent.futures import Executor, Future, wait
from typing import Any

from planner.adapters.fits import FitsBeside
from planner.core.planner import Planner
from tests.core.worlds import policy, seen

HOUR = 12 * 60  # ticks


SERIES = 3  # requests, prompt tokens, answer tokens


class Held(Executor):
    """An executor that runs nothing: what it was given is ``waiting`` for whoever holds it."""

    def __init__(self) -> None:
        self.waiting: list[Future[Any]] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.waiting.append(Future())
        return self.waiting[-1]


def wave(tick: int) -> float:
    return 100.0 + 30.0 * ((tick // 12) % 7)


def fed(steps: FitsBeside, ticks: range) -> None:
    for tick in ticks:
        steps.step(seen(5.0 * tick, wave(tick)))


def test_decisions_go_on_while_a_fit_runs_and_it_is_asked_for_once() -> None:
    held = Held()
    steps = FitsBeside(Planner(policy(predictor="arima")), held)
    fed(steps, range(HOUR))

    assert len(held.waiting) == SERIES
    assert steps.planner.state.at == 5.0 * (HOUR - 1)


def test_a_fit_of_another_process_is_taken_in_when_it_is_done() -> None:
    """The real thing: pmdarima in a process of its own."""
    steps = FitsBeside(Planner(policy(predictor="arima")))
    try:
        fed(steps, range(HOUR))
        before = steps.planner.state.predictors["rate"].snapshot()
        wait(steps.running(), timeout=120.0)
        fed(steps, range(HOUR, HOUR + 1))
    finally:
        steps.close()

    assert steps.problems == {}
    assert steps.planner.state.predictors["rate"].snapshot() != before


def test_a_fit_that_fails_is_told_and_wished_for_again() -> None:
    held = Held()
    steps = FitsBeside(Planner(policy(predictor="arima")), held)
    fed(steps, range(HOUR))
    held.waiting[0].set_exception(RuntimeError("no memory"))
    fed(steps, range(HOUR, HOUR + 1))

    assert steps.problems == {"rate": "fit of rate failed: no memory"}
    assert len(held.waiting) == SERIES + 1
