"""A full disk or a dead fit is told, and the loop goes on deciding."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from concurrent.futures import wait
from pathlib import Path

import pytest
import structlog.testing

from planner.adapters.decision_log import DecisionLog
from planner.adapters.fits import FitsBeside
from planner.core.planner import Planner
from planner.core.types import Decision, Reason
from planner.live.troubles import Troubles, Unbroken
from tests.core.worlds import policy, seen

DECISION = Decision(0.0, {"prefill": 1}, {"prefill": 1}, Reason.SIZED)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
def test_a_full_disk_is_told_once_and_stops_nobody() -> None:
    counted: list[int] = []
    log = DecisionLog(Path("/dev/full"))
    unbroken = Unbroken(log, "decision log")
    with structlog.testing.capture_logs() as told:
        troubles = Troubles(lambda: [unbroken.problem], counted.append)
        for _ in range(3):
            unbroken.record(seen(0.0, 1.0), DECISION)
            troubles.record(seen(0.0, 1.0), DECISION)
    with contextlib.suppress(OSError):  # what was never written cannot be flushed either
        log.close()

    assert counted == [1, 1, 1]
    assert [line["event"] for line in told] == ["own trouble"]
    assert "No space left" in told[0]["problem"]


def test_a_fit_whose_process_is_killed_is_told_and_tried_again_in_another() -> None:
    steps = FitsBeside(Planner(policy(predictor="arima")))
    try:
        for tick in range(12 * 60):
            steps.step(seen(5.0 * tick, 100.0 + tick % 7))
        first = steps.running()
        for child in multiprocessing.active_children():
            os.kill(child.pid or 0, signal.SIGKILL)
        wait(first, timeout=60.0)
        steps.step(seen(5.0 * 12 * 60, 100.0))

        assert "failed" in steps.problems["rate"]
        assert steps.running()
        assert steps.running() != first
    finally:
        steps.close()
