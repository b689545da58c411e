"""Fleets found by search are the ones that trying everything finds."""

from __future__ import annotations

import itertools

import pytest

from planner.simulation.fleets import initial_fleet, share_kept, smallest_fleet
from tests.simulation.worlds import world


@pytest.mark.parametrize("rates", [(20.0, 30.0), (60.0, 45.0)])
def test_the_best_fixed_fleet_is_the_cheapest_that_keeps_the_goal(rates):
    mine = world(rates)
    found = smallest_fleet(mine)
    keep = [
        p + d for p, d in itertools.product(range(1, 7), range(1, 4))
        if share_kept(mine, {"prefill": p, "decode": d})[1] >= mine.promise.goal
    ]  # fmt: skip

    assert share_kept(mine, found)[1] >= mine.promise.goal
    assert sum(found.values()) == min(keep)


def test_gpus_count_not_replicas():
    """With prefill replicas of four GPUs the search must not trade one of them for a decode replica."""
    mine = world((60.0, 45.0), gpus_per_replica={"prefill": 4, "decode": 1})

    assert smallest_fleet(mine)["prefill"] == smallest_fleet(world((60.0, 45.0)))["prefill"]


def test_a_goal_out_of_reach_gets_what_comes_closest():
    """No fleet prefills 1,200 tokens in 30 ms; the search ends, with a fleet, and does not explode."""
    found = smallest_fleet(world((20.0,), promise=type(world((1.0,)).promise)(0.03, 0.025)))

    assert all(1 <= n <= 8 for n in found.values())


def test_the_start_is_judged_by_the_first_five_minutes_within_bounds():
    rising = world((10.0,) * 5 + (100.0,) * 2)

    assert initial_fleet(rising, {}) == smallest_fleet(world((10.0,) * 5))
    assert initial_fleet(rising, {"prefill": 3}, {"decode": 1}) == {"prefill": 3, "decode": 1}
