"""Several pools of one role, on different hardware, in one plant."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.simulation.engine import PlantParameters, PoolParameters
from planner.simulation.engine.parameters import Hardware
from tests.simulation.engine.rigs import chat, engine_like, plant

ROUTERS = st.sampled_from(["least-loaded", "round-robin", "kv"])
few = settings(max_examples=15, deadline=None)


def like(parameters: PlantParameters, role: str, **more: object) -> PoolParameters:
    """A pool of the plant's own hardware, but for ``more``."""
    own = {f.name: getattr(parameters, f.name) for f in fields(Hardware)}
    return PoolParameters(**{**own, **more}, role=role)


def slower(role: str, **more: object) -> PlantParameters:
    """A plant whose pool ``slow`` takes twice as long for everything."""
    plain = engine_like(**more)
    return engine_like(**more, pools={"slow": like(plain, role, prefill_scale=2.0, decode_scale=2.0)})


@few
@given(
    st.integers(0, 10_000),
    st.sampled_from([("prefill", "decode"), ("decode", "prefill"), ("aggregated", None)]),
    ROUTERS,
    st.booleans(),
)
def test_two_pools_of_the_same_hardware_are_one(seed, roles, router, together):
    """The same workers under two names: every outcome and counter to the bit."""
    role, other = roles
    parameters = engine_like(router=router, prompts_together=together)
    split = engine_like(router=router, prompts_together=together, pools={"more": like(parameters, role)})
    rest = {other: 2} if other else {}
    arrivals, isl, osl = chat(25.0, 30.0, seed)
    one = plant(arrivals, isl, osl, parameters, {role: 4, **rest})
    two = plant(arrivals, isl, osl, split, {role: 2, "more": 2, **rest})
    for rig in (one, two):
        rig.advance(1e5)

    for a, b in zip(one.outcomes(), two.outcomes(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.counters().generated_tokens == two.counters().generated_tokens


@few
@given(st.integers(0, 10_000), st.sampled_from(["prefill", "decode", "aggregated"]), ROUTERS, st.booleans())
def test_everybody_is_served_on_mixed_hardware(seed, role, router, together):
    """Small slow workers that batch their prompts beside quick ones that may not; one of them drains, one dies."""
    plain = engine_like(router=router, prompts_together=together, migrate=True)
    slow = like(
        plain, role, prefill_scale=2.0, decode_scale=2.0, kv_capacity_tokens=40_000.0, prompts_together=True,
        max_sequences=64,
    )  # fmt: skip
    parameters = engine_like(router=router, prompts_together=together, migrate=True, pools={"slow": slow})
    quick = {"aggregated": 2} if role == "aggregated" else {"prefill": 2, "decode": 2}
    arrivals, isl, osl = chat(20.0, 30.0, seed)
    rig = plant(arrivals, isl, osl, parameters, {"slow": 3, **quick})
    rig.advance(10.0)
    rig.drain(0)
    rig.kill(1)
    rig.advance(20.0)
    usage = [worker.kv_usage for pool in rig.pools for worker in rig.gauges(pool).values()]
    rig.advance(1e5)

    counted = rig.counters()
    assert max(usage) <= 1.0
    assert rig.in_flight == 0
    assert counted.finished == len(isl)
    assert counted.failed == 0
    assert counted.output_tokens_sum == osl.sum()


@pytest.mark.parametrize("role", ["prefill", "decode", "aggregated"])
def test_a_pool_twice_as_slow_is_slower_by_as_much(role):
    """The same trickle through either pool alone: nobody waits, so what the pool does takes twice as long."""
    arrivals = np.arange(20) * 5.0
    rest = {"prefill": {"decode": 1}, "decode": {"prefill": 1}, "aggregated": {}}[role]
    free = {"transfer_base_s": 0.0, "transfer_per_token_s": 0.0}
    quick, slow = (plant(arrivals, 2000, 100, slower(role, **free), {pool: 1, **rest}) for pool in (role, "slow"))
    for rig in (quick, slow):
        rig.advance(1e4)
    ttft, itl = (b / a for a, b in zip(quick.outcomes(), slow.outcomes(), strict=True))

    prompts, tokens = role != "decode", role != "prefill"
    np.testing.assert_allclose(itl, 2.0 if tokens else 1.0, rtol=1e-4)
    if role == "aggregated":
        np.testing.assert_allclose(ttft, 2.0, rtol=1e-4)
    else:
        assert (ttft > 1.7 if prompts else ttft < 1.2).all()


def test_decode_workers_meet_the_same_count_on_any_hardware():
    """Least-loaded counts requests, as real routers do: the slow pool holds as many, and its users wait twice."""
    arrivals, isl, osl = chat(30.0, 120.0, 3)
    rig = plant(arrivals, isl, osl, slower("decode"), {"prefill": 6, "decode": 1, "slow": 1})
    rig.advance(100.0)
    (quick,), (slow,) = (list(rig.gauges(pool).values()) for pool in ("decode", "slow"))

    assert abs(quick.running - slow.running) <= 2
    mean_gap = [worker.itl_sum / worker.itl.sum() for worker in (quick, slow)]
    assert mean_gap[1] == pytest.approx(2.0 * mean_gap[0], rel=0.15)


def test_the_kv_router_fills_caches_alike():
    """A cache a quarter as large gets a quarter of the tokens; by count it would get half of them."""
    arrivals, isl, osl = chat(40.0, 120.0, 4)
    shares = {}
    for router in ("kv", "least-loaded"):
        plain = engine_like(router=router)
        small = like(plain, "decode", kv_capacity_tokens=plain.kv_capacity_tokens / 4)
        parameters = engine_like(router=router, pools={"small": small})
        rig = plant(arrivals, isl, osl, parameters, {"prefill": 8, "decode": 1, "small": 1})
        rig.advance(100.0)
        (large,), (little,) = (list(rig.gauges(pool).values()) for pool in ("decode", "small"))
        shares[router] = little.kv_usage / large.kv_usage

    assert shares["kv"] == pytest.approx(1.0, abs=0.2)
    assert shares["least-loaded"] > 3.0


@pytest.mark.parametrize(("router", "prompts_of_the_slow_one"), [("kv", 20), ("least-loaded", 30)])
def test_the_kv_router_gives_prompts_to_who_is_done_sooner(router, prompts_of_the_slow_one):
    """Sixty prompts of 90 ms at once, two workers, one twice as slow: 40 and 20 end together, 30 and 30 do not."""
    rig = plant(np.zeros(60), 4000, 1, slower("prefill", router=router), {"prefill": 1, "slow": 1, "decode": 60})
    rig.advance(1e4)
    ttft, _ = rig.outcomes()

    assert ttft.max() == pytest.approx(prompts_of_the_slow_one * 0.18, abs=0.1)


def test_pools_that_make_no_plant_are_refused():
    parameters = slower("decode")

    with pytest.raises(ValueError, match="'fast' has no parameters"):
        plant(np.zeros(1), 10, 2, parameters, {"prefill": 1, "fast": 1})
    with pytest.raises(ValueError, match="do decode: needed are"):
        plant(np.zeros(1), 10, 2, parameters, {"slow": 1})
    with pytest.raises(ValueError, match="needed are"):
        plant(np.zeros(1), 10, 2, parameters, {"prefill": 1, "slow": 1, "aggregated": 1})
    with pytest.raises(ValueError, match="role 'encode'"):
        like(parameters, "encode")
