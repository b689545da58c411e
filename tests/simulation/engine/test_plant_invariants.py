"""What must hold whatever happens to a plant."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulation.engine.rigs import chat, engine_like, plant

FLEETS = st.sampled_from(
    [{"prefill": 2, "decode": 1}, {"prefill": 1, "decode": 3}, {"aggregated": 1}, {"aggregated": 3}]
)
ROUTERS = st.sampled_from(["least-loaded", "round-robin", "kv"])
TOGETHER = st.booleans()  # prompts share steps, also in prefill workers
few = settings(max_examples=25, deadline=None)


def ran(seed, fleet, router="least-loaded", rate=12.0, cuts=(), **parameters):
    arrivals, isl, osl = chat(rate, 40.0, seed)
    rig = plant(arrivals, isl, osl, engine_like(router=router, **parameters), fleet)
    for at in cuts:
        rig.advance(at)
    rig.advance(arrivals[-1] + 4000.0)
    return rig, arrivals, isl, osl


@few
@given(st.integers(0, 10_000), FLEETS, ROUTERS, TOGETHER)
def test_everybody_is_served_and_nobody_before_time(seed, fleet, router, together):
    rig, _, isl, osl = ran(seed, fleet, router, prompts_together=together)
    ttft, itl = rig.outcomes()
    counted = rig.counters()

    assert rig.in_flight == 0
    assert counted.started == counted.finished == len(isl)
    assert counted.failed == 0
    least = np.interp(isl, [0, 100, 4000, 16_000], [0.01, 0.02, 0.09, 0.37])
    assert (ttft >= 0.9 * least).all()
    assert (itl[osl > 1] >= 0.99 * 0.0044).all()
    assert (itl[osl == 1] == 0).all()


@few
@given(st.integers(0, 10_000), FLEETS, TOGETHER)
def test_tokens_are_conserved(seed, fleet, together):
    """What was counted live is what was asked for, at the end."""
    rig, _, isl, osl = ran(seed, fleet, prompts_together=together)
    counted = rig.counters()

    assert counted.generated_tokens == pytest.approx(float(osl.sum()), rel=2e-3)
    assert counted.input_tokens_sum == isl.sum()
    assert counted.output_tokens_sum == osl.sum()
    assert counted.ttft.sum() == counted.duration.sum() == len(isl)
    assert counted.itl.sum() == pytest.approx(float((osl - 1).sum()), rel=5e-3, abs=len(osl) * 0.02)


@few
@given(st.integers(0, 10_000), FLEETS, st.lists(st.floats(0.1, 45.0), max_size=12), TOGETHER)
def test_looking_changes_nothing(seed, fleet, cuts, together):
    """Advancing in pieces gives the same outcomes as one go."""
    whole = ran(seed, fleet, prompts_together=together)[0]
    pieces = ran(seed, fleet, cuts=sorted(cuts), prompts_together=together)[0]

    for a, b in zip(whole.outcomes(), pieces.outcomes(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@few
@given(st.integers(0, 10_000), FLEETS, st.floats(1.0, 30.0))
def test_a_copy_has_the_same_future_and_its_own(seed, fleet, at):
    arrivals, isl, osl = chat(12.0, 40.0, seed)
    rig = plant(arrivals, isl, osl, engine_like(), fleet)
    rig.advance(at)
    twin = rig.copy()
    rig.advance(1e5)
    before = twin.counters().finished
    twin.advance(1e5)

    assert before <= twin.counters().finished
    for a, b in zip(rig.outcomes(), twin.outcomes(), strict=True):
        np.testing.assert_array_equal(a, b)


@few
@given(st.integers(0, 10_000))
def test_the_same_seed_is_the_same_run(seed):
    a, b = ran(seed, {"prefill": 2, "decode": 2})[0], ran(seed, {"prefill": 2, "decode": 2})[0]

    np.testing.assert_array_equal(a.outcomes()[0], b.outcomes()[0])


@few
@given(st.integers(0, 10_000), FLEETS, st.integers(3000, 30_000), TOGETHER)
def test_the_kv_cache_never_overflows(seed, fleet, capacity, together):
    """Tight caches: requests wait or are preempted and recomputed; those that never fit are refused."""
    arrivals, isl, osl = chat(10.0, 20.0, seed)
    parameters = engine_like(kv_capacity_tokens=float(capacity), prompts_together=together)
    rig = plant(arrivals, isl, osl, parameters, fleet)
    pool = list(fleet)[-1]
    for at in np.arange(0.5, 25.0, 0.5):
        rig.advance(at)
        assert all(worker.kv_usage <= 1.0 + 1e-6 for worker in rig.gauges(pool).values())
    rig.advance(1e5)

    assert rig.in_flight == 0
    assert rig.counters().failed == (isl + 1 > capacity).sum() or rig.counters().preemptions > 0


@few
@given(st.integers(0, 10_000), FLEETS, st.floats(1.0, 30.0), TOGETHER)
def test_draining_loses_nothing(seed, fleet, at, together):
    arrivals, isl, osl = chat(12.0, 40.0, seed)
    ready = {pool: n + 1 for pool, n in fleet.items()}
    rig = plant(arrivals, isl, osl, engine_like(prompts_together=together), ready)
    rig.advance(at)
    first_of_each = [0, fleet[next(iter(fleet))] + 1][: len(fleet)]
    for worker in first_of_each:
        rig.drain(worker)
    rig.advance(1e5)

    assert rig.counters().failed == 0
    assert rig.in_flight == 0
    assert all((rig.ended_s(worker) or 0.0) >= at for worker in first_of_each)


@few
@given(st.integers(0, 10_000), FLEETS, st.floats(1.0, 30.0), st.booleans(), TOGETHER)
def test_a_killed_worker_loses_its_own_or_hands_them_on(seed, fleet, at, migrate, together):
    arrivals, isl, osl = chat(12.0, 40.0, seed)
    parameters = engine_like(migrate=migrate, prompts_together=together)
    rig = plant(arrivals, isl, osl, parameters, {pool: n + 1 for pool, n in fleet.items()})
    rig.advance(at)
    under_way = rig.in_flight
    rig.kill(0)
    rig.advance(1e5)
    _ttft, itl = rig.outcomes()
    lost = int(np.isnan(itl).sum())

    assert rig.in_flight == 0
    assert lost == rig.counters().failed
    assert lost <= under_way
    assert not (migrate and lost)


def test_a_pool_without_workers_keeps_requests_at_the_door():
    arrivals, isl, osl = chat(5.0, 10.0, 1)
    rig = plant(arrivals, isl, osl, engine_like(), {"prefill": 0, "decode": 1})
    rig.advance(12.0)
    assert rig.counters().waiting_at_the_door == np.searchsorted(arrivals, 12.0)

    rig.add("prefill")
    rig.advance(1e5)

    assert rig.in_flight == 0
    assert rig.counters().failed == 0


def test_impatient_clients_give_up_and_try_again():
    """Sixty at once, 30 ms each: half a second serves about sixteen; who tries again is served later, counted once."""
    arrivals = np.zeros(60)
    gone = plant(arrivals, 660, 20, engine_like(timeout_s=0.5), {"prefill": 1, "decode": 1})
    again = plant(arrivals, 660, 20, engine_like(timeout_s=0.5, retries=2), {"prefill": 1, "decode": 1})
    for rig in (gone, again):
        rig.advance(1e5)
        assert rig.in_flight == 0
        assert rig.counters().started == 60

    assert 12 <= 60 - gone.counters().failed <= 17
    assert again.counters().failed < gone.counters().failed
    assert np.nanmax(again.outcomes()[0]) > 1.0  # a later try counts from the first arrival


def test_shared_prefixes_are_prefilled_once():
    """The same ten blocks for all: the kv router sends them where they are, and only the rest is computed."""
    arrivals = np.arange(40) * 0.5
    ids, starts = np.tile(np.arange(10, dtype=np.int32), 40), np.arange(41, dtype=np.int64) * 10
    parameters = engine_like(router="kv", block_tokens=100)
    rig = plant(arrivals, 1100, 5, parameters, {"prefill": 4, "decode": 1}, block_ids=ids, block_starts=starts)
    rig.advance(1e4)
    ttft, _ = rig.outcomes()

    assert rig.counters().cached_tokens == 39 * 1000
    assert ttft[1:].max() < ttft[0]


def test_a_small_cache_forgets_the_least_recently_used():
    """Two prefixes that do not fit together, asked for in turn: nobody ever hits."""
    arrivals = np.arange(20) * 1.0
    ids = np.concatenate([np.arange(10) + 10 * (i % 2) for i in range(20)]).astype(np.int32)
    starts = np.arange(21, dtype=np.int64) * 10
    parameters = engine_like(block_tokens=100, cache_tokens=1200)
    rig = plant(arrivals, 1100, 2, parameters, {"prefill": 1, "decode": 1}, block_ids=ids, block_starts=starts)
    rig.advance(1e4)

    assert rig.counters().cached_tokens <= 19 * 200
