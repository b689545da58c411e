"""Promises of a percentile, a mean or a share: sized for alike, each with a budget and a price of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from planner.core.attainment import let_down
from planner.core.constraints import constrain
from planner.core.policy import Measure, Promise, Sla, What
from planner.core.sizing import slo
from planner.core.types import PoolReading
from tests.core.worlds import AGGREGATED, SPLIT, histogram, load, loads, policy

POOLS = st.sampled_from([SPLIT, (AGGREGATED,)])
MEAN = Measure()
measures = st.one_of(st.just(MEAN), st.floats(0.3, 0.999).map(Measure), st.none())
slas = st.builds(
    lambda ttft_s, itl_s, ttft, itl: Sla(ttft_s, itl_s, 0.99, ttft, itl),
    st.floats(0.001, 3.0), st.floats(0.001, 0.3), measures, measures,
)  # fmt: skip
factors = st.floats(1.0, 8.0)


def fleet(pools, sla, demand, slowness=1.0):
    return slo.size(pools, sla, demand, {pool.name: slowness for pool in pools}).replicas


def never_fewer(more, less):
    return all(more[name] >= less[name] for name in less)


@given(POOLS, slas, loads, factors)
def test_more_traffic_never_asks_for_fewer(pools, sla, demand, factor):
    busier = replace(demand, rates=tuple(rate * factor for rate in demand.rates))

    assert never_fewer(fleet(pools, sla, busier), fleet(pools, sla, demand))


@example((AGGREGATED,), Sla(1.0, 0.25), load(18.0, 50.0, 54.0, 23.0), 0.375, 0.99)  # less than a replica
@given(POOLS, slas, loads, st.floats(0.3, 3.0), st.sampled_from([0.5, 0.99, 1.0, 1.01, 2.0]))
def test_a_fleet_is_enough_where_its_misses_are_allowed(pools, sla, demand, factor, part):
    """Most of sizing asks only whether misses are few enough, and is answered before they are all counted."""
    for promise in sla.promises:
        counting, asking = (slo.by_promise(sla, slo.models(pools, sla, demand, {}))[promise] for _ in range(2))
        for name, model in counting.items():
            n = factor * max(1.0, model.busy(demand.mean_rate))
            missed = model.missed_per_s(n)

            assert asking[name].keeps_within(n, part * missed) == (missed <= part * missed)
            assert asking[name].missed_per_s(n) == missed == model.missed_per_s(n)


@given(POOLS, slas, loads, factors, factors)
def test_tighter_targets_never_ask_for_fewer(pools, sla, demand, ttft, itl):
    """Also beyond what any fleet can keep."""
    tight = replace(sla, ttft_s=sla.ttft_s / ttft, itl_s=sla.itl_s / itl)

    assert never_fewer(fleet(pools, tight, demand), fleet(pools, sla, demand))


@given(POOLS, slas, loads, st.floats(0.4, 2.5), st.floats(1.0, 2.0))
def test_a_slower_engine_never_asks_for_fewer(pools, sla, demand, slowness, factor):
    assert never_fewer(fleet(pools, sla, demand, slowness * factor), fleet(pools, sla, demand, slowness))


@given(POOLS, loads, st.floats(0.3, 0.99), st.floats(0.0, 1.0))
def test_a_higher_percentile_never_asks_for_fewer(pools, demand, share, towards):
    low, high = Measure(share), Measure(share + (0.9995 - share) * towards)
    lax, strict = (Sla(0.5, 0.025, ttft=measure, itl=measure) for measure in (low, high))

    assert never_fewer(fleet(pools, strict, demand), fleet(pools, lax, demand))


@given(POOLS, slas, loads, st.integers(2, 60))
def test_budget_and_bounds_hold_whatever_is_promised(pools, sla, demand, budget):
    bounded = tuple(replace(pool, min_replicas=1, max_replicas=20) for pool in pools)
    allowed, _ = constrain(policy(sla=sla, pools=bounded, budget_gpus=budget), fleet(bounded, sla, demand), [])

    assert sum(allowed.values()) <= budget
    assert all(1 <= n <= 20 for n in allowed.values())


@given(slas, loads)
def test_a_pool_gets_what_the_more_demanding_promise_asks_for(sla, demand):
    """One pool under two promises has no fewer than under either of them with the other one lax."""
    lax = {"ttft": replace(sla, ttft_s=1e4), "itl": replace(sla, itl_s=1e4)}

    for one in lax.values():
        assert never_fewer(fleet((AGGREGATED,), sla, demand), fleet((AGGREGATED,), one, demand))


@given(loads)
def test_a_joint_promise_costs_no_less_than_each_latency_at_its_share(demand):
    """Its misses add up: two pools at 99 % each keep about 98 %."""
    own = Sla(0.5, 0.025, ttft=Measure(0.99), itl=Measure(0.5))

    assert fleet(SPLIT, Sla(0.5, 0.025), demand)["prefill"] >= fleet(SPLIT, own, demand)["prefill"]


@pytest.mark.parametrize("pools", [SPLIT, (AGGREGATED,)], ids=["split", "aggregated"])
@pytest.mark.parametrize(
    ("sla", "said"),
    [
        (Sla(1e-4, 0.025, ttft=MEAN), "mean TTFT 0.1 ms"),
        (Sla(0.5, 1e-4, itl=MEAN), "mean ITL 0.1 ms"),
        (Sla(1e-4, 0.025, ttft=Measure(0.95)), "p95 TTFT 0.1 ms"),
    ],
)
def test_what_is_out_of_reach_is_said_and_bounded(pools, sla, said):
    answer = slo.size(pools, sla, load(45.0))

    assert said in answer.unreachable[0]
    assert "best reachable" in answer.unreachable[0]
    assert all(n <= 120 for n in answer.replicas.values())


def test_a_full_cache_is_not_excused_by_a_lax_mean_of_itl():
    """A worker with a full KV cache makes requests wait, and no ITL target that is never reached would notice."""
    long = load(20.0, isl=8000.0, osl=800.0)
    found = fleet(SPLIT, Sla(5.0, 10.0, itl=MEAN), long)["decode"]
    parts = slo.models(SPLIT, Sla(5.0, 10.0), long, {})

    assert found > parts["decode"].busy(20.0)
    assert parts["decode"].missed_per_s(found) <= 0.01 * 20.0


def test_what_is_promised_is_told_apart():
    assert [p.name for p in Sla(0.5, 0.025).promises] == ["both"]
    assert [p.name for p in Sla(0.5, 0.025, 0.9, ttft=MEAN).promises] == ["mean TTFT", "p90 ITL"]
    assert [p.name for p in Sla(0.5, 0.025, itl=Measure(0.999)).promises] == ["p99 TTFT", "p99.9 ITL"]
    with pytest.raises(ValueError, match="between 0 and 1"):
        Measure(1.0)


@pytest.mark.parametrize(
    ("what", "measure", "taken"),
    [
        (What.TTFT, Measure(0.95), 0.25),  # 25 of 100 first tokens late
        (What.TTFT, MEAN, 0.7 / 0.5),  # (75 × 0.2 s + 25 × 2.2 s) / 100
        (What.ITL, Measure(0.9), 1.0),  # the mean step of the pool is above the target
        (What.ITL, MEAN, 0.030 / 0.025),
        (What.BOTH, Measure(0.99), 1.0),  # shares add up, to no more than all
    ],
)
def test_what_a_window_takes_from_a_promise(what, measure, taken):
    first = histogram("ttft", 0.2, 75).plus(histogram("ttft", 2.2, 25))
    decoding = [PoolReading(1, 1, step_seconds=histogram("itl", 0.030, 500))]

    assert let_down(Promise(what, measure), Sla(0.5, 0.025), first, decoding) == pytest.approx(taken)


@pytest.mark.parametrize(
    ("what", "measure", "taken"),
    [
        (What.ITL, Measure(0.9), 0.2),  # 2 of 10 answers slower than the target, an edge; the mean step is not
        (What.ITL, MEAN, (8 * 0.012 + 2 * 0.040) / 10 / 0.025),  # over requests, not over token gaps
        (What.BOTH, Measure(0.99), 0.45),
    ],
)
def test_requests_own_itl_goes_before_the_steps_of_their_workers(what, measure, taken):
    first = histogram("ttft", 0.2, 75).plus(histogram("ttft", 2.2, 25))
    own = histogram("request_itl", 0.012, 8).plus(histogram("request_itl", 0.040, 2))
    decoding = [PoolReading(1, 1, step_seconds=histogram("itl", 0.015, 500), request_itl=own)]

    assert let_down(Promise(what, measure), Sla(0.5, 0.025), first, decoding) == pytest.approx(taken)
