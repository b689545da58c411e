"""Kthena's cost blocks, by the arithmetic of its optimizer."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from planner.core.types import Observation, PoolReading, Reason
from planner.simulation.peers.kthena import KTHENA
from planner.simulation.peers.kthena_cost import CostBlocks, blocks, dealt, together
from tests.core.worlds import PREFILL

NEW = replace(PREFILL, name="new", cost=1.0, min_replicas=0, max_replicas=7)
OLD = replace(PREFILL, name="old", cost=0.4, min_replicas=1, max_replicas=8)
KNOBS = {**KTHENA.defaults, "cost_expansion_percent": 200.0}


def test_blocks_double_and_cost_their_length():
    """Seven of each to deal: 1, 2, 4."""
    found = [(round(cost, 6), index, length) for cost, index, length in blocks((NEW, OLD), 200.0)]

    assert found == [(0.4, 1, 1), (0.8, 1, 2), (1.0, 0, 1), (1.6, 1, 4), (2.0, 0, 2), (4.0, 0, 4)]


def test_without_expansion_a_pool_is_one_block():
    assert [length for _, _, length in blocks((NEW, OLD), 100.0)] == [7, 7]


def test_cheap_first_then_interleaved():
    deals = {n: dealt((NEW, OLD), n, 200.0) for n in (1, 4, 5, 9, 11, 15, 99)}

    assert deals == {
        1: {"new": 0, "old": 1},
        4: {"new": 0, "old": 4},
        5: {"new": 1, "old": 4},
        9: {"new": 1, "old": 8},
        11: {"new": 3, "old": 8},
        15: {"new": 7, "old": 8},
        99: {"new": 7, "old": 8},
    }


@given(st.integers(0, 40), st.floats(0.1, 5.0), st.sampled_from([100.0, 150.0, 200.0, 300.0]))
def test_what_is_dealt_is_what_was_wanted_within_the_bounds(replicas, cost, expansion):
    pools = (NEW, replace(OLD, cost=cost))
    deal = dealt(pools, replicas, expansion)

    assert sum(deal.values()) == min(max(replicas, 1), 15)
    assert all(pool.min_replicas <= deal[pool.name] <= pool.max_replicas for pool in pools)


def test_kinds_are_looked_at_as_one():
    whole = together([PoolReading(2, 2, waiting=4.0, kv_usage=0.9, backlog=(1.0, 3.0)), PoolReading(4, 1, waiting=1.0,
                      kv_usage=0.3, backlog=(1.0,))])  # fmt: skip

    assert (whole.requested, whole.ready, whole.waiting, whole.backlog) == (6, 3, 5.0, (1.0, 3.0, 1.0))
    assert whole.kv_usage is not None
    assert round(whole.kv_usage, 6) == 0.7


def seen(at: float, waiting: float) -> Observation:
    readings = {
        name: PoolReading(1, 1, waiting=waiting / 2, kv_usage=0.0, backlog=(waiting / 2,)) for name in ("new", "old")
    }
    return Observation(at, readings)


def test_the_law_looks_every_15_seconds_and_deals_what_it_comes_to():
    """100 waiting over a target of 10 are 10 replicas: panic, at once."""
    law = CostBlocks((NEW, OLD), KNOBS)
    first, between, later = law.step(seen(0.0, 100.0)), law.step(seen(5.0, 0.0)), law.step(seen(15.0, 100.0))

    assert dict(first.replicas) == dealt((NEW, OLD), 10, 200.0)
    assert (between.reason, dict(between.replicas)) == (Reason.HELD_BETWEEN, dict(first.replicas))
    assert later.reason is Reason.SIZED
