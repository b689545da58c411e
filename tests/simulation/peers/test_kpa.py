"""Knative's KPA: stable and panic window, rates, and what it does without data."""

from __future__ import annotations

from planner.core.types import Reason
from planner.simulation.peers.kpa import KPA, Revision
from tests.simulation.peers.seen import NOTHING, Fleet, pool


def fleet(replicas: int, start_in_panic: bool = False, **knobs: float) -> Fleet:
    """A revision with a target of 10 in flight a pod, looked at every 2 s; past its first panic."""
    scaled = Fleet(Revision(pool(), 10.0, {**KPA.defaults, **knobs}), replicas, 2.0)
    if not start_in_panic:
        scaled.looks(31, running=8 * replicas)  # ⌈8 n / 10⌉ <= n for the 60 s that its start-up panic lasts
    return scaled


def test_the_shipped_target_is_seventy() -> None:
    assert KPA.defaults["concurrency"] * KPA.defaults["target_percent"] / 100 == 70


def test_the_stable_window_sizes_the_pool() -> None:
    """45 in flight over a target of 10: ⌈4.5⌉ = 5."""
    assert fleet(5).looks(40, running=40, waiting=5)[-1] == 5


def test_what_waits_is_in_flight_too() -> None:
    one = Fleet(Revision(pool(), 10.0, KPA.defaults), 1, 2.0)
    assert one.look(running=8, waiting=4) == 2


def test_twice_the_ready_pods_is_panic() -> None:
    """4 pods; the panic window (6 s, three looks) must reach a mean above 70: ⌈7.x⌉ = 8 = 2 × 4.

    Looks of 32, then 110 each: means 32, 58, 84, 110. At 84 it asks for ⌈8.4⌉ = 9; the stable window is far below.
    """
    calm = fleet(4)
    assert calm.replicas == 4

    rising = [calm.look(ready=4, running=110) for _ in range(3)]

    assert rising == [4, 9, 11]


def test_panic_gives_nothing_up() -> None:
    """After the peak of 11 come 60 s of calm before panic ends; then the stable window counts again."""
    calm = fleet(4)
    for _ in range(3):
        calm.look(ready=4, running=110)

    assert calm.looks(30, running=32) == [11] * 30
    assert calm.look(running=32) == 5  # ⌈3.2⌉ = 4, and no less than ⌊11 / 2⌋


def test_idleness_comes_through_as_fast_as_the_stable_window_forgets() -> None:
    """64 in flight, then none: the mean of thirty looks loses a thirtieth a look, a replica every five."""
    idle = fleet(8).looks(35, running=0)

    assert idle[0] == 7  # ⌈64 × 29 / 30 / 10⌉ = ⌈6.2⌉
    assert [idle.count(n) for n in (7, 6, 5, 4, 3, 2)] == [1, 5, 5, 4, 5, 5]
    assert idle[-1] == 1


def test_at_most_half_is_given_up_a_look() -> None:
    """With a stable window of one look the wish is for none at once: of the 7 that 64 in flight need ⌊7 / 2⌋, 1, 1."""
    assert fleet(8, stable_window_s=2.0, panic_window_percent=100.0).looks(3, running=0) == [3, 1, 1]


def test_it_starts_in_panic_at_what_it_finds() -> None:
    """A restart with 6 pods and no load gives none up before a stable window has passed."""
    found = fleet(6, start_in_panic=True)

    assert set(found.looks(31, running=0)) == {6}


def test_growth_is_counted_from_ready_pods() -> None:
    """With ``up_rate`` 2 and 3 ready of 12 at most 6 are wanted: its panic starts from those it found ready."""
    starting = Fleet(Revision(pool(), 10.0, {**KPA.defaults, "up_rate": 2.0}), 12, 2.0)

    assert starting.look(ready=3, running=500) == 6


def test_without_data_it_holds() -> None:
    calm = fleet(4)
    blind = [calm.answer(**NOTHING) for _ in range(4)]

    assert blind[0].reason is Reason.SIZED  # the panic window still has two looks
    assert blind[3].reason is Reason.HELD_BLIND
