"""One control step as arithmetic: no clock, no network, no log, no globals.

``decide`` is the only door. It takes in what was seen, looks at which rhythm
is due — a full decision every ``interval_s`` on the epoch's grid, a fast look
at every other step — and answers with a decision that says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.core import law_classic, law_slo
from planner.core.attainment import let_down, measured, spent
from planner.core.constraints import constrain
from planner.core.correction import Evidence, gather
from planner.core.histogram import Histogram
from planner.core.memory import faded, remember
from planner.core.policy import Policy
from planner.core.proposal import Proposal
from planner.core.state import PlannerState, Wish
from planner.core.supply import Supply, counted, make_up, planned, told
from planner.core.types import Adjustment, Decision, Observation, PoolReading, Reason, Role


def decide(policy: Policy, state: PlannerState, seen: Observation) -> tuple[Decision, PlannerState]:
    """Answer one observation; return the answer and what to remember."""
    state = _take_in(policy, _set_back(policy, state, seen.at), seen)
    if seen.window is None:
        return _hold(policy, state, seen, Reason.HELD_BLIND)
    if not _due(policy, state, seen.at):
        return _fast_look(policy, state, seen)

    state = replace(state, decided_at=seen.at)
    proposal, state = _propose(policy, state, seen)
    if proposal is None:
        return _hold(policy, state, seen, Reason.HELD_STARTING)
    return _conclude(policy, state, seen, proposal)


def _propose(policy: Policy, state: PlannerState, seen: Observation) -> tuple[Proposal | None, PlannerState]:
    """What the policy's law wants; ``None`` while nothing has been learnt."""
    if policy.law == "static":
        return Proposal(dict(policy.fixed), Reason.FIXED), state
    if policy.law == "classic":
        return law_classic.propose(policy, state, seen)
    return law_slo.propose(policy, state, seen)


def _fast_look(policy: Policy, state: PlannerState, seen: Observation) -> tuple[Decision, PlannerState]:
    """Between full decisions only an overload moves the fleet, and only upwards."""
    urgent = law_slo.react(policy, state, seen) if policy.law == "slo" else None
    if urgent is None:
        return _hold(policy, state, seen, Reason.HELD_BETWEEN)
    return _conclude(policy, state, seen, urgent)


def _conclude(
    policy: Policy, state: PlannerState, seen: Observation, proposal: Proposal
) -> tuple[Decision, PlannerState]:
    """Bring the wanted fleet under the operator's rules and write down why."""
    hold_s = policy.stabilization_s if policy.law == "slo" else 0.0
    recent = tuple(wish for wish in state.recent if wish.until > seen.at) if hold_s else ()
    allowed, adjustments = constrain(policy, proposal.wanted, [wish.replicas for wish in recent], proposal.worth)
    fleet, more = _made_up(policy, state, seen, allowed)
    decision = Decision(
        at=seen.at,
        replicas=fleet,
        wanted=dict(proposal.wanted),
        reason=proposal.reason,
        adjustments=(*adjustments, *more),
        forecast=proposal.forecast,
        expected=proposal.expect(counted(policy, state.supply, seen, fleet)) if proposal.expect else None,
        feasible=not proposal.unreachable,
        corrections=state.slowness,
        notes=(*proposal.unreachable, *proposal.notes, *told(policy, state.supply, seen)),
    )
    state = replace(state, asked=fleet, made_up={a.pool: a.after - a.before for a in more})
    return decision, replace(state, recent=(*recent, *_to_hold(policy, proposal, seen.at, hold_s)))


def _to_hold(policy: Policy, proposal: Proposal, at: float, hold_s: float) -> tuple[Wish, ...]:
    """What a load asks for is held through the stabilization window, what a backlog adds for an interval."""
    if proposal.lasting is None:
        return (Wish(at, at + hold_s, dict(proposal.wanted)),)
    rush_s = min(hold_s, policy.interval_s)
    return Wish(at, at + hold_s, dict(proposal.lasting)), Wish(at, at + rush_s, dict(proposal.wanted))


def _made_up(policy: Policy, state: PlannerState, seen: Observation,
             allowed: Mapping[str, int]) -> tuple[Mapping[str, int], tuple[Adjustment, ...]]:  # fmt: skip
    """The allowed fleet with more in place of replicas that do not become ready; other laws are left as they are."""
    return make_up(policy, state.supply, seen, allowed) if policy.law == "slo" else (allowed, ())


def _hold(policy: Policy, state: PlannerState, seen: Observation, reason: Reason) -> tuple[Decision, PlannerState]:
    """Keep what was asked for, not what is ready: that would cancel what is still starting.

    A pool of which nothing is known yet is left out: nothing is asked of it.
    """
    asked = _requested(state, seen)
    between = reason is Reason.HELD_BETWEEN and state.asked is not None
    if between and state.asked is not None:
        asked = planned(state.asked, state.made_up)
    wanted = {pool.name: asked[pool.name] for pool in policy.pools if pool.name in asked}
    allowed, adjustments = constrain(policy, wanted, [])
    notes = (*seen.problems, *told(policy, state.supply, seen))
    fleet, more = _made_up(policy, state, seen, allowed) if between else (allowed, ())
    decision = Decision(seen.at, fleet, wanted, reason, (*adjustments, *more), corrections=state.slowness, notes=notes)
    if between:
        state = replace(state, asked=fleet, made_up={a.pool: a.after - a.before for a in more})
    return decision, state


