"""What was recorded is decided the same by the same code, whatever the law, slow fits included."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from planner.commands._recorded import policy_of
from planner.core.planner import Planner
from planner.core.policy import Policy
from planner.core.types import Observation, PoolReading, Reason, Window
from planner.loop import decided
from planner.replay.difference import difference
from planner.replay.recording import Recording, load
from planner.replay.redecide import redecided
from tests.replay.logs import simulate

GPUS = {"prefill": 1, "decode": 1}


def policy(recording: Recording) -> Policy:
    return policy_of(recording.about(), None, {}, recording.path)[0]


@pytest.mark.parametrize(
    "flags",
    [
        ("--law", "slo", "--to", "20m", "--initial", "prefill=2,decode=1"),
        ("--law", "slo", "--mode", "aggregated", "--to", "15m", "--budget", "6"),
        ("--law", "classic", "--to", "20m"),
        ("--law", "classic", "--predictor", "kalman", "--interval", "30s", "--to", "15m"),
        ("--law", "static", "--replicas", "prefill=7,decode=3", "--to", "10m"),
        ("--law", "slo", "--to", "15m", "--failures", "5m", "--gpus-per-replica", "decode=2"),
    ],
    ids=["slo", "aggregated-budget", "classic", "kalman", "static", "failures"],
)
def test_the_same_code_decides_the_same(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """A replay that came out otherwise by itself could not show what a change of the code does."""
    recording = load(simulate(tmp_path / "log.jsonl", *flags))
    again = [one.decision for one in redecided(policy(recording), recording.steps)]

    assert again == [step.decision for step in recording.steps]


def test_slow_fits_are_replayed_too(tmp_path: Path) -> None:
    """Fits are adopted an interval after they were asked for, in a run and in its replay."""
    flags = ("--predictor", "arima", "--law", "classic", "--interval", "20s", "--to", "9m")
    recording = load(simulate(tmp_path / "log.jsonl", *flags))
    again = [one.decision for one in redecided(policy(recording), recording.steps)]
    unfitted = Planner(policy(recording))

    assert again == [step.decision for step in recording.steps]
    assert [decided(unfitted, step.seen) for step in recording.steps] != again  # there were fits, and they mattered


def test_steps_before_the_first_sight_of_the_fleet_are_replayed(recording: Recording) -> None:
    """A live planner that starts while Prometheus is away logs steps without pools: the loop answers those."""
    blind = recording.steps[0]
    lost = replace(blind, seen=Observation(blind.seen.at - 5.0, {}, None, ("Prometheus is away",)))
    steps = [replace(lost, decision=decided(Planner(policy(recording)), lost.seen)), *recording.steps]
    again = [one.decision for one in redecided(policy(recording), steps)]

    assert again == [step.decision for step in steps]


def test_another_promise_asks_for_another_fleet(recording: Recording) -> None:
    tighter = replace(policy(recording), sla=replace(policy(recording).sla, ttft_s=0.25))
    found = difference(list(redecided(tighter, recording.steps)), GPUS)

    assert not found.identical
    assert found.replayed.gpu_hours > found.recorded.gpu_hours
    assert found.changed[0].recorded.replicas["prefill"] < found.changed[0].replayed.replicas["prefill"]


def test_gpu_hours_are_of_what_was_asked_for(recording: Recording) -> None:
    """By hand: every step's replicas stand for 5 s."""
    found = difference(list(redecided(policy(recording), recording.steps)), {"prefill": 1, "decode": 4})
    by_hand = (
        sum(s.decision.replicas["prefill"] + 4 * s.decision.replicas["decode"] for s in recording.steps) * 5 / 3600
    )

    assert found.recorded.gpu_hours == pytest.approx(by_hand)
    assert found.replayed == found.recorded


def test_differences_are_listed_where_the_two_come_to_differ(recording: Recording) -> None:
    """A difference that lasts is one line, not one for every look."""
    found = difference(list(redecided(policy(recording), recording.steps)), GPUS)
    steps = list(redecided(policy(recording), recording.steps))
    for i in (5, 6, 7, 20):
        steps[i] = replace(steps[i], decision=replace(steps[i].decision, replicas={"prefill": 99, "decode": 1}))

    assert found.turns() == []
    assert [one.index for one in difference(steps, GPUS).turns()] == [5, 20]


def test_a_log_of_other_pools_is_refused(recording: Recording) -> None:
    ours = policy(recording)
    aggregated = replace(ours, pools=(replace(ours.pools[0], name="aggregated"),))

    with pytest.raises(ValueError, match="the log is of pools decode, prefill, the configuration of aggregated"):
        list(redecided(aggregated, recording.steps))


def test_what_the_planner_knew_before_each_step_is_kept(recording: Recording) -> None:
    found = list(redecided(policy(recording), recording.steps[:30]))

    assert [one.before.at for one in found] == [None, *(step.seen.at for step in recording.steps[:29])]


def test_a_blind_step_is_held_again(recording: Recording) -> None:
    """What is replayed is what was seen: here, nothing."""
    seen = Observation(recording.end + 5.0, {"prefill": PoolReading(3, 3), "decode": PoolReading(1, 1)}, None)
    steps = [*recording.steps, replace(recording.steps[-1], seen=seen)]
    *_, last = redecided(policy(recording), steps)

    assert last.decision.reason is Reason.HELD_BLIND
    assert dict(last.decision.replicas) == {"prefill": 3, "decode": 1}


def test_a_window_makes_the_difference(recording: Recording) -> None:
    """The same blind step with a window is decided, so the test above can fail."""
    seen = Observation(recording.end + 5.0, recording.steps[-1].seen.pools, Window(5.0, started=400.0))
    *_, last = redecided(policy(recording), [*recording.steps, replace(recording.steps[-1], seen=seen)])

    assert last.decision.reason is not Reason.HELD_BLIND
