"""Several pools of one role: the cheapest mix that keeps the promise, and what it is worth."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.core.planner import Planner
from planner.core.policy import Pool
from planner.core.sizing import mix, slo
from planner.core.sizing.mix import Offer, cover
from planner.core.types import Role
from tests.core.worlds import AGGREGATED, DECODE, PREFILL, SLA, SPLIT, AffineDecode, AffinePrefill, load, policy, seen

PRICE, CAP = 3000.0, 0.03


@dataclass(frozen=True)
class SlowPrefill(AffinePrefill):
    """Half as fast."""

    def service_s(self, input_tokens: float) -> float:
        return 2.0 * super().service_s(input_tokens)


@dataclass(frozen=True)
class SlowDecode(AffineDecode):
    """Half as fast."""

    def itl_s(self, sequences: float, context_tokens: float) -> float:
        return 2.0 * super().itl_s(sequences, context_tokens)


@dataclass(frozen=True)
class SlowProfile:
    """An assumed older GPU: every time doubled."""

    name: str = "slow"
    prefill: SlowPrefill = SlowPrefill()
    decode: SlowDecode = SlowDecode()


def older(pool: Pool, cost: float, **more: object) -> Pool:
    return replace(pool, name=f"{pool.name}-old", profile=SlowProfile(), cost=cost, min_replicas=0, **more)


def free(pool: Pool, **more: object) -> Pool:
    return replace(pool, min_replicas=0, **more)


def wanted(pools, rate, held=None, ready=None, sla=SLA, **more):
    parts = slo.models(pools, sla, load(rate, **more), {})
    return mix.at_price(pools, parts, PRICE, CAP, held or {}, ready or {})


offers = st.lists(
    st.builds(
        Offer,
        least=st.integers(0, 2),
        most=st.integers(2, 6),
        price=st.floats(0.1, 8.0),
        worth=st.floats(0.2, 4.0),
        held=st.integers(0, 6),
    ),
    min_size=1,
    max_size=3,
)


@given(offers, st.floats(0.0, 30.0))
def test_the_cover_is_the_cheapest_there_is(offers, needed):
    """Against trying them all."""
    found = cover(offers, needed)
    fits = [
        counts
        for counts in itertools.product(*(range(o.least, o.most + 1) for o in offers))
        if sum(n * o.worth for n, o in zip(counts, offers, strict=True)) >= needed - 1e-6
    ]

    assert all(o.least <= n <= o.most for n, o in zip(found, offers, strict=True))
    if not fits:
        assert found == tuple(o.most for o in offers)
        return

    def cost(counts):
        return sum(o.cost(n) for n, o in zip(counts, offers, strict=True))

    assert found in fits
    assert cost(found) <= min(map(cost, fits)) + 1e-5


@given(st.floats(1.0, 3000.0))
def test_one_pool_of_each_role_is_sized_as_ever(rate):
    parts = slo.models(SPLIT, SLA, load(rate), {})
    fleet = slo.at_price(SPLIT, parts, PRICE, CAP)

    assert mix.at_price(SPLIT, parts, PRICE, CAP, {}, {}) == fleet
    assert mix.expect(SPLIT, parts, load(rate), fleet) == slo.expect(SPLIT, parts, load(rate), fleet)


@pytest.mark.parametrize("pool", [PREFILL, DECODE, AGGREGATED], ids=lambda pool: pool.name)
def test_cheap_capacity_is_taken_and_dear_capacity_left(pool):
    """At half the speed or less, an older GPU at a tenth of the price is a bargain; at a higher price it is none."""
    sla = replace(SLA, ttft_s=2.0, itl_s=0.1)
    bargain = wanted((free(pool), older(pool, 0.1)), 300.0, sla=sla)
    robbery = wanted((free(pool), older(pool, 1.1)), 300.0, sla=sla)

    assert bargain[pool.name] == 0 < bargain[f"{pool.name}-old"]
    assert robbery[f"{pool.name}-old"] == 0 < robbery[pool.name]
    assert bargain[f"{pool.name}-old"] >= 2 * robbery[pool.name] - 1


def test_what_is_scarce_is_filled_up_with_what_is_dear():
    pools = (free(PREFILL), older(PREFILL, 0.2, max_replicas=6))
    fleet = wanted(pools, 300.0)
    alone = wanted((free(PREFILL),), 300.0)["prefill"]

    assert fleet["prefill-old"] in (5, 6)  # the sixth, where it saves a new one
    assert alone - 4 <= fleet["prefill"] <= alone - 2  # six are worth three, but prompts on them take twice as long


def test_a_pool_that_cannot_keep_the_promise_is_not_used_however_cheap():
    """A single sequence takes 8.6 ms a token on the older GPU."""
    fleet = wanted((free(DECODE), older(DECODE, 0.01)), 100.0, sla=replace(SLA, itl_s=0.008))

    assert fleet["decode-old"] == 0 < fleet["decode"]


def test_in_a_mixed_pool_no_worker_gets_more_than_the_slowest_can_take():
    """Routers count sequences: beside workers that decode 60 in time, one that could decode 150 is given 60 too."""
    pools = (DECODE, older(DECODE, 0.4))
    parts = slo.models(pools, SLA, load(100.0), {})
    mixed = mix.equivalent(pools, parts, {"decode": 1, "decode-old": 1})
    fast, slow = parts["decode"], parts["decode-old"]
    count = slow.decoding.within(SLA.itl_s)
    steps = [model.decoding.curve.itl_s(count) for model in (fast, slow)]

    assert set(mixed) == {"decode-old"}
    assert mixed["decode-old"] == pytest.approx(1.0 + steps[1] / steps[0], rel=0.02)
    assert mixed["decode-old"] < 1.0 + slow.busy(1.0) / fast.busy(1.0)


def test_a_mix_stays_as_it_is_until_another_is_clearly_cheaper():
    """The older GPU does half the work; just below half the price it is cheaper, but not by enough to move."""
    fast = free(PREFILL)
    for cost, moves in ((0.45, False), (0.2, True)):
        pools = (fast, older(PREFILL, cost))
        alone = wanted((fast,), 300.0)
        fleet = wanted(pools, 300.0, held=alone)
        assert (fleet["prefill-old"] > 0) is moves
        assert (fleet["prefill"] == alone["prefill"]) is not moves


def test_what_is_to_be_replaced_stays_until_its_successor_serves():
    """A bargain has come up: it is asked for at once, and the old fleet goes as it becomes ready."""
    fast = free(PREFILL)
    alone = wanted((fast,), 300.0)
    pools = (fast, older(PREFILL, 0.2))
    settled = wanted(pools, 300.0, held=alone)
    count = settled["prefill-old"]
    kept = [
        wanted(pools, 300.0, {**alone, "prefill-old": count}, {**alone, "prefill-old": ready})
        for ready in (0, count // 2, count)
    ]

    assert settled["prefill"] == 0 < count
    assert kept[0] == {"prefill": alone["prefill"], "prefill-old": count}
    assert 0 < kept[1]["prefill"] < alone["prefill"]
    assert kept[2] == settled


@given(st.floats(1.0, 800.0), st.floats(1.0, 1.5), st.floats(0.1, 1.5))
def test_more_traffic_never_needs_less_capacity(rate, factor, cost):
    """Counts may change places; what they are worth together does not fall, nor does what they cost."""
    pools = (free(PREFILL), older(PREFILL, cost))
    less, more = wanted(pools, rate), wanted(pools, rate * factor)

    def money(fleet):
        return sum(fleet[pool.name] * pool.price for pool in pools)

    assert money(less) <= money(more) + 1e-6


@given(st.floats(20.0, 500.0), st.floats(0.15, 1.2))
def test_the_cheapest_mix_is_never_dearer_than_either_alone(rate, cost):
    pools = (free(DECODE), older(DECODE, cost))
    both = wanted(pools, rate)
    alone = [wanted((pool,), rate)[pool.name] * pool.price for pool in pools]

    assert sum(both[pool.name] * pool.price for pool in pools) <= min(alone) + 1e-6


def test_the_law_steers_two_kinds_of_gpu():
    """Within its bound the older GPU carries what it can; the rest goes to the new one, and the promise holds."""
    pools = (free(PREFILL), older(PREFILL, 0.2, max_replicas=4), DECODE)
    planner, fleet = Planner(policy(pools=pools)), {"prefill": 2, "prefill-old": 0, "decode": 2}
    for i in range(120):
        decision = planner.step(seen(5.0 * i, 200.0, fleet))
        fleet = dict(decision.replicas)
    last = planner.step(seen(600.0, 200.0, fleet))

    assert last.replicas["prefill-old"] == 4
    assert last.replicas["prefill"] >= 6
    assert last.expected.attainment > 0.98
    assert math.isclose(sum(last.corrections.values()), len(last.corrections))  # no prompt's worker is told


def test_roles_come_in_order_and_each_has_a_lead():
    pools = (PREFILL, DECODE, older(PREFILL, 0.5))

    assert [[pool.name for pool in group] for group in mix.groups(pools)] == [["prefill", "prefill-old"], ["decode"]]
    assert [pool.name for pool in mix.leads(pools)] == ["prefill", "decode"]
    assert {Role.PREFILL, Role.DECODE} == {pool.role for pool in mix.leads(pools)}
