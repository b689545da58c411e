"""The bound is what it says: no plan that keeps as much is cheaper, and a cheaper run is told loudly."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from planner.commands.compare import _ratio
from planner.simulation.clairvoyant import WINDOW_S, BoundBrokenError, Scheduled, bound, held, late, shares
from planner.simulation.report.figures import Row, summarise, worst
from planner.simulation.simulate import kept, simulate
from tests.simulation.engine.rigs import TOGETHER
from tests.simulation.worlds import Script, world


def planned(mine, plan):
    """The run of a plan: replicas by window and pool."""
    scheduled = Scheduled({pool: np.array(needs) for pool, needs in plan.items()}, mine.startup.mean_s, 0.0)
    return simulate(mine, "plan", scheduled, scheduled.fleet(0.0))


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
    best = bound(mine, 0.99)
    share, floor = kept(mine, best)[2], worst_minute(mine, best)
    cheapest = summarise(best).gpu_hours
    fleets = list(itertools.product(*(range(1, n + 1) for n in most)))
    for plan in itertools.product(fleets, repeat=len(rates)):
        run = planned(mine, dict(zip(pools, zip(*plan, strict=True), strict=True)))
        if kept(mine, run)[2] >= share and worst_minute(mine, run) >= floor:
            cheapest = min(cheapest, summarise(run).gpu_hours)

    assert share >= 0.9895
    assert summarise(best).gpu_hours <= 1.01 * cheapest


def test_requests_beyond_reach_do_not_buy_replicas():
    """Every prompt of 16,000 tokens misses 300 ms; a bound that tried to help them would ask for all it can."""
    mine = world((10.0, 10.0))
    long = mine.traffic.input_tokens.copy()
    long[::20] = 16_000
    object.__setattr__(mine.traffic, "input_tokens", long)
    object.__setattr__(mine, "promise", type(mine.promise)(0.3, 0.025))
    plan = shares(mine).plan(mine, 0.99)

    assert plan["prefill"].max() <= 4


def test_a_run_that_is_cheaper_than_the_bound_fails_loudly():
    """The bound must not be taken on trust: here its table claims far more misses than there are."""
    mine = world((15.0, 15.0))
    known = shares(mine)
    for tables in known.missed.values():
        for k, table in enumerate(tables):
            tables[k] = {n + 3: missed for n, missed in table.items()}
    run = simulate(mine, "good", Script((0.0, {"prefill": 2, "decode": 1})), {"prefill": 2, "decode": 1})

    with pytest.raises(BoundBrokenError, match=r"good kept .* with .* GPU-hours, the bound needs"):
        _ratio(mine, known, Row(summarise(run)))


def test_a_held_plan_never_lets_go_early():
    plan = {"prefill": np.array([1, 5, 2, 2, 2])}

    assert held(plan, 2)["prefill"].tolist() == [1, 5, 5, 5, 2]


def test_the_late_plan_misses_the_step_it_learns_late():
    """From 15 to 28 requests a second: everybody misses until a start-up and an interval have gone by."""
    mine = world((15.0, 15.0, 28.0, 28.0, 28.0, 28.0, 28.0))
    known = shares(mine)
    run = late(mine, known)
    minute = (mine.traffic.arrivals_s // 60).astype(int)
    quick = run.ttft_s <= mine.promise.ttft_s

    assert quick[minute == 3].mean() < 0.1
    assert quick[minute == 6].mean() > 0.9
