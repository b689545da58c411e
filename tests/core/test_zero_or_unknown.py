"""Zero is measured, unknown is not: the border at which other planners scale to the minimum in an outage."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.core.attainment import late_share, slow_share, spent, urgency, visible
from planner.core.decide import decide
from planner.core.histogram import Histogram
from planner.core.observe import Cumulative, FrontDoor, Scrape, observe
from planner.core.policy import Measure, Promise, Sla, What
from planner.core.state import PlannerState
from planner.core.tuning import Tuning
from planner.core.types import PoolReading
from tests.core.worlds import AGGREGATED, histogram, policy, seen

INF = float("inf")


def door(started, total=0.0, buckets=(0.0, 0.0)):
    return FrontDoor(started=started, ttft=Cumulative((0.5, INF), buckets, total))


def scrape(at, **front):
    return Scrape(at, front, {"prefill": PoolReading(1, 1)})


def test_a_counter_that_did_not_grow_is_zero():
    """prop-5: the series is there, nothing came."""
    window = observe(scrape(0, a=door(10.0)), scrape(5, a=door(10.0))).window

    assert window is not None
    assert window.started == 0.0


@pytest.mark.parametrize("absent", [None, math.nan])
def test_a_metric_error_is_never_zero(absent):
    """prop-6: an absent series or NaN is unknown, whatever was there before."""
    window = observe(scrape(0, a=door(10.0)), scrape(5, a=door(absent))).window

    assert window is not None
    assert window.started is None


def test_no_frontend_at_all_is_no_window():
    """prop-6: a scrape that found nobody says nothing about traffic."""
    assert observe(scrape(0, a=door(10.0)), scrape(5)).window is None
    assert observe(None, scrape(5, a=door(10.0))).window is None


def test_a_restarted_frontend_counts_what_it_shows():
    window = observe(scrape(0, a=door(1000.0)), scrape(5, a=door(30.0))).window

    assert window is not None
    assert window.started == 30.0


def test_a_new_frontend_was_born_in_the_window():
    window = observe(scrape(0, a=door(100.0)), scrape(5, a=door(110.0), b=door(7.0))).window

    assert window is not None
    assert window.started == 17.0


counts = st.lists(st.floats(0.0, 1e6), min_size=2, max_size=30)


@given(counts)
def test_a_counter_that_restarts_at_any_time_never_runs_backwards(values):
    """prop-6: no order of readings may give a negative count."""
    for before, after in itertools.pairwise(values):
        window = observe(scrape(0, a=door(before)), scrape(5, a=door(after))).window
        assert window is not None
        assert window.started is not None
        assert 0.0 <= window.started <= after


def test_a_share_is_between_what_the_buckets_say():
    """90 of 100 within 470 ms, 98 within 1 s: at 500 ms between 2 % and 10 % are late, nearer to 10 %."""
    late = late_share(Histogram((0.47, 1.0, INF), (90.0, 8.0, 2.0), 30.0), 0.5)

    assert late is not None
    assert 0.08 < late < 0.10
    assert late_share(Histogram((0.5, INF), (90.0, 10.0), 30.0), 0.5) == pytest.approx(0.1)  # an edge: exact
    assert late_share(Histogram((0.5, INF), (0.0, 0.0), 0.0), 0.5) is None
    assert late_share(None, 0.5) is None


def test_slow_workers_count_by_their_tokens():
    reading = replace(PoolReading(2, 2), worker_steps=((0.030, 300.0), (0.010, 700.0)))

    assert slow_share(reading, 0.025) == pytest.approx(0.3)
    assert slow_share(PoolReading(2, 2), 0.025) is None


def test_requests_own_itl_tells_more_than_their_workers():
    """Nine of ten within the target on workers that were quick on average; nobody finished: the workers tell."""
    own = histogram("request_itl", 0.020, 90).plus(histogram("request_itl", 0.030, 10))
    reading = PoolReading(2, 2, worker_steps=((0.030, 300.0), (0.010, 700.0)))

    assert slow_share(replace(reading, request_itl=own), 0.025) == pytest.approx(0.1)
    assert slow_share(replace(reading, request_itl=histogram("request_itl", 0.02, 0)), 0.025) == pytest.approx(0.3)


def test_a_restarted_worker_counts_its_answers_anew():
    def scraped(at, worker, within, all_):
        edges = (0.025, INF)
        return Scrape(
            at,
            {"a": door(10.0)},
            {"aggregated": PoolReading(2, 2)},
            request_itl={"aggregated": {"steady": Cumulative(edges, (100.0 + at, 110.0 + 2 * at), 3.0 + 0.05 * at),
                                        worker: Cumulative(edges, (within, all_), 0.02 * all_)}},
        )  # fmt: skip

    before = scraped(0, "other", 500.0, 900.0)
    restarted = observe(before, scraped(5, "other", 3.0, 4.0)).pools["aggregated"].request_itl
    new = observe(before, scraped(5, "new", 3.0, 4.0)).pools["aggregated"].request_itl

    assert restarted == new
    assert new is not None
    assert new.counts == (8.0, 6.0)
    assert new.total == pytest.approx(0.25 + 0.08)


def test_an_aggregated_pool_lowers_its_price_only_where_requests_tell_their_itl():
    """What each answer met in its worker no step tells; and what stops telling proves nothing from then on."""
    own = histogram("request_itl", 0.012, 500.0)
    rule = policy(pools=(AGGREGATED,))

    def after(*told: bool) -> PlannerState:
        state = PlannerState()
        for tick, tells in enumerate(told):
            reading = PoolReading(2, 2, worker_steps=((0.012, 5e4),), request_itl=own if tells else None)
            look = seen(60.0 * tick, 100.0, fleet={"aggregated": 2})
            _, state = decide(rule, state, replace(look, pools={"aggregated": reading}))
        return state

    joint = rule.sla.joint
    assert after(True, True).budgets == pytest.approx(after(False, False).budgets)
    assert visible(joint, rule.pools, after(True, True).request_itl)
    assert not visible(joint, rule.pools, after(False, False).request_itl)
    assert not visible(joint, rule.pools, after(True, False).request_itl)
    assert visible(Promise(What.TTFT, Measure(0.99)), rule.pools, ())
    assert visible(joint, policy().pools, ())  # split, the steps tell


def test_few_answers_at_a_time_are_looked_at_together():
    """A window of ten answers, none slow, cannot show that fewer than one in a thousand is; many windows can."""
    state, rule = PlannerState(), policy(pools=(AGGREGATED,), sla=Sla(0.5, 0.020))
    own = histogram("request_itl", 0.008, 9).plus(histogram("request_itl", 0.015, 1))
    alone = slow_share(PoolReading(1, 1, request_itl=own), 0.020)
    for tick in range(100):
        look = seen(5.0 * tick, 2.0, fleet={"aggregated": 1})
        _, state = decide(rule, state, replace(look, pools={"aggregated": PoolReading(1, 1, request_itl=own)}))
    together = slow_share(PoolReading(1, 1, request_itl=state.request_itl["aggregated"]), 0.020)

    assert alone is not None
    assert together is not None
    assert together < 0.2 * alone


def test_token_gaps_that_nobody_measured_earn_no_error_budget():
    """Quick first tokens alone do not prove a joint promise kept; late ones disprove it."""
    blind, told = PoolReading(2, 2), replace(PoolReading(2, 2), step_seconds=histogram("itl", 0.012, 1000.0))

    def budget(reading: PoolReading, ttft: float) -> float:
        state = PlannerState()
        for tick in range(3):
            look = seen(5.0 * tick, 100.0, ttft=ttft)
            _, state = decide(policy(), state, replace(look, pools={"prefill": PoolReading(2, 2), "decode": reading}))
        return state.budgets.get("both", 0.0)

    assert budget(told, ttft=0.1) < 0.0
    assert budget(blind, ttft=0.1) == 0.0
    assert budget(blind, ttft=2.0) > 0.0


@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1e5)), max_size=200))
def test_the_error_budget_winds_up_no_further_than_its_bounds(windows):
    """Anti-windup: whatever has been, the price is corrected within its bounds; without load, not at all."""
    budget = 0.0
    for share, requests in windows:
        budget = spent(budget, share * requests, requests, 0.01, 5.0, Tuning())

    assert -2.0 <= urgency(budget, 100.0, 0.01, Tuning()) <= 3.0
    assert 0.0 <= urgency(budget, 100.0, 0.01, Tuning(), visible=False) <= 3.0
    assert urgency(budget, 0.0, 0.01, Tuning()) == 0.0
