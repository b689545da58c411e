"""The bound is what it says: no plan that keeps as much is cheaper, and a cheaper run is told loudly."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest

from planner.simulation.clairvoyant import (
    CLOSE,
    WINDOW_S,
    Bound,
    Point,
    best,
    broken,
    joined,
    late,
    next_asked,
    tables_of,
    widened,
    widenings_of,
    windows_of,
)
from planner.simulation.report.figures import summarise, worst
from planner.simulation.simulate import simulate
from tests.simulation.engine.rigs import TOGETHER
from tests.simulation.worlds import Script, traffic, world


def tables(mine):
    return tables_of(mine, 0, windows_of(mine))


def bound(mine, share, known):
    """The cheapest clairvoyant run that keeps ``share`` of the requests, asked for as the arena does."""
    ideal, points = Bound(mine, known), []
    for widening in widenings_of(mine):
        same = []
        while (asked := next_asked(share, same, [p.asked for p in same])) is not None:
            same.append(ideal.point(asked, widening))
        points += same
    return best(share, points)


def worst_minute(mine, run):
    with np.errstate(invalid="ignore"):
        both = (run.ttft_s <= mine.promise.ttft_s) & (run.itl_s <= mine.promise.itl_s)
    return worst(mine.traffic.arrivals_s, both, WINDOW_S)


@pytest.mark.parametrize(("rates", "pools", "most"), [
    ((15.0, 45.0, 25.0), ("prefill", "decode"), (3, 2)),
    ((10.0, 20.0, 35.0, 15.0), TOGETHER, (4,)),
])  # fmt: skip
def test_no_plan_that_keeps_as_much_is_cheaper(rates, pools, most):
    """Exhaustive search over all plans; the same floor under every window, the same share of the whole."""
    mine = world(rates, pools)
    known = tables(mine)
    ideal, found = Bound(mine, known), bound(mine, 0.99, known)
    floor = worst_minute(mine, ideal.run(widened(ideal.plan(ideal.allowed(found.asked)), found.widening)))
    cheapest = found.summary.gpu_hours
    fleets = list(itertools.product(*(range(1, n + 1) for n in most)))
    for plan in itertools.product(fleets, repeat=len(rates)):
        run = ideal.run({pool: np.array(needs) for pool, needs in zip(pools, zip(*plan, strict=True), strict=True)})
        summary = summarise(run)
        if summary.attainment.both >= found.kept and worst_minute(mine, run) >= floor:
            cheapest = min(cheapest, summary.gpu_hours)

    assert found.kept >= 0.9895
    assert found.summary.gpu_hours <= 1.01 * cheapest


def test_long_answers_are_waited_for_and_fill_the_batches_before_a_window():
    """Answers of three minutes: whoever looks for less sees neither their load nor their end, and plans too few."""
    mine = world((1.0,) * 12)
    object.__setattr__(mine.traffic, "output_tokens", np.full(mine.traffic.requests, 9000, np.int32))
    known = tables(mine)
    settled = known.missed["decode"][8]
    needed = min(n for n, missed in settled.items() if missed < 0.01)
    fleet = {"prefill": 2, "decode": needed - 1}
    run = simulate(mine, "fewer", Script((0.0, fleet)), fleet)
    late_ones = mine.traffic.arrivals_s > 8 * WINDOW_S

    assert needed > 1
    assert (run.itl_s[late_ones] <= mine.promise.itl_s).mean() < 0.9


def test_workers_come_early_where_batches_even_out_slowly():
    """Answers of a minute and a load that grows: sequences stay with the workers that were there when they came."""
    rates = tuple(2.0 + 1.0 * k for k in range(14))
    mine = world(rates, traffic=traffic(rates, osl=4000))
    known = tables(mine)
    narrow, found = Bound(mine, known).point(0.001), bound(mine, 0.99, known)

    assert narrow.kept < 0.95
    assert found.kept >= 0.99 - CLOSE
    assert found.widening[1] > 0


def test_requests_beyond_reach_do_not_buy_replicas():
    """Every prompt of 16,000 tokens misses 300 ms; a bound that tried to help them would ask for all it can."""
    mine = world((10.0, 10.0))
    long = mine.traffic.input_tokens.copy()
    long[::20] = 16_000
    object.__setattr__(mine.traffic, "input_tokens", long)
    object.__setattr__(mine, "promise", type(mine.promise)(0.3, 0.025))
    plan = Bound(mine, tables(mine)).plan(0.01)

    assert plan["prefill"].max() <= 4


def test_a_run_that_is_cheaper_than_the_bound_fails_loudly():
    """The bound must not be taken on trust: here its table claims far more misses than there are."""
    mine = world((15.0, 15.0))
    known = tables(mine)
    for of_pool in known.missed.values():
        for k, table in enumerate(of_pool):
            of_pool[k] = {n + 3: missed for n, missed in table.items()}
    run = simulate(mine, "good", Script((0.0, {"prefill": 2, "decode": 1})), {"prefill": 2, "decode": 1})
    summary = summarise(run)

    said = broken(summary, bound(mine, summary.attainment.both, known))
    assert re.search(r"good kept .* with .* GPU-hours, the bound needs", said)
    assert not broken(summary, bound(mine, summary.attainment.both, tables(mine)))


def test_a_widened_plan_lets_go_later_or_comes_earlier():
    plan = {"prefill": np.array([1, 1, 5, 2, 2, 2])}

    assert widened(plan, (2, 0))["prefill"].tolist() == [1, 1, 5, 5, 5, 2]
    assert widened(plan, (0, 1))["prefill"].tolist() == [1, 5, 5, 2, 2, 2]


def test_the_late_plan_misses_the_step_it_learns_late():
    """From 15 to 28 requests a second: everybody misses until a start-up and an interval have gone by."""
    mine = world((15.0, 15.0, 28.0, 28.0, 28.0, 28.0, 28.0))
    known = tables(mine)
    run = late(mine, known)
    minute = (mine.traffic.arrivals_s // 60).astype(int)
    quick = run.ttft_s <= mine.promise.ttft_s

    assert quick[minute == 3].mean() < 0.1
    assert quick[minute == 6].mean() > 0.9


def test_tables_in_pieces_are_those_of_the_whole():
    """Windows may be spread over processes: where a piece begins must not show."""
    mine = world((15.0, 45.0, 25.0, 10.0))
    whole, pieces = tables(mine), joined([tables_of(mine, 0, 1), tables_of(mine, 1, 4)])

    assert whole.requests.tolist() == pieces.requests.tolist()
    for pool in mine.pools:
        for one, other in zip(whole.missed[pool], pieces.missed[pool], strict=True):
            assert all(one[n] == other[n] for n in one.keys() & other.keys())


def point(asked, kept_share, hours=1.0):
    mine = world((5.0,))
    summary = summarise(simulate(mine, "x", Script((0.0, {"prefill": 1, "decode": 1})), {"prefill": 1, "decode": 1}))
    attainment = replace(summary.attainment, both=kept_share)
    return Point(asked, (0, 0), replace(summary, attainment=attainment, gpu_hours=hours))


def test_the_search_closes_in_between_two_runs():
    """Tables that are asked for 1 % gave up 2 %, asked for 0.1 % they gave up 0.2 %: ask in between."""
    runs = [point(0.01, 0.98), point(0.001, 0.998)]

    assert next_asked(0.98 + CLOSE / 2, runs, []) is None  # close enough already
    assert 0.003 < next_asked(0.99, runs, []) < 0.007


def test_the_cheapest_run_that_keeps_enough_is_the_bound():
    cheap, dear, short = point(0.1, 0.99, 3.0), point(0.1, 0.999, 4.0), point(0.1, 0.95, 2.0)

    assert best(0.99, [dear, short, cheap]) is cheap
    assert best(0.9999, [cheap, short, dear]) is dear  # nobody keeps so much: who lacks least
