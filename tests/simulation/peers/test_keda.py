"""llm-d's KEDA laws: saturation of the latency targets, tokens of outstanding work."""

from __future__ import annotations

import pytest

from planner.core.histogram import Histogram
from planner.core.types import Observation, PoolReading, Reason, Window
from planner.ports import Decider
from planner.simulation.peers.keda import KEDA_SLO, KEDA_TOKENS
from planner.simulation.peers.signals import quantile
from tests.simulation.peers import rigs
from tests.simulation.peers.seen import NOTHING, gauges

INF = float("inf")
EDGES = (0.1, 0.5, 1.0, INF)


def ttft(p90: float | None, itl: float = 0.001) -> Window:
    """A quarter of a minute whose 90th percentile of TTFT is ``p90`` and whose ITL is fast."""
    if p90 is None:
        return Window(15.0, ttft=Histogram((1.0, INF), (0.0, 0.0), 0.0))
    edge = p90 / 0.9  # all in one bucket: the percentile is nine tenths into it
    return Window(15.0, ttft=Histogram((edge, INF), (100.0, 0.0), 1.0),
                  itl=Histogram((itl / 0.9, INF), (1000.0, 0.0), 1.0))  # fmt: skip


class Loop:
    """A prefill pool whose replicas are what was asked for, looked at every 15 s."""

    def __init__(self, decider: Decider, replicas: int) -> None:
        self.decider, self.replicas, self.at = decider, replicas, 0.0

    def look(self, window: Window | None, ready: int | None = None, **shown: float | None) -> int:
        serving = self.replicas if ready is None else ready
        pools = {"prefill": gauges(serving, self.replicas - serving, **shown)}
        self.replicas = self.decider.step(Observation(self.at, pools, window)).replicas["prefill"]
        self.at += 15.0
        return self.replicas


def slo(replicas: int) -> Loop:
    return Loop(KEDA_SLO.decider(rigs.site("prefill")), replicas)


def test_a_quantile_lies_evenly_in_its_bucket() -> None:
    """10 in (0, 0.1], 80 in (0.1, 0.5], 10 in (0.5, 1]: the 50th of 100 is 40 of 80 into the second bucket."""
    h = Histogram(EDGES, (10.0, 80.0, 10.0, 0.0), 30.0)

    assert quantile(h, 0.5) == pytest.approx(0.1 + 0.4 * 40 / 80)
    assert quantile(h, 0.9) == pytest.approx(0.5)
    assert quantile(h, 0.95) == pytest.approx(0.75)
    assert quantile(Histogram(EDGES, (0.0, 0.0, 0.0, 5.0), 9.0), 0.5) == 1.0  # beyond the last finite edge
    assert quantile(Histogram(EDGES, (0.0,) * 4, 0.0), 0.5) is None


def test_above_the_band_it_grows_in_proportion() -> None:
    """TTFT 440 ms of 500: s = 0.88; n + ⌈10 (0.88 / 0.55 − 1)⌉ = 10 + ⌈6⌉ = 16, once 30 s of it have been seen."""
    pool = slo(10)

    assert [pool.look(ttft(0.44)) for _ in range(3)] == [10, 10, 16]


def test_a_spike_counts_as_twice_the_target() -> None:
    """TTFT 30 s is clamped to s = 2: 2 / 0.55 = 3.6; ten more replicas is all that a minute allows."""
    pool = slo(10)

    assert [pool.look(ttft(30.0)) for _ in range(3)][-1] == 20


def test_replicas_that_start_are_credited() -> None:
    """S = 0.88 at 10 ready of 16: 0.88 × 10 / 16 = 0.55 is on the threshold: no more are asked for, and none fewer."""
    pool = slo(16)

    assert [pool.look(ttft(0.44), ready=10) for _ in range(4)] == [16] * 4
    assert [pool.look(ttft(0.30), ready=4) for _ in range(20)] == [16] * 20


def test_inside_the_band_it_holds() -> None:
    """TTFT 250 ms: s = 0.5."""
    assert {slo(10).look(ttft(0.25)) for _ in range(20)} == {10}


def test_below_the_band_one_goes_every_two_minutes() -> None:
    """TTFT 100 ms: s = 0.2, so 10 − ⌊10 × 0.5⌋ = 5 is wanted; after the 180 s window one leaves, then one per 120 s."""
    pool = slo(10)
    asked = [pool.look(ttft(0.1)) for _ in range(29)]

    assert asked[:12] == [10] * 12
    assert asked[12:20] == [9] * 8
    assert asked[20:28] == [8] * 8


def test_the_tolerance_of_the_hpa_lies_over_the_formula() -> None:
    """S = 0.58: 20 + ⌈20 × 0.055⌉ = 22 is within 10 % of 20."""
    assert [slo(20).look(ttft(0.29)) for _ in range(6)] == [20] * 6


def test_no_traffic_is_no_saturation_and_no_answer_is_none() -> None:
    """An idle pool drains; a source that is down does not drain it."""
    idle, blind = slo(5), slo(5)

    assert [idle.look(ttft(None)) for _ in range(13)][-1] == 4
    assert [blind.look(None, **NOTHING) for _ in range(30)] == [5] * 30


def test_each_role_has_its_own_latency() -> None:
    """TTFT at its target and ITL far below: prefill grows, decode does not; an aggregated pool takes the worse."""
    split, one = KEDA_SLO.decider(rigs.site()), KEDA_SLO.decider(rigs.site("aggregated"))
    for k in range(4):
        window = ttft(0.5)
        apart = split.step(Observation(15.0 * k, {"prefill": gauges(10), "decode": gauges(10)}, window))
        whole = one.step(Observation(15.0 * k, {"aggregated": gauges(10)}, window))

    assert apart.replicas["prefill"] > 10
    assert apart.replicas["decode"] <= 10
    assert whole.replicas["aggregated"] > 10


def test_prefill_is_scaled_on_seconds_of_work() -> None:
    """Tokens that keep one worker busy for 3 s, at 0.75 × 500 ms a replica: 3 / 0.375 = 8; one more per 180 s."""
    pool = rigs.site("prefill").pools[0]
    per_s = pool.chunk_tokens / pool.profile.prefill.service_s(pool.chunk_tokens)
    site = rigs.site("prefill")
    decision = KEDA_TOKENS.decider(site).step(Observation(0.0, {"prefill": gauges(2, tokens=3 * per_s)}))
    quick = KEDA_TOKENS.decider(site, {"up_pods": 16}).step(Observation(0.0, {"prefill": gauges(2, tokens=3 * per_s)}))

    assert (decision.wanted["prefill"], decision.replicas["prefill"]) == (8, 3)
    assert quick.replicas["prefill"] == 8


def test_decode_is_scaled_on_full_caches() -> None:
    """Four caches at 0.9 are 3.6 full ones over 0.8: ⌈4.5⌉ = 5."""
    site = rigs.site()
    seen = {"prefill": gauges(1), "decode": gauges(4, kv=0.9)}

    assert KEDA_TOKENS.decider(site).step(Observation(0.0, seen)).replicas["decode"] == 5


def test_an_absent_series_is_zero_and_a_dead_source_is_not() -> None:
    """``or vector(0)``: with other gauges in sight the pool is idle; without any it is held."""
    idle = gauges(4, **{**NOTHING, "running": 3.0})
    for reading, reason in ((idle, Reason.SIZED), (PoolReading(4, 4), Reason.HELD_BLIND)):
        decision = KEDA_TOKENS.decider(rigs.site("decode")).step(Observation(0.0, {"decode": reading}))
        assert decision.reason is reason
