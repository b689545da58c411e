"""Supply that fails: what is overdue is no supply, is made up for within bounds, and never holds a fleet up."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.core.decide import decide
from planner.core.planner import Planner
from planner.core.state import PlannerState
from planner.core.supply import Supply
from planner.core.tuning import Tuning
from planner.core.types import Decision, Observation, PoolReading, Reason
from tests.core.worlds import DECODE, PREFILL, policy, window

TUNING = Tuning(patience=2.0)
BELIEVED = replace(PREFILL, startup_s=100.0)


def learnt(*startups: float, one_by_one: bool = True) -> Supply:
    known = Supply()
    looks = [(s,) for s in startups] if one_by_one else [startups]
    for i, look in enumerate(looks):
        known = known.learnt(BELIEVED, PoolReading(1, 1, startups_s=look), 1000.0 + i, TUNING)
    return known


def test_a_startup_time_that_is_another_is_learnt_from_three():
    assert learnt(150.0).startup_s(BELIEVED) == 100.0
    assert learnt(150.0, 150.0, 150.0).startup_s(BELIEVED) == 150.0
    assert learnt(*[30.0] * 3).startup_s(BELIEVED) == 30.0
    # ten times as long: the belief doubles whenever most are longer than it
    assert learnt(*[1000.0] * 20).startup_s(BELIEVED) == 1000.0


@given(st.permutations([100.0] * 4 + [300.0] * 2 + [1.0]))
def test_neither_tail_moves_the_startup_time(startups):
    assert learnt(*startups).startup_s(BELIEVED) == 100.0


def test_a_shortage_is_no_startup_time():
    """Ten replicas waited an hour for their GPUs, and came at once."""
    assert learnt(*[3600.0] * 10, one_by_one=False).startup_s(BELIEVED) <= 200.0


def made_up(planned: int, ready: int, ages: tuple[float, ...], newest_at: float | None = None, at: float = 10_000.0):
    reading = PoolReading(ready + len(ages), ready, ages)
    return Supply(newest_at=newest_at).made_up(BELIEVED, reading, planned, at, TUNING)


def test_one_that_was_overtaken_is_made_up_for():
    overtaken = 9_900.0  # a replica that was asked for 100 s ago is ready
    assert made_up(6, 5, (190.0,), overtaken) == 0  # not overdue yet
    assert made_up(6, 5, (210.0,), overtaken) == 1
    assert made_up(6, 3, (210.0, 210.0, 900.0, 50.0), overtaken) == 3
    assert made_up(6, 2, (500.0,) * 10, overtaken) == 3  # half a fleet at most


@pytest.mark.parametrize(("age", "tries"), [(190.0, 0), (210.0, 1), (410.0, 2), (790.0, 2), (810.0, 3), (3600.0, 5)])
def test_where_nothing_comes_tries_are_few(age, tries):
    """GPUs that are not to be had are not had sooner by asking for more."""
    assert made_up(20, 10, (age,) * 10) == tries
    assert made_up(20, 10, (age,) * 10, newest_at=10_000.0 - age - 60.0) == tries


def test_once_all_is_ready_nothing_is_made_up_for():
    """The famous deadlock: a replica that cannot be scheduled must not keep an idle fleet from going."""
    assert made_up(3, 3, (4000.0, 4000.0), 9_990.0) == 0
    assert made_up(0, 0, (4000.0,)) == 0


class Platform:
    """Keeps what is asked for; every ``hangs``-th replica never comes, none does in a shortage, nor beyond ``most``."""

    def __init__(self, fleet: dict[str, int], startup_s: float = 60.0, hangs: int = 0, most: int = 10**6) -> None:
        self.startup_s, self.hangs, self.most, self.shortage = startup_s, hangs, most, False
        self.asked = 0
        self.ready = dict(fleet)
        self.starting: dict[str, list[tuple[float, bool]]] = {name: [] for name in fleet}

    def observe(self, at: float, rate: float | None) -> Observation:
        pools = {}
        for name, waiting in self.starting.items():
            come = []
            for one in list(waiting):
                room = sum(self.ready.values()) < self.most
                if not one[1] and at - one[0] >= self.startup_s and not self.shortage and room:
                    waiting.remove(one)
                    come.append(at - one[0])
                    self.ready[name] += 1
            ages = tuple(at - asked for asked, _ in waiting)
            pools[name] = PoolReading(self.ready[name] + len(waiting), self.ready[name], ages, tuple(come))
        return Observation(at, pools, None if rate is None else window(rate))

    def apply(self, decision: Decision) -> None:
        for name, n in decision.replicas.items():
            waiting = self.starting[name]
            while self.ready[name] + len(waiting) < n:
                self.asked += 1
                waiting.append((decision.at, bool(self.hangs) and self.asked % self.hangs == 0))
            while self.ready[name] + len(waiting) > n:  # newest first, as a ReplicaSet does
                if waiting:
                    waiting.pop()
                else:
                    self.ready[name] -= 1


def lived(platform: Platform, planner: Planner, rates: list[float | None], start: float = 0.0) -> list[Decision]:
    decisions = []
    for i, rate in enumerate(rates):
        decisions.append(planner.step(platform.observe(start + 5.0 * i, rate)))
        platform.apply(decisions[-1])
    return decisions


FLEET = {"prefill": 2, "decode": 2}


def mine(**more: object):
    pools = (replace(PREFILL, startup_s=60.0), replace(DECODE, startup_s=60.0))
    return policy(**{"pools": pools, **more})


def test_a_fleet_with_hanging_replicas_gets_what_it_needs_and_lets_the_hanging_go():
    """Every other replica hangs; the load needs four more."""
    platform, planner = Platform(FLEET, hangs=2), Planner(mine())
    decisions = lived(platform, planner, [20.0] * 60 + [90.0] * 240)
    need = decisions[-1].wanted["prefill"]
    told = [d for d in decisions if any(a.reason is Reason.OVERDUE for a in d.adjustments)]

    assert platform.ready["prefill"] >= need > 2
    assert told
    assert all("not ready after" in " ".join(d.notes) for d in told)
    # nothing hangs about any more, and nothing is told of it
    assert platform.starting["prefill"] == []
    assert decisions[-1].notes == ()


def test_in_a_shortage_the_fleet_asked_for_stays_bounded_and_goes_when_load_goes():
    platform, planner = Platform(FLEET), Planner(mine(stabilization_s=60.0))
    lived(platform, planner, [20.0] * 60)
    platform.shortage = True
    short = lived(platform, planner, [90.0] * 720, 300.0)  # an hour
    idle = lived(platform, planner, [0.0] * 60, 3900.0)
    extra = [d.replicas["prefill"] - max(w.wanted["prefill"] for w in short) for d in short]

    assert max(extra) <= 6
    assert dict(idle[-1].replicas) == {"prefill": 1, "decode": 1}
    assert platform.starting == {"prefill": [], "decode": []}


def test_what_is_expected_leaves_out_what_does_not_come():
    platform, planner = Platform(FLEET), Planner(mine(budget_gpus=9))
    lived(platform, planner, [20.0] * 60)
    platform.shortage = True
    short = [d for d in lived(platform, planner, [90.0] * 120, 300.0) if d.expected is not None]

    assert short[-1].expected.attainment < 0.2 < short[0].expected.attainment  # type: ignore[union-attr, operator]


def test_other_laws_are_left_as_they_are():
    platform, planner = Platform(FLEET, hangs=2), Planner(mine(law="static", fixed={"prefill": 6, "decode": 4}))
    decisions = lived(platform, planner, [20.0] * 100)

    assert {tuple(d.replicas.values()) for d in decisions[-50:]} == {(6, 4)}
    assert "not ready after" in " ".join(decisions[-1].notes)


looks = st.lists(
    st.tuples(
        st.one_of(st.none(), st.floats(0.0, 500.0)),  # requests per second
        st.booleans(),  # whether there are GPUs
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(looks, st.integers(0, 3), st.integers(2, 30), st.integers(3, 12), st.integers(1, 2), st.integers(2, 40))
def test_bounds_and_budget_hold_whatever_does_not_come(looks, hangs, budget, most, gpus, there):
    pools = (
        replace(PREFILL, startup_s=10.0, max_replicas=most, gpus=gpus),
        replace(DECODE, startup_s=10.0, max_replicas=most),
    )
    given_policy = policy(pools=pools, budget_gpus=gpus + 1 + budget, interval_s=10.0, stabilization_s=30.0)
    planner, platform = Planner(given_policy), Platform({"prefill": 1, "decode": 1}, 10.0, hangs, there)
    for i, (rate, supplied) in enumerate(looks):
        platform.shortage = not supplied
        decision = planner.step(platform.observe(5.0 * i, rate))
        platform.apply(decision)
        assert decision.replicas["prefill"] * gpus + decision.replicas["decode"] <= gpus + 1 + budget
        assert all(1 <= n <= most for n in decision.replicas.values())


ages = st.lists(st.floats(0.0, 5000.0), max_size=12).map(tuple)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.0, 500.0), min_size=15, max_size=30), ages, ages, st.integers(0, 12), st.floats(0, 200.0))
def test_overdue_replicas_never_mean_fewer(rates, prefill, decode, ready, newest):
    """Whatever is overdue: as many as without it, and at most half as many again and a few tries."""
    given_policy, state = mine(interval_s=10.0), PlannerState()
    for i, rate in enumerate(rates):
        at = 5.0 * i
        late = {
            "prefill": PoolReading(ready + len(prefill), ready, prefill),
            "decode": PoolReading(ready + len(decode), ready, decode),
        }
        fine = {name: replace(reading, starting_s=()) for name, reading in late.items()}
        state = replace(state, supply={name: Supply(newest_at=at - newest) for name in late})
        with_late, after = decide(given_policy, state, Observation(at, late, window(rate)))
        without, _ = decide(given_policy, state, Observation(at, fine, window(rate)))
        for name in late:
            n = without.replicas[name]
            assert n <= with_late.replicas[name] <= n + -(-n // 2) + 6
        state = after
