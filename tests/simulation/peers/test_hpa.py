"""Kubernetes' HPA: its arithmetic on pods, its windows and rules, and what it does when metrics are missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.core.types import Reason
from planner.simulation.peers.behavior import SHIPPED, Behavior, Direction, Pace, Rule
from planner.simulation.peers.hpa import HPA, HPA_KV, Horizontal, of_pods, of_the_whole
from planner.simulation.peers.objects import Look
from planner.simulation.peers.signals import waiting
from tests.simulation.peers import rigs
from tests.simulation.peers.seen import NOTHING, Fleet, gauges, pool

FIVE = 5.0


def pods(total: float, ready: int, starting: int = 0) -> int | None:
    return of_pods(Look(0.0, ready + starting, gauges(ready, starting), None), total, FIVE)


def fleet(replicas: int, most: int = 1000) -> Fleet:
    """A pool scaled on five waiting requests a pod, looked at every 15 s."""
    queue = Horizontal(pool(most=most), (lambda look: of_pods(look, waiting(look.reading), FIVE),))
    return Fleet(queue, replicas, 15.0)


def test_the_ratio_of_the_average_to_its_target_scales_the_pods() -> None:
    """36 wait at 4 pods: 9 each, 9 / 5 = 1.8, and ⌈1.8 × 4⌉ = 8."""
    assert pods(36, ready=4) == 8
    assert pods(6, ready=4) == 2  # 1.5 each: ⌈0.3 × 4⌉ = ⌈1.2⌉


@pytest.mark.parametrize(("total", "replicas"), [(22, 4), (22.1, 5), (18, 4), (17.9, 4), (15.9, 4), (15, 3)])
def test_within_ten_percent_nothing_moves(total: float, replicas: int) -> None:
    """4 pods hold for 18 … 22 waiting; 17.9 is outside, and ⌈3.58⌉ is 4 again; 15 is exactly three pods' worth."""
    assert pods(total, ready=4) == replicas


def test_pods_that_start_count_as_idle_on_the_way_up() -> None:
    """40 wait at 4 ready of 6: 10 each is twice the target; over all six it is 40 / 6 / 5 = 1.33, so ⌈1.33 × 6⌉ = 8."""
    assert pods(40, ready=4, starting=2) == 8
    assert pods(40, ready=4, starting=4) == 8  # 40 / 8 / 5 = 1: those on their way are enough
    assert pods(40, ready=4, starting=6) == 10  # below target over all ten: it may not turn into a way down


def test_pods_that_start_count_as_on_target_on_the_way_down() -> None:
    """4 wait at 4 ready of 6: 1 each; (4 + 2 × 5) / 6 / 5 = 0.467, so ⌈2.8⌉ = 3, not ⌈0.2 × 4⌉ = 1."""
    assert pods(4, ready=4, starting=2) == 3


def test_an_external_metric_knows_nothing_of_readiness() -> None:
    """33 over a target of 5 is ⌈6.6⌉ = 7; against 6 replicas it is off by 10 %, against 7 by less."""
    assert of_the_whole(Look(0.0, 4, gauges(4), None), 33, FIVE) == 7
    assert of_the_whole(Look(0.0, 6, gauges(1, 5), None), 33, FIVE) == 6


def test_nothing_ready_is_no_answer() -> None:
    assert pods(40, ready=0, starting=3) is None


def test_going_up_is_held_to_the_larger_of_twice_and_four_more() -> None:
    """Every 15 s: 1 → 5 (four more), 10, 20, 40 (twice)."""
    assert fleet(1).looks(4, waiting=10_000) == [5, 10, 20, 40]


def test_a_dip_must_outlive_five_minutes() -> None:
    """20 looks of 15 s after the last wish for 8, the wish is 300 s old and counts no longer."""
    scaled = fleet(4)
    assert scaled.look(waiting=36) == 8

    dipped = scaled.looks(20, waiting=0)

    assert dipped[:19] == [8] * 19
    assert dipped[19] == 1


