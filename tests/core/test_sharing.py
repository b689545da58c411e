"""Several planners under one budget: who gets what, what is said, and what never happens."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.core.planner import Planner
from planner.core.sharing import Member, SharedBudget, SharedPlanner
from planner.core.types import Observation, PoolReading, Reason
from tests.core.worlds import AGGREGATED, SLA, policy, seen

FLEET = {"prefill": 2, "decode": 2}


def together(limit, priorities=(1.0, 1.0), in_cost=False, **policies):
    """A shared planner over models a, b, …; each policy as given, or the slo law on two pools."""
    members = {
        name: Member(Planner(policies.get(name, policy())), priority)
        for name, priority in zip("abcdef", priorities, strict=False)
    }
    return SharedPlanner(members, SharedBudget(limit, in_cost))


def fed(shared, rates, minutes=6.0, start=0.0, fleets=None):
    """Feed each model its rate (``None``: blind) every 5 s; fleets asked for are there at once. All decisions."""
    asked, decisions = dict(fleets or dict.fromkeys(rates, FLEET)), []
    for i in range(int(minutes * 12)):
        decisions.append(shared.step({name: seen(start + 5.0 * i, rate, asked[name]) for name, rate in rates.items()}))
        asked = {name: dict(decision.replicas) for name, decision in decisions[-1].items()}
    return decisions


def gpus(decisions):
    return sum(n for decision in decisions.values() for n in decision.replicas.values())


def test_nobody_notices_a_budget_that_is_enough():
    alone = Planner(policy())
    by_itself = [alone.step(seen(5.0 * i, 60.0, FLEET)) for i in range(40)]
    with_others = fed(together(500), {"a": 60.0, "b": 200.0}, minutes=40 / 12)

    assert [d.replicas for d in by_itself] == [d["a"].replicas for d in with_others]
    assert all(d["a"].adjustments == mine.adjustments for d, mine in zip(with_others, by_itself, strict=True))


def test_what_is_short_is_said():
    plenty = gpus(fed(together(500), {"a": 100.0, "b": 100.0})[-1])
    last = fed(together(plenty - 3), {"a": 100.0, "b": 100.0})[-12]  # a full decision
    moved = [a for d in last.values() for a in d.adjustments if a.reason is Reason.SHARED_BUDGET]

    assert gpus(last) == plenty - 3
    assert sum(a.before - a.after for a in moved) == 3
    assert all(d.replicas[a.pool] == a.after for d in last.values() for a in d.adjustments if a in moved)


def test_priority_decides_who_goes_short():
    plenty = gpus(fed(together(500), {"a": 150.0, "b": 150.0})[-1])
    short = 0.7 * plenty
    first = fed(together(short, (5.0, 1.0)), {"a": 150.0, "b": 150.0})[-12]
    second = fed(together(short, (1.0, 5.0)), {"a": 150.0, "b": 150.0})[-12]

    assert first["a"].expected.attainment > 0.95 > first["b"].expected.attainment
    assert second["b"].expected.attainment > 0.95 > second["a"].expected.attainment


def test_the_expectation_is_of_what_was_given():
    given_all = fed(together(500), {"a": 150.0, "b": 20.0})[-12]["a"]
    cut = fed(together(8), {"a": 150.0, "b": 20.0})[-12]["a"]

    assert cut.expected.attainment < given_all.expected.attainment


@settings(max_examples=15)
@given(
    st.integers(4, 30),
    st.lists(st.lists(st.one_of(st.none(), st.floats(0.0, 500.0)), min_size=2, max_size=2), min_size=1, max_size=4),
)
def test_the_budget_holds_at_every_step(limit, story):
    """Whatever comes, overload or blindness, and nobody who serves goes to zero."""
    shared, fleets = together(limit), None
    for part, rates in enumerate(story):
        for decisions in fed(shared, dict(zip("ab", rates, strict=True)), 1.5, 90.0 * part, fleets):
            assert gpus(decisions) <= limit
            assert all(n >= 1 for decision in decisions.values() for n in decision.replicas.values())
            fleets = {name: dict(decision.replicas) for name, decision in decisions.items()}


def test_between_decisions_an_overload_takes_what_is_free_and_no_more():
    """A burst gets the free GPUs at once; what b has stays where it is."""
    shared = together(25)
    calm = fed(shared, {"a": 20.0, "b": 150.0}, minutes=73 / 12)[-1]
    fleets = {name: dict(d.replicas) for name, d in calm.items()}
    at_once = fed(shared, {"a": 1500.0, "b": 150.0}, 3 / 12, 365.0, fleets)

    assert {d["a"].reason for d in at_once} <= {Reason.FAST_PATH, Reason.HELD_BETWEEN}
    assert gpus(at_once[-1]) == 25 > gpus(calm)
    assert all(d["b"].replicas == calm["b"].replicas for d in at_once)


def test_a_blind_model_keeps_its_fleet_while_others_share():
    shared = together(30)
    before = fed(shared, {"a": 80.0, "b": 80.0})[-1]
    blind = fed(shared, {"a": None, "b": 80.0}, start=360.0, fleets={n: dict(d.replicas) for n, d in before.items()})

    assert all(d["a"].replicas == before["a"].replicas for d in blind)
    assert {d["a"].reason for d in blind} == {Reason.HELD_BLIND}


def test_laws_without_a_model_share_too():
    """A fixed fleet is worth what its scarcest pool has of it: 40 requests/s with 10 GPUs are fewer than b's."""
    fixed = policy(law="static", fixed={"prefill": 6, "decode": 4})
    last = fed(together(10, a=fixed), {"a": 40.0, "b": 100.0})[-12]

    assert gpus(last) == 10
    assert last["b"].expected.attainment > 0.9
    assert sum(last["a"].replicas.values()) < 6


def test_a_budget_in_cost_counts_each_pool_at_its_price():
    dear = policy(pools=(replace(AGGREGATED, cost=3.0),))
    shared = together(12.0, in_cost=True, a=dear)
    pools = {"aggregated": 1}
    for i in range(60):
        reading = {name: PoolReading(n, n) for name, n in pools.items()}
        mine = replace(seen(5.0 * i, 100.0), pools=reading)
        decisions = shared.step({"a": mine, "b": seen(5.0 * i, 100.0)})
        pools = dict(decisions["a"].replicas)

    assert 3.0 * decisions["a"].replicas["aggregated"] + sum(decisions["b"].replicas.values()) <= 12.0


def test_a_budget_below_what_all_need_to_serve_is_refused():
    with pytest.raises(ValueError, match=r"budget \(3 GPUs\) is below the smallest fleets that serve \(4: a 2, b 2\)"):
        together(3)


def test_a_member_may_be_stepped_by_somebody_who_runs_its_fits():
    """The step that is given takes the place of the planner's own."""
    planner, calls = Planner(policy(sla=SLA)), []

    def step(observation: Observation):
        calls.append(observation.at)
        return planner.step(observation)

    SharedPlanner({"a": Member(planner, step=step)}, SharedBudget(10)).step({"a": seen(0.0, 10.0)})

    assert calls == [0.0]
