"""The decision as stories, and what holds for every story."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from planner.adapters.profile_files import load as load_profile
from planner.core.decide import decide
from planner.core.planner import Planner
from planner.core.saving import restored, saved
from planner.core.state import PlannerState
from planner.core.tuning import Tuning
from planner.core.types import Observation, PoolReading, Reason
from tests.core.worlds import AGGREGATED, DECODE, PREFILL, SLA, histogram, load, policy, seen

FLEET = {"prefill": 2, "decode": 2}


def fed(planner, rates, start=0.0, fleet=None, follow=True, **more):
    """Feed one rate a tick of 5 s; the fleet asked for is there at the next tick. Returns all decisions."""
    asked, decisions = dict(fleet or FLEET), []
    for i, rate in enumerate(rates):
        decisions.append(planner.step(seen(start + 5.0 * i, rate, asked, **more)))
        if follow:
            asked = dict(decisions[-1].replicas)
    return decisions


def test_missing_data_holds_what_was_asked_for():
    """A window nobody measured is not a window without requests; what still starts must not be cancelled."""
    planner = Planner(policy())
    fed(planner, [40.0] * 30)
    pools = {"prefill": PoolReading(requested=7, ready=2), "decode": PoolReading(requested=3, ready=3)}
    decision = planner.step(Observation(1000.0, pools, None, ("prometheus: connection refused",)))

    assert dict(decision.replicas) == {"prefill": 7, "decode": 3}
    assert decision.reason is Reason.HELD_BLIND
    assert decision.notes == ("prometheus: connection refused",)


def unsaid(step, **ready):
    """What a source shows that counts who serves, ``ready``, and does not know what was asked for."""
    return replace(step, pools={name: PoolReading(n, n, requested_known=False) for name, n in ready.items()})


def test_where_nobody_says_what_was_asked_for_a_blind_step_holds_what_we_asked_for():
    """prop-6: three of nine workers up is no wish for three, nor a pool that is out of sight one for a single one."""
    planner = Planner(policy())
    asked = fed(planner, [200.0] * 40)[-1].replicas
    shown = ({"prefill": 3, "decode": 1}, {"prefill": 3}, {"prefill": 0, "decode": 0})
    decisions = [planner.step(unsaid(seen(200.0 + 5.0 * i, None), **up)) for i, up in enumerate(shown)]

    assert asked["prefill"] > 3
    assert all(d.reason is Reason.HELD_BLIND and dict(d.replicas) == dict(asked) for d in decisions)


def test_where_somebody_says_what_was_asked_for_that_counts_and_not_what_we_asked_for():
    """Somebody scaled by hand; not what is ready, not what the planner remembers."""
    planner = Planner(policy())
    fed(planner, [200.0] * 40)
    pools = {"prefill": PoolReading(requested=31, ready=2), "decode": PoolReading(requested=1, ready=1)}

    assert dict(planner.step(Observation(200.0, pools)).replicas) == {"prefill": 31, "decode": 1}


def test_before_the_first_decision_the_most_that_was_found_is_held():
    planner = Planner(policy())
    ready = ({"prefill": 9, "decode": 4}, {"prefill": 2, "decode": 4}, {"prefill": 9, "decode": 6})
    decisions = [planner.step(unsaid(seen(5.0 * i, None), **up)) for i, up in enumerate(ready)]

    assert [tuple(d.replicas.values()) for d in decisions] == [(9, 4), (9, 4), (9, 6)]


@pytest.mark.parametrize("law", ["slo", "classic"])
@pytest.mark.parametrize("rate", [None, 0.0, 40.0])
def test_nothing_is_asked_of_a_pool_of_which_nothing_is_known(law, rate):
    """Its labels may be wrong, and ten workers stand behind them: it is left out until a full decision needs it."""
    planner = Planner(policy(law=law, budget_gpus=6))
    shown = ({"prefill": 9}, {"prefill": 9, "decode": 0}, {"prefill": 9})
    decisions = [planner.step(unsaid(seen(5.0 * i, rate), **up)) for i, up in enumerate(shown)]

    assert [dict(d.replicas) for d in decisions] == [{"prefill": 6}] * 3  # all of the budget of six GPUs


@pytest.mark.parametrize("law", ["slo", "classic"])
@pytest.mark.parametrize("shown", ["prefill", "decode"])
def test_a_pool_that_was_never_seen_is_sized_for_the_load(law, shown):
    """Scaled to nothing it has no worker to show, and requests come all the same."""
    profile = load_profile("h200-llama31-8b-fp8-tp1")
    pools = tuple(replace(pool, profile=profile) for pool in (PREFILL, DECODE))
    planner = Planner(policy(law=law, pools=pools))
    decisions = [planner.step(unsaid(seen(5.0 * i, 40.0), **{shown: 3})) for i in range(30)]

    assert next(d for d in decisions if len(d.replicas) == 2).reason is Reason.SIZED
    assert min(decisions[-1].replicas.values()) >= 1


@pytest.mark.parametrize(
    ("away_s", "held"), [(60.0, {"prefill": 2, "decode": 2}), (86_400.0, {"prefill": 27, "decode": 2})]
)
def test_what_was_asked_for_before_a_long_absence_takes_nothing_from_those_who_serve(away_s, held):
    """A state of last night says two, and by day somebody made it 27: until there is a decision they stay."""
    state = replace(PlannerState(), at=0.0, decided_at=0.0, asked={"prefill": 2, "decode": 2})
    planner = Planner(policy(), state)

    assert dict(planner.step(unsaid(seen(away_s, None), prefill=27, decode=1)).replicas) == held


@pytest.mark.parametrize("law", ["slo", "classic"])
@pytest.mark.parametrize("back_s", [61.0, 86_400.0])
def test_a_clock_that_was_set_back_freezes_nothing(law, back_s):
    """What was decided a day ahead, and what was wanted then, must not hold until it is that day again."""
    profile = load_profile("h200-llama31-8b-fp8-tp1")
    pools = tuple(replace(pool, profile=profile) for pool in (PREFILL, DECODE))
    planner = Planner(policy(law=law, pools=pools, predictor="default"))
    start = 1_000_020.0  # at the start of a minute
    busy = fed(planner, [200.0] * 60, start=start)[-1].replicas
    after = fed(planner, [20.0] * 240, start=start + 300.0 - back_s, fleet=dict(busy))

    assert sum(d.reason is Reason.SIZED for d in after) >= 19  # 20 minutes
    assert sum(after[-1].replicas.values()) < sum(busy.values())


def test_a_clock_that_was_set_back_a_little_waits_for_its_time():
    """A second or two are no reason to forget the forecasts."""
    planner = Planner(policy(predictor="default"))
    fed(planner, [200.0] * 60, start=1_000_020.0)
    forecasts = planner.state.predictors
    planner.step(seen(1_000_020.0 + 294.0 - 30.0, 200.0))

    assert forecasts
    assert planner.state.predictors == forecasts


def test_a_fit_of_a_forecast_that_was_given_up_is_dropped():
    """It was running when the clock was set back; the planner goes on without it."""
    planner = Planner(policy(predictor="arima"))
    planner.adopt("rate", {"order": [1, 0, 0]})

    assert planner.state.predictors == {}


def test_an_hour_of_blindness_holds_for_an_hour():
    planner = Planner(policy())
    busy = fed(planner, [200.0] * 40)[-1].replicas
    blind = fed(planner, [None] * 720, start=200.0, fleet=busy)

    assert all(dict(d.replicas) == dict(busy) for d in blind)


def test_zero_traffic_goes_to_the_minimum_when_the_window_has_passed():
    """prop-5: measured idleness, not absence. Peers that divide by zero hold forever."""
    planner = Planner(policy(pools=(replace(PREFILL, min_replicas=1), replace(DECODE, min_replicas=0))))
    fed(planner, [100.0] * 40)
    idle = fed(planner, [0.0] * 240, start=200.0, fleet={"prefill": 6, "decode": 3})

    assert dict(idle[30].replicas) != {"prefill": 1, "decode": 0}  # inside the stabilization window
    assert dict(idle[-1].replicas) == {"prefill": 1, "decode": 0}


@pytest.mark.parametrize("pools", [(PREFILL, DECODE), (AGGREGATED,)], ids=["disaggregated", "aggregated"])
@pytest.mark.parametrize("seed", [1, 26, 32, 67, 104, 121, 139])
def test_a_fleet_does_not_grow_in_a_silence(pools, seed):
    """The highest scenario stays for a while and the mean goes: the fleet must not be held to a share of nothing."""
    chance = random.Random(seed)
    planner = Planner(policy(pools=pools, predictor="default", interval_s=10.0))
    ticks, level, rates = chance.randint(10, 60), 10 ** chance.uniform(0.0, 2.3), []
    for _ in range(chance.randint(1, 4)):
        base = level * chance.choice([0.3, 1.0, 2.0, 4.0])
        rates += [base * chance.uniform(0.8, 1.2) for _ in range(ticks)]
    busy = fed(planner, rates, fleet={pool.name: 4 for pool in pools})
    idle = fed(planner, [0.0] * 120, start=5.0 * len(rates), fleet=dict(busy[-1].replicas))
    first, *later = [sum(d.wanted.values()) for d in idle if d.reason in (Reason.SIZED, Reason.IDLE)]

    assert max(later) <= max(first + 1, 1.05 * first)


def test_where_no_requests_were_foreseen_the_work_in_one_is_not_made_up():
    """A forecast of next to nothing: tokens over requests is a ratio of two errors."""
    silent = replace(load(1e-6), prompt_rates=(1.0,) * 5, answer_rates=(0.0,) * 5)
    sudden = silent.at(40.0)

    assert sudden.rates == (40.0,)
    assert sudden.prompt_rates == (80.0,)
    assert sudden.answer_rates == (20.0,)


def test_a_dip_must_outlive_the_stabilization_window():
    planner = Planner(policy(stabilization_s=300.0))
    peak = fed(planner, [200.0] * 60)[-1].replicas["prefill"]
    dip = fed(planner, [20.0] * 240, start=300.0, fleet={"prefill": peak, "decode": 4})

    assert dip[24].replicas["prefill"] == peak  # two minutes in
    assert dip[-1].replicas["prefill"] < peak


def test_what_a_backlog_asks_for_goes_when_it_is_worked_off():
    """Its load is held through the stabilization window as ever, what was there to be rid of the queue is not."""
    planner, fleet = Planner(policy(stabilization_s=300.0)), {"prefill": 2, "decode": 2}
    calm = fed(planner, [30.0] * 120, fleet=fleet)[-1].replicas["prefill"]
    asked = {"prefill": calm, "decode": 2}
    queued = seen(600.0, 30.0, asked)
    queued = replace(queued, pools={**queued.pools, "prefill": replace(queued.pools["prefill"], waiting=3000.0)})
    helped = planner.step(queued).replicas
    assert helped["prefill"] > calm
    after = fed(planner, [30.0] * 13, start=605.0, fleet=helped)
    assert after[-1].replicas["prefill"] == calm


@pytest.mark.parametrize("factor", [4, 16, 64])
def test_an_overload_of_k_times_is_answered_at_once(factor):
    """prop-8: one decision sized for what is there, within three scrapes, not k steps of +1."""
    planner = Planner(policy())
    fed(planner, [20.0] * 60)
    burst = fed(planner, [20.0 * factor] * 4, start=300.0)
    fast = [d for d in burst if d.reason in (Reason.FAST_PATH, Reason.SIZED)]

    # 20 requests/s × 39.8 ms = 0.796 busy; k times that is the least that can serve it
    assert fast[-1].replicas["prefill"] >= 0.796 * factor
    assert max(d.at for d in fast) <= 315.0


def test_an_overload_out_of_a_silence_is_answered_at_once():
    planner = Planner(policy())
    fed(planner, [10.0] * 36 + [0.0] * 720)
    assert planner.state.load is not None
    decisions = fed(planner, [100.0] * 6, start=5.0 * 756, fleet={"prefill": 1, "decode": 1})
    fast = [d for d in decisions if d.reason is Reason.FAST_PATH]
    assert fast
    sized = fed(planner, [100.0] * 24, start=5.0 * 762, fleet=fast[-1].replicas)[-1]
    for pool, n in sized.replicas.items():
        assert fast[-1].replicas[pool] >= 0.6 * n


def crowded(rate: float, running: float, itl: float, at: float, fleet: dict[str, int]) -> Observation:
    """As many requests as ever, and so many sequences in decode that take ``itl`` seconds a token."""
    told = seen(at, rate, fleet, itl=itl)
    decode = replace(told.pools["decode"], running=running, step_seconds=histogram("itl", itl, 5 * running / itl))
    return replace(told, pools={**told.pools, "decode": decode})


def test_answers_that_grow_longer_are_seen_before_they_end():
    """Nothing waits, no rate rises, and no answer that has ended is longer: only the sequences in decode tell."""
    planner, fleet = Planner(policy()), {"prefill": 2, "decode": 2}
    fed(planner, [20.0] * 240, fleet=fleet)
    calm = planner.state.asked["decode"]
    grown = [
        planner.step(crowded(20.0, 400.0 + 20.0 * i, 0.04, 1200.0 + 5.0 * i, {"prefill": 2, "decode": calm}))
        for i in range(26)
    ]
    assert grown[-1].replicas["decode"] >= calm + 2
    assert grown[-1].replicas["prefill"] == 2


def test_a_crowd_that_is_not_seen_for_once_is_still_there():
    planner, fleet = Planner(policy()), {"prefill": 2, "decode": 2}
    fed(planner, [20.0] * 240, fleet=fleet)
    for i in range(13):
        planner.step(crowded(20.0, 2000.0, 0.04, 1200.0 + 5.0 * i, fleet))
    before = planner.state.crowd
    assert before > 0
    for i in range(13, 26):
        told = crowded(20.0, 2000.0, 0.04, 1200.0 + 5.0 * i, fleet)
        planner.step(replace(told, pools={**told.pools, "decode": PoolReading(2, 2)}))
    assert planner.state.crowd == before


def test_many_sequences_within_the_itl_target_are_no_crowd():
    """Replicas that end their last answers are counted in what runs, not in what is ready."""
    planner = Planner(policy())
    fed(planner, [20.0] * 240)
    calm = planner.state.asked["decode"]
    for i in range(26):
        decision = planner.step(crowded(20.0, 4000.0, 0.02, 1200.0 + 5.0 * i, {"prefill": 2, "decode": calm}))
    assert planner.state.crowd == 0.0
    assert decision.replicas["decode"] <= calm + 1


def test_the_fast_look_never_lowers():
    planner = Planner(policy())
    fed(planner, [20.0] * 60)
    high = fed(planner, [400.0] * 4, start=300.0)
    after = fed(planner, [20.0] * 8, start=320.0, fleet=dict(high[-1].replicas))

    assert all(d.replicas["prefill"] >= high[-1].replicas["prefill"] for d in after)


def test_a_start_that_knows_nothing_keeps_what_it_found():
    decisions = fed(Planner(policy()), [30.0] * 20, fleet={"prefill": 9, "decode": 4})

    assert all(dict(d.replicas) == {"prefill": 9, "decode": 4} for d in decisions)


def test_an_infeasible_sla_is_said_with_the_best_reachable():
    planner = Planner(policy(sla=replace(SLA, itl_s=0.001)))
    decision = fed(planner, [40.0] * 30)[-6]
    sized = [d for d in fed(planner, [40.0] * 30, start=150.0) if d.reason is Reason.INFEASIBLE]

    assert sized
    assert not sized[0].feasible
    assert any("best reachable" in note for note in sized[0].notes)
    assert decision is not None


def test_queueing_is_not_mistaken_for_a_slow_engine():
    """TTFT of two seconds with replicas busy as the profile says: the correction stays near 1."""
    planner = Planner(policy())
    for i in range(120):
        # 50 requests/s × 40 ms = 2 replicas busy all the time; requests wait, the engine is as profiled
        step = seen(5.0 * i, 50.0, {"prefill": 2, "decode": 4}, ttft=2.0)
        pools = {**step.pools, "prefill": PoolReading(requested=2, ready=2, running=2.0, waiting=100.0)}
        planner.step(replace(step, pools=pools))

    assert planner.state.slowness["prefill"] == pytest.approx(1.0, abs=0.1)


def test_a_slow_engine_is_learnt_from_how_long_it_is_busy():
    """The same traffic keeps 3 replicas busy instead of 2: half as slow again as profiled."""
    planner = Planner(policy())
    for i in range(240):
        step = seen(5.0 * i, 50.0, {"prefill": 4, "decode": 4})
        pools = {**step.pools, "prefill": PoolReading(requested=4, ready=4, running=3.0, waiting=0.0)}
        planner.step(replace(step, pools=pools))

    assert planner.state.slowness["prefill"] == pytest.approx(1.5, abs=0.15)


def test_long_answers_are_foreseen_over_as_long_as_they_take():
    """Minutes scatter by half. Answers of 4,000 tokens × 25 ms last 100 s: decode feels the mean of more than one."""
    rates = [rate for minute in range(90) for rate in [20.0 if minute % 2 else 10.0] * 12]
    lasting, by_minute = (Planner(policy(tuning=Tuning(lasting=part), stabilization_s=0.0)) for part in (1.0, 0.0))
    long, short = (fed(planner, rates, osl=4000.0)[-240:] for planner in (lasting, by_minute))

    most = [max(d.replicas["decode"] for d in decisions) for decisions in (long, short)]
    assert most[0] < most[1]
    # e^(-60/100) = 0.55 of a minute's difference stays: by hand 13.5 requests/s after a quiet minute, 16.5 after others
    assert lasting.state.answering == pytest.approx(4000.0 * 13.5, rel=0.05)


def test_short_answers_are_foreseen_minute_by_minute():
    """Answers of 100 tokens × 25 ms last 2.5 s: whatever a minute brings is felt in that minute."""
    planner = Planner(policy())
    fed(planner, [20.0] * 60 + [60.0] * 13, osl=100.0)

    assert planner.state.answering == pytest.approx(100.0 * 60.0, rel=0.05)


ticks = st.lists(st.one_of(st.none(), st.floats(0.0, 3000.0)), min_size=1, max_size=40)
bounds = st.tuples(st.integers(0, 4), st.integers(4, 40))


looks = st.tuples(
    st.sampled_from([0.0, 0.0, 0.2, 5.0, 80.0]),  # requests per second
    st.sampled_from([0.0, 3.0, 5000.0]),  # waiting
    st.sampled_from([0.0, 40.0, 9000.0]),  # in decode
    st.sampled_from([0.004, 0.3]),  # ITL in seconds
)


@settings(max_examples=60, deadline=None)
@given(st.lists(looks, min_size=20, max_size=60), st.sampled_from([0.0, 3.0, 1000.0]))
def test_queues_and_crowds_of_any_size_are_answered_within_bounds(scenes, doubt):
    """Also where no request comes: what waits and what decodes may be all that is left of a load."""
    pools = tuple(replace(pool, min_replicas=1, max_replicas=9) for pool in (PREFILL, DECODE))
    planner, asked = Planner(policy(pools=pools, tuning=Tuning(fast_doubt=doubt))), dict(FLEET)
    for i, (rate, waiting, running, itl) in enumerate(scenes):
        told = crowded(rate, running, itl, 5.0 * i, asked)
        prefill = replace(told.pools["prefill"], waiting=waiting)
        asked = dict(planner.step(replace(told, pools={**told.pools, "prefill": prefill})).replicas)
        assert all(1 <= n <= 9 for n in asked.values())


@settings(max_examples=60, deadline=None)
@example([None, None, 5e-324], (0, 4), (0, 4), 2, "slo", 1)  # a rate that vanishes when it is multiplied
@example([None, None, 1e-9], (0, 4), (0, 4), 2, "slo", 1)  # on the edge of vanishing
@given(ticks, bounds, bounds, st.integers(2, 60), st.sampled_from(["slo", "classic"]), st.sampled_from([1, 2, 4]))
def test_budgets_and_bounds_always_hold(rates, prefill, decode, budget, law, gpus):
    """prop-3 and prop-10: never above the budget, never outside min and max, never to zero for want of budget."""
    profile = load_profile("h200-llama31-8b-fp8-tp1")
    pools = (
        replace(PREFILL, profile=profile, min_replicas=prefill[0], max_replicas=prefill[1], gpus=gpus),
        replace(DECODE, profile=profile, min_replicas=decode[0], max_replicas=decode[1]),
    )
    least = max(1, prefill[0]) * gpus + max(1, decode[0])
    given_policy = policy(law=law, pools=pools, budget_gpus=least + budget, interval_s=10.0)
    start = {"prefill": max(1, prefill[0]), "decode": max(1, decode[0])}
    for decision in fed(Planner(given_policy), rates, fleet=start):
        assert decision.replicas["prefill"] * gpus + decision.replicas["decode"] <= least + budget
        for pool in pools:
            assert pool.min_replicas <= decision.replicas[pool.name] <= pool.max_replicas
            if decision.wanted[pool.name] > 0:
                assert decision.replicas[pool.name] >= 1


@settings(max_examples=30, deadline=None)
@given(ticks, st.integers(1, 39))
def test_a_saved_state_has_the_same_future(rates, cut):
    """Through JSON text and back: the same decisions as if nothing had happened."""
    mine = policy(predictor="default", interval_s=10.0)
    whole = Planner(mine)
    fed(whole, rates[:cut], follow=False)
    text = json.dumps(saved(mine, whole.state), allow_nan=False)
    again = Planner(mine, restored(mine, json.loads(text)))

    assert again.state == whole.state or saved(mine, again.state) == saved(mine, whole.state)
    assert fed(again, rates[cut:], start=5.0 * cut, follow=False) == fed(
        whole, rates[cut:], start=5.0 * cut, follow=False
    )


def test_a_state_of_another_policy_is_not_taken():
    state = saved(policy(), PlannerState())

    assert restored(policy(sla=replace(SLA, ttft_s=0.3)), state) is None
    assert restored(policy(), {**state, "schema": "sla-planner/state.v0"}) is None


@settings(max_examples=20, deadline=None)
@given(ticks)
def test_deciding_changes_nothing_it_was_given(rates):
    """``decide`` is pure: the same state and observation give the same answer twice."""
    mine, state = policy(predictor="default", interval_s=10.0), PlannerState()
    for i, rate in enumerate(rates):
        step = seen(5.0 * i, rate)
        first, after = decide(mine, state, step)
        second, _ = decide(mine, state, step)
        assert first == second
        state = after


def test_an_aggregated_pool_is_one_pool_under_both_promises():
    planner = Planner(policy(pools=(AGGREGATED,)))
    decisions = fed(planner, [100.0] * 60, fleet={"aggregated": 4})

    assert set(decisions[-1].replicas) == {"aggregated"}
    assert decisions[-1].replicas["aggregated"] > 4


def test_one_saturated_replica_out_of_many_is_seen():
    """prop-9: the backlog by replica counts, not the mean over the pool."""
    planner = Planner(policy())
    fed(planner, [40.0] * 60)
    asked = dict(planner.state.asked or FLEET)
    step = seen(300.0, 40.0, asked)
    waiting = tuple([4000.0] + [0.0] * (asked["prefill"] - 1))
    pools = {
        **step.pools,
        "prefill": PoolReading(requested=asked["prefill"], ready=asked["prefill"], waiting=4000.0, backlog=waiting),
    }
    planner.step(seen(300.0, 40.0, asked))
    decision = planner.step(replace(step, at=305.0, pools=pools))

    assert decision.reason is Reason.FAST_PATH
    assert decision.replicas["prefill"] > asked["prefill"]
