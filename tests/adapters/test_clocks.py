"""Real time: woken by a stop, unmoved by a wall clock that is set back, moved on by a suspended machine."""

from __future__ import annotations

import threading

import pytest

from planner.adapters import clocks
from planner.adapters.clocks import WallClock


class TwoHands:
    """A stand-in for the ``time`` module whose two clocks are set by hand."""

    def __init__(self) -> None:
        self.wall, self.run = 1_000.0, 10.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.run


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> TwoHands:
    hands = TwoHands()
    monkeypatch.setattr(clocks, "time", hands)
    return hands


def test_time_is_since_1970(hands: TwoHands) -> None:
    assert WallClock().now() == 1_000.0


def test_a_clock_set_back_does_not_repeat_time(hands: TwoHands) -> None:
    clock = WallClock()
    hands.run += 5
    hands.wall -= 3_600

    assert clock.now() == 1_005.0


def test_a_suspended_machine_catches_up(hands: TwoHands) -> None:
    """The monotonic clock stands still while a machine sleeps."""
    clock = WallClock()
    hands.wall += 3_600

    assert clock.now() == 4_600.0


def test_what_is_due_already_is_not_waited_for() -> None:
    clock = WallClock()

    assert clock.sleep_until(clock.now() - 1.0)


def test_a_stopped_clock_ends_the_run() -> None:
    clock = WallClock()
    clock.stop()

    assert not clock.sleep_until(clock.now() - 1.0)


def test_stopping_wakes_the_sleeper() -> None:
    clock, answers = WallClock(), []
    sleeper = threading.Thread(target=lambda: answers.append(clock.sleep_until(clock.now() + 3_600.0)))
    sleeper.start()
    clock.stop()
    sleeper.join(timeout=60)

    assert answers == [False]
