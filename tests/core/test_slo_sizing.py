"""The sizing law keeps the properties that other planners break (reference-cases.json, properties_to_beat)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from planner.core.policy import Sla
from planner.core.sizing import slo
from tests.core.worlds import AGGREGATED, SLA, SPLIT, load, loads

POOLS = st.sampled_from([SPLIT, (AGGREGATED,)])
factors = st.floats(1.0, 8.0)


def fleet(pools, sla, demand, slowness=1.0):
    return slo.size(pools, sla, demand, {pool.name: slowness for pool in pools}).replicas


def never_fewer(more, less):
    return all(more[name] >= less[name] for name in less)


@given(POOLS, loads, factors)
def test_more_traffic_never_asks_for_fewer(pools, demand, factor):
    """Only the rates grow; no pool may shrink."""
    busier = replace(demand, rates=tuple(rate * factor for rate in demand.rates))

    assert never_fewer(fleet(pools, SLA, busier), fleet(pools, SLA, demand))


@given(POOLS, loads, st.floats(0.001, 3.0), factors)
def test_a_tighter_ttft_never_asks_for_fewer(pools, demand, ttft_s, factor):
    """Also beyond feasibility: prop-1, prop-4."""
    loose = fleet(pools, Sla(ttft_s * factor, 0.025), demand)

    assert never_fewer(fleet(pools, Sla(ttft_s, 0.025), demand), loose)


@given(POOLS, loads, st.floats(0.001, 0.5), factors)
def test_a_tighter_itl_never_asks_for_fewer(pools, demand, itl_s, factor):
    """Also beyond feasibility, and where the KV cache is the limit: prop-1, prop-4."""
    loose = fleet(pools, Sla(0.5, itl_s * factor), demand)

    assert never_fewer(fleet(pools, Sla(0.5, itl_s), demand), loose)


@given(POOLS, loads, st.floats(0.5, 0.999), st.floats(0.0, 1.0))
def test_a_higher_goal_never_asks_for_fewer(pools, demand, goal, towards):
    higher = goal + (0.9995 - goal) * towards

    assert never_fewer(fleet(pools, Sla(0.5, 0.025, higher), demand), fleet(pools, Sla(0.5, 0.025, goal), demand))


@given(POOLS, loads, st.floats(0.4, 2.5), st.floats(1.0, 2.0))
def test_a_slower_engine_never_asks_for_fewer(pools, demand, slowness, factor):
    assert never_fewer(fleet(pools, SLA, demand, slowness * factor), fleet(pools, SLA, demand, slowness))


@given(loads, st.floats(1.0, 40.0), factors)
def test_burstier_traffic_never_asks_for_fewer(demand, dispersion, factor):
    calm, bursty = replace(demand, dispersion=dispersion), replace(demand, dispersion=dispersion * factor)

    assert never_fewer(fleet(SPLIT, SLA, bursty), fleet(SPLIT, SLA, calm))


@pytest.mark.parametrize("pools", [SPLIT, (AGGREGATED,)], ids=["split", "aggregated"])
@pytest.mark.parametrize("sla", [Sla(1e-4, 0.025), Sla(0.5, 1e-4)], ids=["ttft", "itl"])
def test_an_sla_out_of_reach_is_said_and_bounded(pools, sla):
    """prop-2: the peer went from 3 to 61 replicas in silence, and on without end."""
    answer = slo.size(pools, sla, load(45.0))

    assert answer.unreachable
    assert "best reachable" in answer.unreachable[0]
    assert answer.expected.attainment == 0.0
    # 45 requests/s × 300 ms alone = 14 busy; × 200 tokens × 4.3 ms = 39 in flight: nothing asks for hundreds
    assert all(n <= 120 for n in answer.replicas.values())


def test_no_traffic_needs_nobody():
    assert fleet(SPLIT, SLA, load(0.0)) == {"prefill": 0, "decode": 0}


@given(loads, st.floats(0.05, 20.0))
def test_the_price_and_the_share_agree_at_the_shadow_price(demand, factor):
    """A dearer miss never buys fewer replicas."""
    parts = slo.models(SPLIT, SLA, demand, {})
    price = slo.shadow_price(SPLIT, parts, 0.01)
    assume(price is not None)  # misses that end within a fraction of a replica have no price
    cheap = slo.at_price(SPLIT, parts, price, 0.03)
    dear = slo.at_price(SPLIT, parts, price * max(1.0, factor), 0.03)

    assert never_fewer(dear, cheap)


def test_the_worked_example_of_the_concepts_page():
    """40 requests/s of 1,200 tokens: 17 ms + 19 µs × 1,200 ≈ 40 ms each, so 1.7 busy, and headroom on top."""
    answer = slo.size(SPLIT, SLA, load(40.0))

    assert 2 <= answer.replicas["prefill"] <= 4
    assert answer.expected.attainment is not None
    assert answer.expected.attainment >= 0.99
