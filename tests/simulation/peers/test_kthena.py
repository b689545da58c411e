"""Kthena: the sum against the target, stable and panic, and the ratio of the roles."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.core.types import Observation, Reason
from planner.simulation.peers.kthena import KTHENA, KTHENA_RATIO, Target, mended
from tests.simulation.peers import rigs
from tests.simulation.peers.seen import NOTHING, Fleet, gauges, pool

QUARTER, ONE = Fraction(1, 4), Fraction(1)
WIDE = (1, 100)


def fleet(replicas: int, name: str = "prefill", **knobs: float) -> Fleet:
    """One role, looked at every 15 s, target 10 queued."""
    return Fleet(Target(pool(name), {**KTHENA.defaults, **knobs}), replicas, 15.0)


def test_the_sum_over_the_target_is_the_replicas() -> None:
    """37 queued in all: ⌈3.7⌉ = 4."""
    assert fleet(3).look(waiting=37) == 4


def test_the_tolerance_looks_at_the_sum() -> None:
    """10.9 queued in all is 1.09 targets: within 10 % of *one*, so eight replicas stay eight."""
    on_target, below = fleet(8, down_window_s=0.0), fleet(8, down_window_s=0.0)

    assert on_target.looks(3, waiting=10.9)[-1] == 8
    assert below.looks(3, waiting=11.1)[-1] == 2


def test_the_larger_of_queue_and_cache_counts() -> None:
    """Four caches at 0.9 are 3.6 over 0.8: ⌈4.5⌉ = 5."""
    assert fleet(4, "decode").look(waiting=10, kv=0.9) == 5


def test_replicas_that_start_share_the_sum() -> None:
    """60 queued, 3 ready of 8: 6 / (1 + 5) = 1 is on target; 90 queued is 1.5, and ⌈9⌉."""
    assert fleet(8).look(ready=3, waiting=60) == 8
    assert fleet(8).look(ready=3, waiting=90) == 9
    assert fleet(8).look(ready=7, waiting=30) == 8  # 3 / 2 = 1.5 asks for 3, but the way up is not a way down


def test_twice_the_replicas_is_panic_without_a_limit() -> None:
    """170 queued at 2: 17 at once, and for 60 s nothing is given up."""
    scaled = fleet(2, down_window_s=0.0)

    assert scaled.look(waiting=170) == 17
    assert scaled.looks(4, waiting=30) == [17] * 4
    assert scaled.look(waiting=30) == 3


def test_short_of_panic_growth_is_from_the_least_of_late() -> None:
    """With panic at ten times: twice 5 at first; what was asked counts for two looks, so 20 waits until 10 is gone."""
    scaled = fleet(5, panic_threshold_percent=1000.0)

    assert scaled.looks(4, waiting=450) == [10, 20, 20, 40]


def test_a_dip_must_outlive_five_minutes() -> None:
    """The window holds what is exactly 300 s old: twenty looks after the last wish for 4 it still counts."""
    scaled = fleet(4)
    scaled.look(waiting=40)

    assert scaled.looks(21, waiting=0) == [4] * 20 + [1]


def test_without_metrics_the_look_leaves_no_trace() -> None:
    scaled = fleet(4)

    assert scaled.answer(**NOTHING).reason is Reason.HELD_BLIND
    assert scaled.look(waiting=None, kv=1.0) == 5  # one metric is enough: 4 / 0.8


@pytest.mark.parametrize(
    ("pair", "after"),
    [
        ((2, 4), (2, 4)),  # 0.5 is allowed
        ((9, 4), (9, 9)),  # above 1: decode grows
        ((1, 10), (3, 10)),  # below 0.25: ⌈2.5⌉ prefill
        ((0, 3), (1, 3)),
        ((0, 0), (0, 0)),
    ],
)
def test_the_side_that_is_short_grows(pair: tuple[int, int], after: tuple[int, int]) -> None:
    assert mended(*pair, (0, 100), (0, 100), QUARTER, ONE) == after


def test_at_its_maximum_the_other_side_gives_way() -> None:
    """Decode may not exceed 6, so 9 prefill become 6; prefill may not exceed 2, so 10 decode become 8."""
    assert mended(9, 4, WIDE, (1, 6), QUARTER, ONE) == (6, 6)
    assert mended(1, 10, (1, 2), WIDE, QUARTER, ONE) == (2, 8)


def test_a_ratio_that_no_pair_has_is_none() -> None:
    assert mended(5, 1, (5, 9), (1, 2), QUARTER, ONE) is None


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 12), st.integers(1, 12))
def test_a_mended_pair_keeps_ratio_and_bounds(num: int, den: int, most_num: int, most_den: int) -> None:
    """Bounds from one always leave (1, 1), so there is always an answer, and the best by hand agrees that it exists."""
    num, den = max(1, min(num, most_num)), max(1, min(den, most_den))
    pair = mended(num, den, (1, most_num), (1, most_den), QUARTER, ONE)

    assert pair is not None
    assert 1 <= pair[0] <= most_num
    assert 1 <= pair[1] <= most_den
    assert QUARTER <= Fraction(*pair) <= ONE
    if QUARTER <= Fraction(num, den) <= ONE:
        assert pair == (num, den)


def test_prefill_pulls_decode_with_it() -> None:
    """80 queued at prefill: 8 of them; decode's cache asks for 2 and gets 8. Alone it would have stayed at 2."""
    seen = rigs.seen(0.0, {"prefill": gauges(2, waiting=80), "decode": gauges(2, kv=0.6)})

    assert KTHENA.decider(rigs.site()).step(seen).replicas == {"prefill": 8, "decode": 2}
    assert KTHENA_RATIO.decider(rigs.site()).step(seen).replicas == {"prefill": 8, "decode": 8}


def test_one_role_without_metrics_stops_both() -> None:
    """Alone, prefill would grow to 8."""
    seen = Observation(0.0, {"prefill": gauges(2, waiting=80), "decode": gauges(2, **NOTHING)})
    decision = KTHENA_RATIO.decider(rigs.site()).step(seen)

    assert decision.replicas == {"prefill": 2, "decode": 2}
    assert decision.reason is Reason.HELD_BLIND