def test_the_highest_wish_of_the_window_counts_on_the_way_down() -> None:
    """After 8 come wishes for 6; when the 8 has scrolled out the 6 still holds."""
    scaled = fleet(8)
    scaled.look(waiting=40)  # on target: a wish for 8
    for _ in range(19):
        assert scaled.look(waiting=30) == 8  # 30 / 5 = 6
    assert scaled.look(waiting=0) == 6


def test_a_window_on_the_way_up_takes_the_lowest_wish() -> None:
    """30 s: what the spec had at the first look and what was wished since; the third look is 30 s later."""
    steady = Pace(Behavior(Direction(30.0, SHIPPED.up.rules), SHIPPED.down), pool())
    assert [steady.allowed(at, 4, wanted) for at, wanted in ((0, 8), (15, 7), (30, 8))] == [4, 4, 7]


def test_pods_per_period_are_counted_from_where_the_period_began() -> None:
    """One pod in 180 s: nothing more at 90 s, the next at 180 s."""
    slow = Pace(Behavior(Direction(0.0, (Rule(180.0, pods=1),)), Direction(0.0, (Rule(300.0, pods=1),))), pool())

    def step(at: float, current: int, wanted: int) -> int:
        after = slow.allowed(at, current, wanted)
        slow.changed(at, current, after)
        return after

    assert [step(0, 3, 9), step(90, 4, 9), step(180, 4, 9)] == [4, 4, 5]
    # the 300 s began at 3: what grew since may go at once, and one more; then nothing until 195 s are 300 s ago
    assert [step(195, 5, 1), step(400, 2, 1), step(500, 2, 1)] == [2, 2, 1]


def test_one_missing_metric_blocks_the_way_down_only() -> None:
    scaled = Fleet(horizontal(HPA), 8, 15.0)
    down = scaled.answer(waiting=0, running=None)
    assert (down.replicas, down.reason) == (8, Reason.HELD_BLIND)

    up = scaled.answer(waiting=80, running=None)  # 10 each: twice the target
    assert (up.replicas, up.reason) == (16, Reason.SIZED)


def horizontal(peer: object) -> Horizontal:
    """The object that the peer makes for its decode pool."""
    decider = peer.decider(rigs.site())  # type: ignore[attr-defined]
    return decider._scalers["decode"]  # type: ignore[no-any-return]


def test_without_any_metric_the_spec_stays() -> None:
    scaled = Fleet(horizontal(HPA_KV), 8, 15.0)

    assert scaled.answer(**NOTHING).reason is Reason.HELD_BLIND


def test_a_spec_outside_the_bounds_is_brought_in_without_a_look_at_metrics() -> None:
    assert Fleet(Horizontal(pool(least=2, most=6), ()), 9, 15.0).look() == 6
    assert Fleet(Horizontal(pool(least=2, most=6), ()), 1, 15.0).look() == 2


def test_the_larger_of_two_metrics_counts() -> None:
    """Four pods: 2 wait (⌈0.1 × 4⌉ = 1), 1,500 run (375 each, ⌈1.5 × 4⌉ = 6)."""
    assert Fleet(horizontal(HPA), 4, 15.0).look(waiting=2, running=1500) == 6


def test_the_cache_is_judged_by_its_mean() -> None:
    """Four pods at 0.9 of a target of 0.8: ⌈1.125 × 4⌉ = 5."""
    assert Fleet(horizontal(HPA_KV), 4, 15.0).look(kv=0.9) == 5


@given(st.floats(0, 1e4), st.integers(1, 60), st.integers(0, 60))
def test_the_answer_goes_where_the_ready_pods_point(total: float, ready: int, starting: int) -> None:
    """Whatever is assumed of the others: above target never fewer, below never more."""
    answer = pods(total, ready, starting)

    assert answer is not None
    assert answer >= ready + starting if total / ready >= FIVE else answer <= ready + starting
