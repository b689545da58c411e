"""Several models on one clock: their worlds stay apart, their budget does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.core.allocation import Claim
from planner.core.planner import Planner
from planner.core.sharing import Member, SharedBudget
from planner.simulation.shared import SPLITS, Tenant, shares_of, simulate
from planner.simulation.simulate import simulate as simulate_alone
from tests.core.worlds import policy
from tests.simulation.worlds import traffic, world

FLEET = {"prefill": 2, "decode": 1}


def tenant(rates, priority=1.0, **more) -> Tenant:
    return Tenant(world(rates, **more), Member(Planner(policy()), priority), FLEET)


def three(**priorities) -> dict[str, Tenant]:
    """A quiet model, one that grows, one that fades; their wishes come to about 12 GPUs."""
    loads = {"quiet": [5.0] * 8, "grows": [20.0] * 2 + [70.0] * 6, "fades": [60.0] * 4 + [10.0] * 4}
    return {
        name: tenant(rates, priorities.get(name, 1.0), traffic=traffic(rates, seed))
        for seed, (name, rates) in enumerate(loads.items())
    }


@pytest.mark.parametrize("split", SPLITS)
def test_the_budget_holds_and_everybody_serves(split):
    run = simulate(three(), SharedBudget(9.0), split)

    assert run.most <= 9.0
    for one in run.runs.values():
        assert all(n >= 1 for step in one.steps for n in step.decision.replicas.values())


def test_with_enough_for_all_each_runs_as_if_it_were_alone():
    together = simulate(three(), SharedBudget(100.0), "value").runs["grows"]
    alone = three()["grows"]
    by_itself = simulate_alone(alone.world, "slo", alone.member.planner, alone.initial)

    assert [s.decision.replicas for s in together.steps] == [s.decision.replicas for s in by_itself.steps]
    assert together.ttft_s.tolist() == by_itself.ttft_s.tolist()


def test_runs_repeat():
    first, second = (simulate(three(), SharedBudget(8.0), "value").runs["fades"] for _ in range(2))

    assert [s.decision for s in first.steps] == [s.decision for s in second.steps]


def test_shares_count_priorities():
    tenants = three(quiet=3.0)
    shares = shares_of(simulate(tenants, SharedBudget(9.0), "equal"), tenants, SharedBudget(9.0))
    kept = {
        name: s.attainment.both * s.requests * (3.0 if name == "quiet" else 1.0) for name, s in shares.models.items()
    }
    came = {name: s.requests * (3.0 if name == "quiet" else 1.0) for name, s in shares.models.items()}

    assert shares.attainment == pytest.approx(sum(kept.values()) / sum(came.values()))
    assert shares.gpu_hours == pytest.approx(sum(s.gpu_hours for s in shares.models.values()))


def test_models_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="traffic of one length: short 2 min, long 8 min"):
        simulate({"short": tenant([5.0] * 2), "long": tenant([5.0] * 8)}, SharedBudget(9.0), "value")


def test_models_are_looked_at_together():
    with pytest.raises(ValueError, match="scrape is"):
        simulate({"a": tenant([5.0]), "b": tenant([5.0], scrape_s=10.0)}, SharedBudget(9.0), "value")


def chain(wanted: int, **more) -> Claim:
    """One pool that keeps a request a second for each replica."""
    return Claim({"decode": wanted}, {"decode": min(1, wanted)}, {"decode": 1.0}, lambda f: float(f["decode"]), **more)


def test_the_ways_to_share_by_example():
    """10 GPUs for wishes of 4 and 12, of which 2 and 6 are there."""
    claims = {"a": chain(4), "b": chain(12, weight=2.0)}
    held = {"a": {"decode": 2}, "b": {"decode": 6}}
    given = {name: split(claims, held, 10.0) for name, split in SPLITS.items()}
    sizes = {name: tuple(fleet["decode"] for fleet in fleets.values()) for name, fleets in given.items()}

    assert sizes == {"value": (1, 9), "equal": (4, 5), "proportional": (2, 7), "first-come": (4, 6)}


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=2, max_size=5), st.integers(5, 60))
def test_every_way_to_share_keeps_the_budget_and_the_wish(wishes, budget):
    claims = {str(i): chain(wanted) for i, (wanted, _) in enumerate(wishes)}
    free = budget
    held = {}
    for i, (_, has) in enumerate(wishes):  # nobody holds more than there is
        held[str(i)] = {"decode": min(has, free)}
        free -= held[str(i)]["decode"]
    for split in SPLITS.values():
        fleets = split(claims, held, float(budget))
        assert sum(fleet["decode"] for fleet in fleets.values()) <= budget
        assert all(0 <= fleets[name]["decode"] <= claim.wanted["decode"] for name, claim in claims.items())


def test_a_fleet_that_is_too_large_at_the_start_is_cut():
    tenants = {name: replace(one, initial={"prefill": 9, "decode": 9}) for name, one in three().items()}
    run = simulate(tenants, SharedBudget(9.0), "value")
    at_start = [span for one in run.runs.values() for span in one.spans if span.asked_s == 0.0]

    assert 6 <= len(at_start) <= 9