def _requested(state: PlannerState, seen: Observation) -> dict[str, int]:
    """What was asked for: by the platform's word where it gives one, else by ours; before our first, what was found."""
    asked = dict(state.asked or {})
    found = state.recent[0].replicas if state.asked is None and state.recent else {}
    for name, reading in seen.pools.items():
        if reading.requested_known:
            asked[name] = reading.requested
        elif name not in asked and (n := max(reading.ready, found.get(name, 0))) > 0:  # nobody up is no wish for nobody
            asked[name] = n
    return asked


def _met_again(asked: Mapping[str, int], seen: Observation) -> dict[str, int]:
    """What was asked for before a time without looks: no less than what is ready, where nobody says what was since."""
    unsaid = {name: reading.ready for name, reading in seen.pools.items() if not reading.requested_known}
    return {name: max(n, unsaid.get(name, 0)) for name, n in asked.items()}


def _due(policy: Policy, state: PlannerState, at: float) -> bool:
    """A full decision is due once in every interval of the epoch's grid."""
    assert state.decided_at is not None  # set by the first observation
    return policy.slot_s(at) > policy.slot_s(state.decided_at)


def _set_back(policy: Policy, state: PlannerState, at: float) -> PlannerState:
    """The state under a clock that was set back by more than an interval: nothing of it lies ahead, a decision is due.

    Forecasts start anew, for their series hold steps that are still to come.
    """
    if state.at is None or at >= state.at - policy.interval_s:
        return state
    return replace(
        state,
        at=at,
        decided_at=None if state.decided_at is None else at - policy.interval_s,
        recent=tuple(Wish(min(w.at, at), min(w.until, at + policy.stabilization_s), w.replicas) for w in state.recent),
        supply={name: replace(known, newest_at=None) for name, known in state.supply.items()},
        predictors={},
    )


def _take_in(policy: Policy, state: PlannerState, seen: Observation) -> PlannerState:
    """Remember the window: traffic, evidence of speed, start-up times, promises kept and missed."""
    elapsed = seen.at - state.at if state.at is not None else 0.0
    evidence, supply = dict(state.evidence), dict(state.supply)
    context = state.load.context_tokens if state.load else None
    for pool in policy.pools:
        reading = seen.pools.get(pool.name)
        if reading is None:
            continue
        supply[pool.name] = supply.get(pool.name, Supply()).learnt(pool, reading, seen.at, policy.tuning)
        if seen.window is not None:
            old = evidence.get(pool.name, Evidence())
            evidence[pool.name] = gather(pool, old, reading, seen.window.seconds, context)
    request_itl = _request_itl(policy, state.request_itl, seen)
    if state.asked is not None and elapsed > max(policy.interval_s, policy.stabilization_s):
        state = replace(state, asked=_met_again(state.asked, seen))
    if state.decided_at is None:  # a start that knows nothing keeps what it found for a stabilization window
        found = {name: reading.requested for name, reading in seen.pools.items()}
        state = replace(state, decided_at=seen.at, recent=(Wish(seen.at, seen.at + policy.stabilization_s, found),))
    return replace(
        state,
        at=seen.at,
        memory=remember(state.memory, seen.window, elapsed, policy.tuning),
        evidence=evidence,
        supply=supply,
        budgets=_budgets(policy, state.budgets, seen, request_itl),
        request_itl=request_itl,
    )


def _request_itl(policy: Policy, before: Mapping[str, Histogram], seen: Observation) -> Mapping[str, Histogram]:
    """Requests of late by their own mean ITL, where engines tell: a window holds too few to see inside a bucket."""
    if seen.window is None:
        return before
    keep = policy.tuning.mix_memory ** (seen.window.seconds / policy.interval_s)
    told = {name: now for name, reading in seen.pools.items() if (now := reading.request_itl) is not None}
    return {name: faded(before.get(name), now, keep) or now for name, now in told.items()}


def _budgets(policy: Policy, budgets: Mapping[str, float], seen: Observation,
             request_itl: Mapping[str, Histogram]) -> Mapping[str, float]:  # fmt: skip
    """The error budget of every promise after this window; what was not measured in full proves no promise kept."""
    window = seen.window
    if window is None or window.ttft is None or window.ttft.count <= 0:
        return budgets
    requests, decoding, after = window.ttft.count, _decoding(policy, seen.pools, request_itl), {}
    for promise in policy.sla.promises:
        missed = let_down(promise, policy.sla, window.ttft, decoding) * requests
        old, allowance = budgets.get(promise.what, 0.0), promise.measure.allowance
        now = spent(old, missed, requests, allowance, window.seconds, policy.tuning)
        after[promise.what.value] = now if measured(promise, decoding) else max(old, now)
    return after


def _decoding(policy: Policy, pools: Mapping[str, PoolReading],
              request_itl: Mapping[str, Histogram]) -> list[PoolReading]:  # fmt: skip
    names = (pool.name for pool in policy.pools if pool.role is not Role.PREFILL and pool.name in pools)
    return [replace(pools[name], request_itl=request_itl.get(name)) for name in names]
