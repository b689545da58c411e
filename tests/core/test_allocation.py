"""A budget shared by marginal value: what always holds, and worked examples."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.core.allocation import Claim, shared, way_up, with_little_change

ONE_GPU = {"prefill": 1.0, "decode": 1.0}


def claim(rate: float, needs: dict[str, int], wanted: dict[str, int], power: float = 1.0, **more: object) -> Claim:
    """A chain of pools that keeps ``rate`` requests per second where every pool has what it needs.

    ``power`` above 1 is a queue: most of the way to enough keeps next to nothing.
    """

    def kept(fleet: dict[str, int]) -> float:
        return rate * min(1.0, *(fleet[pool] / n for pool, n in needs.items())) ** power

    given = {"least": {pool: min(1, n) for pool, n in wanted.items()}, "price": ONE_GPU, **more}
    return Claim(wanted=wanted, kept=kept, **given)  # type: ignore[arg-type]


def whole(rate: float, n: int, power: float = 1.0, **more: object) -> Claim:
    """One pool that needs all of the ``n`` that it wants."""
    return claim(rate, {"decode": n}, {"decode": n}, power, **more)


@st.composite
def claims(draw: st.DrawFn, prices: st.SearchStrategy[float] | None = None) -> dict[str, Claim]:
    """Two to five policies with one or two pools each."""
    found = {}
    for name in "abcde"[: draw(st.integers(2, 5))]:
        pools = ("prefill", "decode")[: draw(st.integers(1, 2))]
        wanted = {pool: draw(st.integers(0, 12)) for pool in pools}
        needs = {pool: draw(st.integers(1, 12)) for pool in pools}
        found[name] = claim(
            draw(st.floats(0.0, 100.0)),
            needs,
            wanted,
            draw(st.sampled_from([0.5, 1.0, 3.0, 30.0])),
            weight=draw(st.floats(0.1, 10.0)),
            price={pool: draw(prices) if prices is not None else 1.0 for pool in pools},
        )
    return found


def spent(claims: dict[str, Claim], fleets: dict[str, dict[str, int]]) -> float:
    return sum(claim.cost(fleets[name]) for name, claim in claims.items())


def minimum(claims: dict[str, Claim]) -> float:
    return sum(claim.cost(claim.least) for claim in claims.values())


budgets = st.integers(0, 150)
held = st.dictionaries(st.sampled_from("abcde"), st.fixed_dictionaries({p: st.integers(0, 15) for p in ONE_GPU}))


@given(claims(st.sampled_from([0.5, 1.0, 2.0, 4.0, 8.0])), budgets, held)
def test_the_sum_never_exceeds_the_budget_and_every_bound_holds(claims, budget, held):
    for fleets in (shared(claims, budget), with_little_change(claims, {n: held.get(n, {}) for n in claims}, budget)):
        assert spent(claims, fleets) <= budget + 1e-6
        for name, claim in claims.items():
            assert all(0 <= fleets[name][pool] <= n for pool, n in claim.wanted.items())
            if minimum(claims) <= budget:
                assert all(fleets[name][pool] >= n for pool, n in claim.least.items())


@given(claims(), budgets)
def test_nothing_is_left_over_while_somebody_wants_it(claims, budget):
    """Replicas of one price always fit."""
    wanted = sum(claim.cost(claim.wanted) for claim in claims.values())
    if minimum(claims) <= budget:
        assert spent(claims, shared(claims, budget)) == min(budget, wanted)


@given(claims(), budgets)
def test_a_larger_budget_takes_nothing_from_anybody(claims, budget):
    less, more = shared(claims, budget), shared(claims, budget + 1)

    if minimum(claims) <= budget:
        assert all(less[name][pool] <= more[name][pool] for name in claims for pool in less[name])


@given(claims(), budgets, st.floats(1.0, 5.0))
def test_more_priority_never_gives_less(claims, budget, factor):
    heavier = {**claims, "a": replace(claims["a"], weight=factor * claims["a"].weight)}
    before, after = shared(claims, budget)["a"], shared(heavier, budget)["a"]

    if minimum(claims) <= budget:
        assert all(before[pool] <= after[pool] for pool in before)


@given(claims(), budgets)
def test_who_keeps_what_it_has_stays_when_nothing_changes(claims, budget):
    fleets = with_little_change(claims, {name: {} for name in claims}, budget)

    if minimum(claims) <= budget:
        assert with_little_change(claims, fleets, budget) == fleets


def test_enough_for_all_is_given_to_all():
    both = {"a": whole(10.0, 4), "b": whole(20.0, 6)}

    assert shared(both, 10) == {"a": {"decode": 4}, "b": {"decode": 6}}


def test_a_gpu_goes_where_it_keeps_most():
    """Each of a's replicas keeps 5 requests/s, each of b's 2: a has all it wants, b the rest."""
    assert shared({"a": whole(20.0, 4), "b": whole(12.0, 6)}, 7) == {"a": {"decode": 4}, "b": {"decode": 3}}


def test_priority_turns_the_order():
    """Three times 2 is more than 5."""
    turned = {"a": whole(20.0, 4), "b": whole(12.0, 6, weight=3.0)}

    assert shared(turned, 7) == {"a": {"decode": 1}, "b": {"decode": 6}}


def test_a_queue_that_is_half_served_keeps_nobody():
    """With 8 GPUs for two queues that need 6 each, one is served whole; at half each both would keep nothing."""
    queues = {"a": whole(10.0, 6, power=30.0), "b": whole(11.0, 6, power=30.0)}
    fleets = shared(queues, 8)

    assert fleets == {"a": {"decode": 2}, "b": {"decode": 6}}
    assert sum(queues[name].kept(fleets[name]) for name in queues) == pytest.approx(11.0, rel=1e-3)


def test_a_chain_is_shortened_evenly_when_it_is_overloaded_anyway():
    """Nothing is kept by either fleet, so both pools keep the same part of their wish."""
    hopeless = claim(0.0, {"prefill": 1}, {"prefill": 8, "decode": 4})
    way = way_up(hopeless)

    assert way[0] == {"prefill": 1, "decode": 1}
    assert {"prefill": 4, "decode": 2} in way
    assert way[-1] == {"prefill": 8, "decode": 4}


def test_the_dearer_pool_waits_for_its_turn():
    """In cost: b's GPUs keep twice as many requests and cost four times as much."""
    priced = {"a": whole(20.0, 4, price={"decode": 1.0}), "b": whole(40.0, 4, price={"decode": 4.0})}

    assert shared(priced, 12.0) == {"a": {"decode": 4}, "b": {"decode": 2}}


def test_a_replica_that_does_not_fit_leaves_its_place_to_one_that_does():
    sizes = {"a": whole(80.0, 2, price={"decode": 8.0}), "b": whole(3.0, 4, price={"decode": 1.0})}

    assert shared(sizes, 12.0) == {"a": {"decode": 1}, "b": {"decode": 4}}


def test_when_not_even_the_smallest_fleets_fit_the_heaviest_serve():
    three = {name: whole(10.0, 3, weight=weight) for name, weight in (("a", 1.0), ("b", 2.0), ("c", 3.0))}

    assert shared(three, 2) == {"a": {"decode": 0}, "b": {"decode": 1}, "c": {"decode": 1}}


def test_small_gains_move_nobody():
    """A's load has become a little worth more than b's; the replicas that b holds stay where they serve."""
    now = {"a": whole(10.01, 5), "b": whole(10.0, 5)}
    held = {"a": {"decode": 1}, "b": {"decode": 5}}

    assert shared(now, 6) == {"a": {"decode": 5}, "b": {"decode": 1}}
    assert with_little_change(now, held, 6) == held
    assert with_little_change({**now, "a": whole(13.0, 5)}, held, 6) == {"a": {"decode": 5}, "b": {"decode": 1}}
