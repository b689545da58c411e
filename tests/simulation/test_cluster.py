"""The simulated cluster: workers live as they do in a real one, and show no more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.simulation.report.figures import gpu_hours, summarise
from planner.simulation.simulate import simulate
from planner.simulation.supply import Failures, GpuSupply, Startup
from tests.simulation.engine.rigs import engine_like
from tests.simulation.worlds import Script, traffic, world

ONE = {"prefill": 1, "decode": 1}


def run(acts, rates=(5.0,) * 5, **more):
    script = Script(*acts)
    return simulate(world(rates, **more), "script", script, acts[0][1]), script


def test_a_worker_is_paid_from_being_asked_for_and_serves_after_its_startup():
    done, script = run([(0.0, ONE), (60.0, {"prefill": 2, "decode": 1})], startup_s=90.0)
    second = next(span for span in done.spans if span.asked_s == 60.0)
    ready = {seen.at: seen.pools["prefill"].ready for seen in script.seen}

    assert second.ready_s == 150.0
    assert (ready[145.0], ready[155.0]) == (1, 2)
    # 300 s of one and 240 s of the other, which began to cost when it was asked for
    assert gpu_hours(done, "prefill") == pytest.approx((300 + 240) / 3600)


def test_a_startup_is_measured_once_for_the_policy():
    _, script = run([(0.0, ONE), (60.0, {"prefill": 2, "decode": 1})], startup_s=90.0)
    told = [startup for seen in script.seen for startup in seen.pools["prefill"].startups_s]

    assert told == [90.0]


def test_what_still_starts_goes_first():
    """Three are asked for; one too many is taken back before it ever served, not one that serves."""
    acts = [(0.0, ONE), (60.0, {"prefill": 3, "decode": 1}), (100.0, {"prefill": 2, "decode": 1})]
    done, script = run(acts, startup_s=90.0)
    cancelled = [span for span in done.spans if span.pool == "prefill" and span.ended_s is not None]

    assert [(span.asked_s, span.ready_s, span.ended_s) for span in cancelled] == [(60.0, None, 100.0)]
    assert script.seen[-1].pools["prefill"].ready == 2


def test_a_worker_that_goes_finishes_what_it_has():
    done, _ = run([(0.0, {"prefill": 2, "decode": 2}), (120.0, ONE)], rates=(15.0,) * 4)
    drained = [span for span in done.spans if span.draining_s is not None]

    assert len(drained) == 2
    assert all(span.ended_s is not None and span.ended_s >= span.draining_s == 120.0 for span in drained)
    assert np.isfinite(done.itl_s).all()  # nobody was lost


def test_startups_are_the_same_for_every_policy():
    """Common random numbers: the k-th worker of a pool takes as long whoever asks for it, and whenever."""
    startup = Startup(120.0, spread=0.3, seed=5)
    draws = [startup.draw_s("prefill", k) for k in range(2000)]

    assert [Startup(120.0, 0.3, 5).draw_s("prefill", k) for k in range(2000)] == draws
    assert startup.draw_s("decode", 0) != draws[0]
    assert np.mean(draws) == pytest.approx(120.0, rel=0.03)


def test_a_worker_that_dies_is_replaced_at_once():
    """As a Deployment does: what is requested stays, and the replacement starts up anew; requests are lost."""
    failing = Failures(mean_s=60.0, seed=3)
    done, script = run([(0.0, {"prefill": 4, "decode": 4})], rates=(10.0,) * 5, startup_s=40.0, failures=failing)
    died = sorted(span.ended_s for span in done.spans if span.ended_s is not None)
    replaced = sorted(span.asked_s for span in done.spans if span.asked_s > 0)

    assert died == replaced
    assert any(at % 5.0 for at in died)  # the policy was not asked
    assert {seen.pools[pool].requested for seen in script.seen for pool in ONE} == {4}
    assert all(span.ready_s in (None, span.asked_s + 40.0) for span in done.spans if span.asked_s > 0)
    assert summarise(done).completed < done.traffic.requests


def test_who_waits_for_a_gpu_is_starting_for_the_policy_and_costs_nothing():
    acts = [(0.0, ONE), (60.0, {"prefill": 3, "decode": 1}), (120.0, {"prefill": 2, "decode": 1})]
    done, script = run(acts, startup_s=30.0, supply=GpuSupply(shortages=[(50.0, 150.0)]))
    late = [span for span in done.spans if span.asked_s > 0]
    seen = {step.at: step.pools["prefill"] for step in script.seen}

    # one of the two was taken back before there was a GPU for it
    assert [(span.asked_s, span.ready_s, span.ended_s) for span in late] == [(150.0, 180.0, None)]
    assert (seen[115.0].requested, seen[115.0].ready, seen[115.0].starting_s) == (3, 1, (55.0, 55.0))
    assert gpu_hours(done, "prefill") == pytest.approx((300 + 150) / 3600)
    # from being asked for: a platform shows no more
    assert [startup for step in script.seen for startup in step.pools["prefill"].startups_s] == [120.0]


def test_gpus_that_are_all_in_use_go_to_the_oldest_that_fits():
    acts = [(0.0, ONE), (10.0, {"prefill": 2, "decode": 1}), (20.0, {"prefill": 2, "decode": 3}), (100.0, ONE)]
    two = {"prefill": 2, "decode": 1}
    done, _ = run(acts, startup_s=30.0, supply=GpuSupply(gpus=4), gpus_per_replica=two)
    late = [(span.pool, span.asked_s, span.ended_s) for span in done.spans if span.asked_s > 0]

    # 2 + 1 in use: the second prefill worker lacks a GPU, a decode worker does not, the third does
    assert late == [("decode", 20.0, 100.0)]


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=6),
    st.one_of(st.none(), st.integers(4, 20)),
    st.sampled_from([(), ((40.0, 100.0),), ((0.0, 60.0), (50.0, 130.0))]),
    st.sampled_from([0.0, 0.5]),
    st.sampled_from([None, 40.0]),
)
@settings(max_examples=25, deadline=None)
def test_what_was_asked_for_stays_requested_and_no_gpu_is_made_up(fleets, gpus, shortages, hangs, dies):
    acts = [(20.0 * i, {"prefill": p, "decode": d}) for i, (p, d) in enumerate([(1, 1), *fleets])]
    done, script = run(
        acts,
        rates=(0.5,) * 3,
        startup=Startup(20.0, seed=2, hang_share=hangs),
        failures=Failures(dies, seed=2),
        supply=GpuSupply(gpus, shortages),
        gpus_per_replica={"prefill": 2, "decode": 1},
    )
    wanted = {at: fleet for at, fleet in acts if at > 0}
    for step in script.seen[1:]:
        fleet = next(fleet for at, fleet in [*sorted(wanted.items(), reverse=True), (0.0, ONE)] if at < step.at)
        assert {name: reading.requested for name, reading in step.pools.items()} == fleet
        assert all(r.requested == r.ready + len(r.starting_s) for r in step.pools.values())
    times = sorted({span.asked_s for span in done.spans})
    for at in times:
        used = [span for span in done.spans if span.asked_s <= at and (span.ended_s is None or span.ended_s > at)]
        assert gpus is None or sum({"prefill": 2, "decode": 1}[span.pool] for span in used) <= gpus
        assert not at or not any(begin <= at < end for begin, end in shortages)


def test_a_worker_that_hangs_starts_and_costs_until_it_is_taken_back():
    hopeless = Startup(30.0, hang_share=0.999)
    done, script = run([(0.0, ONE), (60.0, {"prefill": 2, "decode": 1}), (240.0, ONE)], startup=hopeless)
    (hung,) = [span for span in done.spans if span.asked_s > 0]

    assert (hung.ready_s, hung.ended_s) == (None, 240.0)
    assert {seen.at: seen.pools["prefill"].starting_s for seen in script.seen}[235.0] == (175.0,)


def test_slow_and_endless_startups_are_shares_of_all():
    startup = Startup(100.0, spread=0.2, seed=4, slow_share=0.2, slow_factor=3.0, hang_share=0.1)
    draws = np.array([startup.draw_s("decode", k) for k in range(2000)])
    plain = np.array([startup.reliable().draw_s("decode", k) for k in range(2000)])
    ends = np.isfinite(draws)

    assert 1.0 - ends.mean() == pytest.approx(0.1, abs=0.03)
    assert np.mean(draws[ends] > 2.0 * plain[ends]) == pytest.approx(0.2, abs=0.03)
    # all others are what they would have been: one kind of trouble moves no other draw
    assert set(np.round(draws[ends] / plain[ends], 6)) == {1.0, 3.0}


def test_clients_try_again_until_there_are_workers():
    """No prefill worker for 160 s: who gives up for good is lost, who tries again is served late, so missed."""
    acts = [(0.0, {"prefill": 0, "decode": 2}), (1.0, {"prefill": 2, "decode": 2})]
    outage = GpuSupply(shortages=[(0.0, 150.0)])
    hasty, patient = engine_like(timeout_s=10.0), engine_like(timeout_s=10.0, retries=5, backoff_s=5.0)
    gave_up, _ = run(acts, startup_s=10.0, supply=outage, plant=hasty)
    tried, _ = run(acts, startup_s=10.0, supply=outage, plant=patient)
    early = tried.traffic.arrivals_s < 140.0

    assert not np.isfinite(gave_up.ttft_s[early]).any()
    assert np.isfinite(tried.ttft_s[early]).mean() > 0.9
    # time to first token counts from the first try
    assert (tried.ttft_s[early] + tried.traffic.arrivals_s[early])[np.isfinite(tried.ttft_s[early])].min() > 160.0


def test_a_policy_sees_windows_and_buckets_and_nothing_else():
    """Counts add up to what arrived; a TTFT is known to its bucket only."""
    _, script = run([(0.0, ONE)])
    windows = [seen.window for seen in script.seen]
    mine = traffic((5.0,) * 5)

    assert windows[0] is None  # one scrape makes no window
    assert all(window is not None and window.seconds == 5.0 for window in windows[1:])
    assert sum(window.started for window in windows[1:] if window) == mine.requests
    assert sum(w.input_tokens.total for w in windows[1:] if w) == pytest.approx(mine.input_tokens.sum(), rel=0.01)


def test_aggregated_workers_tell_each_requests_own_itl_by_bucket():
    """What windows count is what became of the requests; split, steps tell it and engines are not asked."""
    fleet = {"aggregated": 2}
    done, script = run([(0.0, fleet)], rates=(25.0,) * 4, pools=tuple(fleet))
    told = [seen.pools["aggregated"].request_itl for seen in script.seen]
    counted = [histogram for histogram in told if histogram is not None]
    _, split = run([(0.0, ONE)])

    itl = done.itl_s[done.traffic.arrivals_s < 200.0]  # these have all ended before the last look
    late = done.itl_s[np.isfinite(done.itl_s)] > 0.025
    assert len(itl) <= sum(h.count for h in counted) <= len(done.itl_s)
    assert 0 < sum(sum(h.counts[2:]) for h in counted) <= late.sum()
    assert sum(sum(h.counts[2:]) for h in counted) >= (itl > 0.025).sum()
    assert sum(h.total for h in counted) == pytest.approx(done.itl_s.sum(), rel=0.05)
    assert all(seen.pools["decode"].request_itl is None for seen in split.seen)
