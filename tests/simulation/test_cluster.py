"""The simulated cluster: workers live as they do in a real one, and show no more."""

from __future__ import annotations

import numpy as np
import pytest

from planner.simulation.cluster import Failures, Startup
from planner.simulation.report.figures import gpu_hours, summarise
from planner.simulation.simulate import simulate
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


def test_workers_die_and_their_requests_are_lost_unless_they_migrate():
    failing = Failures(mean_s=60.0, seed=3)
    done, script = run([(0.0, {"prefill": 4, "decode": 4})], rates=(10.0,) * 5, failures=failing)
    died = [span for span in done.spans if span.ended_s is not None]

    assert died
    assert summarise(done).completed < done.traffic.requests
    # the target replaces what dies: the fleet asked for is there again
    assert script.seen[-1].pools["prefill"].requested == 4


def test_a_policy_sees_windows_and_buckets_and_nothing_else():
    """Counts add up to what arrived; a TTFT is known to its bucket only."""
    _, script = run([(0.0, ONE)])
    windows = [seen.window for seen in script.seen]
    mine = traffic((5.0,) * 5)

    assert windows[0] is None  # one scrape makes no window
    assert all(window is not None and window.seconds == 5.0 for window in windows[1:])
    assert sum(window.started for window in windows[1:] if window) == mine.requests
    assert sum(w.input_tokens.total for w in windows[1:] if w) == pytest.approx(mine.input_tokens.sum(), rel=0.01)
