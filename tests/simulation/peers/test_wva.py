"""llm-d's WVA: both analyses by hand, its HPA's windows, and a run."""

from __future__ import annotations

import pytest

from planner.core.types import Role
from planner.simulation.peers.behavior import Pace
from planner.simulation.peers.wva import V1, V2, Peak, Tokens, chart, saturation
from tests.simulation.peers import rigs

AT_ONCE = {"up_stabilization_s": 0.0, "down_stabilization_s": 0.0}


@pytest.mark.parametrize(
    ("peaks", "step"),
    [
        # spare KV (0.25 + 0.30) / 2 = 0.275 and queue (5 + 3) / 2 = 4: no need; one fewer would hold
        # 2 × (0.8 − 0.275) = 1.05 > 0.8: not safe either
        ([Peak(0.55, 0), Peak(0.50, 2)], 0),
        ([Peak(0.75, 0), Peak(0.72, 0)], 1),  # spare KV 0.065 < 0.10
        ([Peak(0.10, 3), Peak(0.10, 2)], 1),  # spare queue 2.5 < 3
        ([Peak(0.30, 0), Peak(0.30, 0)], -1),  # 0.8 − 2 × 0.3 = 0.2 ≥ 0.10, queue 5 ≥ 3
        ([Peak(0.30, 0)], 0),  # one is never enough to take one away
        ([Peak(0.90, 0), Peak(0.30, 0)], 0),  # the saturated one does not count
        ([Peak(0.90, 9)], 1),  # none has spare
    ],
)
def test_percentages_by_hand(peaks: list[Peak], step: int) -> None:
    assert saturation(peaks, V1.defaults) == step


def test_tokens_by_hand() -> None:
    law = Tokens({**V2.defaults, "max_sequences": 256.0})
    # k1 = 0.8 × 100,000 = 80,000; derived: min(8192 × 200 / 1200, 256) = 256 × (1000 + 100) = 281,600
    assert law.capacity(100_000, Peak(0.5, 0), 1000, 200) == 80_000
    # demand 2 × 70,000 = 140,000: 140,000 / 0.85 − 160,000 = 4,706 → one more
    both = [Peak(0.7, 0), Peak(0.7, 0)]
    assert law.target(Role.DECODE, 100_000, both, 2, 2, 1000, 200) == 3
    # the one that starts counts as supply: nothing more is asked for
    assert law.target(Role.DECODE, 100_000, both, 3, 2, 1000, 200) == 3
    # 4 × 80,000 − 4 × 20,000 / 0.7 = 205,714 spare: two fewer
    assert law.target(Role.DECODE, 100_000, [Peak(0.2, 0)] * 4, 4, 4, 1000, 200) == 2
    assert law.target(Role.DECODE, 100_000, [Peak(0.0, 0)], 1, 1, 1000, 200) == 1  # the last one stays


def test_a_long_queue_teaches_what_compute_allows() -> None:
    law = Tokens(V2.defaults)
    assert law.capacity(100_000, Peak(0.3, 6), 1000, 200) == 30_000  # in use while five or more wait
    assert law.capacity(100_000, Peak(0.1, 6), 1000, 200) == 10_000
    assert law.capacity(100_000, Peak(0.5, 0), 1000, 200) == 20_000  # the mean, once the queue has gone
    assert law.capacity(100_000, Peak(0.5, 0), 1000, 600) == 80_000  # longer answers are learnt apart


def test_the_queue_of_a_prefill_pool_is_prompts_alone() -> None:
    law = Tokens({**V2.defaults, "queue_threshold": 100.0})
    queue = [Peak(0.0, 50)]
    # 50 × 1000 / 0.85 = 58,824 < 80,000 for prefill; 50 × 1200 / 0.7 > 80,000 … 70,588 < 80,000 for decode
    assert law.target(Role.PREFILL, 100_000, queue, 1, 1, 1000, 200) == 1
    assert law.target(Role.DECODE, 100_000, [Peak(0.0, 60)], 1, 1, 1000, 200) == 2  # 72,000 / 0.85 = 84,706


def test_the_chart_s_hpa_waits_for_the_least_and_moves_ten_pods_in_150_s() -> None:
    pool = rigs.site("aggregated").pools[0]
    calm, quick = Pace(chart(V1.defaults), pool), Pace(chart({**V1.defaults, **AT_ONCE}), pool)

    # the 2 that were found leave the window after 240 s
    assert [calm.allowed(15.0 * k, 2, 5) for k in range(17)] == [2] * 16 + [5]
    assert quick.allowed(0.0, 1, 30) == 11
    quick.changed(0.0, 1, 11)
    assert [quick.allowed(at, 11, 30) for at in (135.0, 150.0)] == [11, 21]


def test_prompts_that_fit_a_batch_are_in_the_cache_and_do_not_wait() -> None:
    law = V2.decider(rigs.site(), AT_ONCE)
    # 2,192 in work and 6,000 of 24,000 that wait make a batch: 8,192 in use, 9 of 12 wait; so learnt, 8,192 is what
    # one can do, and (8,192 + 9 × 2,000) / 0.85 − 8,192 = 22,622 is missing: ⌈2.76⌉ more
    busy = rigs.worker("0", prompt=2192, waiting=12, tokens=24_000)
    pools = {"prefill": rigs.reading(busy), "decode": rigs.reading(rigs.worker("0", kv=0.45))}
    assert rigs.fleet(law.step(rigs.seen(0.0, pools, rigs.lengths(2000, 200)))) == (4, 1)


def test_blind_it_holds() -> None:
    law = V2.decider(rigs.site())
    blind = {"prefill": rigs.reading(starting=2), "decode": rigs.reading(starting=3)}
    assert rigs.fleet(law.step(rigs.seen(0.0, blind))) == (2, 3)


def test_v1_leaves_a_change_alone_that_is_under_way() -> None:
    law = V1.decider(rigs.site("aggregated"), AT_ONCE)
    full = rigs.worker("0", kv=0.9)
    assert rigs.fleet(law.step(rigs.seen(0.0, {"aggregated": rigs.reading(full)}))) == (2,)
    starting = {"aggregated": rigs.reading(full, starting=1)}
    assert rigs.fleet(law.step(rigs.seen(60.0, starting))) == (2,)


def test_peaks_of_a_minute_count() -> None:
    law = V1.decider(rigs.site("aggregated"), AT_ONCE)
    calm, full = rigs.worker("0", kv=0.4), rigs.worker("0", kv=0.9)
    law.step(rigs.seen(0.0, {"aggregated": rigs.reading(calm)}))
    law.step(rigs.seen(15.0, {"aggregated": rigs.reading(full)}))
    for at in (30.0, 45.0):
        assert rigs.fleet(law.step(rigs.seen(at, {"aggregated": rigs.reading(calm)}))) == (1,)
    assert rigs.fleet(law.step(rigs.seen(60.0, {"aggregated": rigs.reading(calm)}))) == (2,)


@pytest.mark.parametrize("peer", [V1, V2], ids=lambda peer: peer.name)
def test_up_in_an_overload_and_down_when_idle(peer: object) -> None:
    run = rigs.over_and_idle(peer, knobs=AT_ONCE)  # type: ignore[arg-type]
    asked = rigs.fleets(run, "prefill")
    assert max(asked) > 2
    assert asked[-1] < max(asked)
