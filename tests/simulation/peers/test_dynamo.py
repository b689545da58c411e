"""Dynamo's thresholds: by hand, blind, while replicas start, and in a run."""

from __future__ import annotations

import pytest

from planner.core.types import Reason
from planner.simulation.peers.dynamo import LATENCY, THROUGHPUT, ordered
from planner.simulation.peers.dynamo_budget import Budget
from tests.simulation.peers import rigs

SHORT = {"context_tokens": 8000.0}
CALM = rigs.worker("0", kv=0.7)


@pytest.mark.parametrize(
    ("queued", "asked"),
    [
        ((0.0, 8000.0), 3),  # one engine with a context length in its queue is enough
        ((799.0, 0.0), 1),  # all below a tenth of it; 2 × 799 / 8000 would be no cause to grow again
        ((800.0, 0.0), 2),
        ((7999.0, 0.0), 2),
    ],
)
def test_prefill_by_hand(queued: tuple[float, float], asked: int) -> None:
    law = THROUGHPUT.decider(rigs.site(), SHORT)
    prefill = rigs.reading(*(rigs.worker(str(k), tokens=tokens) for k, tokens in enumerate(queued)))
    decision = law.step(rigs.seen(0.0, {"prefill": prefill, "decode": rigs.reading(CALM)}))
    assert rigs.fleet(decision) == (asked, 1)


@pytest.mark.parametrize(
    ("usage", "asked"),
    [
        ((0.999, 0.0), 2),
        ((0.59, 0.1), 2),  # below 60 %, but 2 × 0.59 = 1.18 of one cache would be above 100 %
        ((0.49, 0.1), 1),
        ((0.61, 0.1), 2),
    ],
)
def test_decode_by_hand(usage: tuple[float, float], asked: int) -> None:
    law = THROUGHPUT.decider(rigs.site(), SHORT)
    decode = rigs.reading(*(rigs.worker(str(k), kv=share) for k, share in enumerate(usage)))
    prefill = rigs.reading(rigs.worker("0", tokens=4000))
    assert rigs.fleet(law.step(rigs.seen(0.0, {"prefill": prefill, "decode": decode}))) == (1, asked)


def test_what_waits_beside_a_full_cache_counts() -> None:
    law = THROUGHPUT.decider(rigs.site("aggregated"), SHORT)
    full = rigs.worker("0", kv=0.95, waiting=40, tokens=60_000)  # 0.95 + 60,000 / 945,029 = 1.013
    assert rigs.fleet(law.step(rigs.seen(0.0, {"aggregated": rigs.reading(full)}))) == (2,)


def test_latency_holds_lower_levels() -> None:
    pools = {"prefill": rigs.reading(rigs.worker("0", tokens=801)), "decode": rigs.reading(rigs.worker("0", kv=0.41))}
    assert rigs.fleet(LATENCY.decider(rigs.site(), SHORT).step(rigs.seen(0.0, pools))) == (2, 2)
    assert rigs.fleet(THROUGHPUT.decider(rigs.site(), SHORT).step(rigs.seen(0.0, pools))) == (1, 1)


def test_nothing_grows_while_replicas_start_and_a_dip_of_one_interval_calls_nothing_off() -> None:
    law = THROUGHPUT.decider(rigs.site(), SHORT)
    busy, idle = rigs.worker("0", tokens=9000), rigs.worker("0")
    decode = rigs.reading(CALM)

    def asked(at: float, prefill: object) -> tuple[int, ...]:
        return rigs.fleet(law.step(rigs.seen(at, {"prefill": rigs.reading(prefill, starting=2), "decode": decode})))  # type: ignore[arg-type]

    assert [asked(0, busy), asked(5, idle), asked(10, busy), asked(15, idle)] == [(3, 1)] * 4
    assert asked(20, idle) == (1, 1)  # wanted twice running: what starts is called off


def test_blind_it_holds() -> None:
    law = THROUGHPUT.decider(rigs.site())
    decision = law.step(rigs.seen(0.0, {"prefill": rigs.reading(starting=1), "decode": rigs.reading(starting=2)}))
    assert rigs.fleet(decision) == (1, 2)
    assert decision.reason is Reason.HELD_BLIND


def test_the_budget_by_hand() -> None:
    budget = Budget((1, 2), (1, 1), 10)
    # 6 + 12 = 18 GPUs: scale 10/18, prefill int(3.3) = 3, decode (10 − 3) // 2 = 3
    assert budget.clamped((6, 6)) == (3, 3)
    assert Budget((4, 4), (1, 1), 7).clamped((2, 2)) == (0, 0)
    assert budget.guarded((4, 3), (5, 3)) == (4, 3)  # full: prefill cannot grow alone
    assert budget.guarded((4, 3), (2, 4)) == (2, 4)  # but decode may take what prefill gives
    assert budget.guarded((4, 3), (3, 4)) == (4, 3)  # 11 GPUs: neither moves
    assert budget.guarded((8, 3), (1, 1)) == (5, 2)  # too many already: first into the budget


def test_a_site_of_other_pools_is_refused() -> None:
    with pytest.raises(ValueError, match="one aggregated pool"):
        ordered(rigs.site("prefill", "aggregated"))


@pytest.mark.parametrize("peer", [THROUGHPUT, LATENCY], ids=lambda peer: peer.name)
@pytest.mark.parametrize("pools", [("prefill", "decode"), ("aggregated",)], ids=len)
def test_up_in_an_overload_and_down_when_idle(peer: object, pools: tuple[str, ...]) -> None:
    run = rigs.over_and_idle(peer, pools, knobs=SHORT)  # type: ignore[arg-type]
    asked = rigs.fleets(run, pools[0])
    assert max(asked) > 1
    assert asked[-1] == 1
