"""Work that is there already and should not be: what a fleet that is too small has let gather.

In front of prefill it is requests that wait; in decode, where everybody is taken in at once, it is sequences that make
each other slow. Either counts as load on top of what is foreseen, until it is worked off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from planner.core.load import Load
from planner.core.policy import Policy, Pool
from planner.core.sizing import mix, slo
from planner.core.sizing.model import PoolModel
from planner.core.state import PlannerState
from planner.core.supply import Supply
from planner.core.tuning import SUDDEN_CROWD
from planner.core.types import Observation, PoolReading, Role


def waiting(policy: Policy, seen: Observation, load: Load) -> float:
    """Requests that wait, if they are more than the TTFT target explains."""
    most = max((reading.waiting or 0.0 for reading in seen.pools.values()), default=0.0)
    return policy.tuning.backlog * max(0.0, most - load.mean_rate * policy.sla.ttft_s)


def backlog_rate(policy: Policy, state: PlannerState, seen: Observation, load: Load, parts: Mapping[str, PoolModel],
                 rate: float) -> float:  # fmt: skip
    """Requests that wait, as an extra rate: to be worked off within one interval once help is there.

    Everybody who comes behind a backlog misses too, so what it costs to be rid of it quickly is little. It
    goes on growing until help comes: by what ``rate`` is above the capacity that is ready.
    """
    backlog = waiting(policy, seen, load)
    if backlog <= 0:
        return 0.0
    grows = 0.0
    for group in _seen(policy, seen, tuple(Role)):
        serving = {pool.name: seen.pools[pool.name].ready for pool in group}
        ((slow, ready),) = mix.equivalent(group, parts, serving).items()
        busy = parts[slow].busy(rate)
        if busy > ready:
            grows = max(grows, rate * (1.0 - ready / busy) * _help_in_s(policy, state, seen, group))
    return (backlog + grows) / policy.interval_s


def crowd(policy: Policy, state: PlannerState, seen: Observation, parts: Mapping[str, PoolModel]) -> float:
    """Sequences in decode beyond what the ITL target allows the replicas that are ready, where tokens are late by it.

    As many requests came as were foreseen, and their answers are longer: nothing waits, and no answer that has ended
    tells yet. Replicas that end their last answers are not ready any more, but not slow either. Where a pool does not
    tell what it decodes, or how fast, the crowd is what it was at the last full decision.
    """
    beyond = 0.0
    for group in _decoding(policy, seen):
        readings = [seen.pools[pool.name] for pool in group]
        running = [reading.running for reading in readings if reading.running is not None]
        if len(running) < len(group) or any(reading.step_seconds is None for reading in readings):
            return state.crowd
        if _is_late(policy, readings):
            room = sum(seen.pools[pool.name].ready * mix.held(parts[pool.name]) for pool in group)
            beyond += max(0.0, sum(running) - room)
    return policy.tuning.backlog * beyond


def crowd_rate(policy: Policy, state: PlannerState, seen: Observation, load: Load, now: float) -> float:
    """A crowd of ``now`` sequences as an extra rate of answers, per second: as many decode at once at the ITL target.

    By Little's law. It goes on growing until help comes, as it has since the last full decision.
    """
    if now <= 0:
        return 0.0
    grows = max(0.0, now - state.crowd) / policy.interval_s
    help_in_s = max((_help_in_s(policy, state, seen, group) for group in _decoding(policy, seen)), default=0.0)
    return (now + grows * help_in_s) / (load.output_tokens.mean * policy.sla.itl_s)


def sudden_crowd(policy: Policy, state: PlannerState, seen: Observation, load: Load) -> float:
    """A ``crowd`` that has grown by more than chance since the last full decision; 0 without one."""
    groups = [[seen.pools[pool.name] for pool in group] for group in _decoding(policy, seen)]
    if not any(_is_late(policy, readings) for readings in groups):
        return 0.0
    running = sum(reading.running or 0.0 for readings in groups for reading in readings)
    now = crowd(policy, state, seen, slo.models(policy.pools, policy.sla, load, state.slowness))
    return now if now - state.crowd > SUDDEN_CROWD * running else 0.0


def crowd_note(crowded: float) -> tuple[str, ...]:
    """What a decision notes of a crowd that it was sized for."""
    if crowded < 1.0:
        return ()
    return (f"{crowded:.0f} sequences in decode beyond what the ITL target allows: sized for them too",)


def _is_late(policy: Policy, readings: Sequence[PoolReading]) -> bool:
    """Whether tokens took longer than the ITL target on the mean of the window, as far as pools tell."""
    steps = [reading.step_seconds for reading in readings if reading.step_seconds is not None]
    return sum(step.total for step in steps) > policy.sla.itl_s * sum(step.count for step in steps)


def _decoding(policy: Policy, seen: Observation) -> list[tuple[Pool, ...]]:
    """Pools with replicas that decode, grouped by role."""
    groups = _seen(policy, seen, (Role.DECODE, Role.AGGREGATED))
    serving = [tuple(pool for pool in group if seen.pools[pool.name].ready > 0) for group in groups]
    return [group for group in serving if group]


def _seen(policy: Policy, seen: Observation, roles: Sequence[Role]) -> list[tuple[Pool, ...]]:
    """Pools of these roles that could be seen, grouped by role."""
    return mix.groups([pool for pool in policy.pools if pool.role in roles and pool.name in seen.pools])


def _help_in_s(policy: Policy, state: PlannerState, seen: Observation, group: Sequence[Pool]) -> float:
    """Seconds until replicas serve that are asked for now, in the slowest of a role's pools."""
    return max(
        state.supply.get(pool.name, Supply()).help_in_s(pool, seen.pools[pool.name], policy.tuning) for pool in group
    )
