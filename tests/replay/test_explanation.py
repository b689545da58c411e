"""Why a number is what it is: every figure of a decision is told, and what would change it is true."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from planner import words
from planner.adapters.decision_log import DecisionLog
from planner.commands._recorded import policy_of
from planner.core.decide import decide
from planner.core.policy import Policy
from planner.core.types import (
    Adjustment,
    Decision,
    Observation,
    PoolReading,
    Reason,
    Window,
)
from planner.replay.explanation import explain, last_change
from planner.replay.recording import Recording, load
from planner.replay.redecide import redecided
from planner.replay.whatif import what_ifs
from tests.replay.logs import simulate

FULL = 288
"""The full decision after 24 minutes: behind the spike, and behind the stabilization window that follows it."""


@pytest.fixture(scope="module")
def fast(recording: Recording) -> int:
    """The first fast look that acted."""
    return next(i for i, step in enumerate(recording.steps) if step.decision.reason is Reason.FAST_PATH)


def policy(recording: Recording) -> Policy:
    return policy_of(recording.about(), None, {}, recording.path)[0]


def text(recording: Recording, index: int, section: str) -> str:
    return "\n".join(explain(recording, index, policy(recording)).sections().get(section, ()))


def test_the_last_change_is_what_people_ask_about(recording: Recording) -> None:
    last = last_change(recording)

    assert last == list(recording.changes())[-1]
    assert explain(recording, last, None).answer().endswith(f"{words.REASONS[recording.steps[last].decision.reason]}.")
    assert " → " in explain(recording, last, None).answer()


def test_what_was_seen_is_the_interval_before(recording: Recording) -> None:
    """By hand: the twelve windows of 5 s since the full decision before."""
    windows = [step.seen.window for step in recording.steps[FULL - 11 : FULL + 1]]
    requests = sum(w.started or 0.0 for w in windows if w)
    seen = explain(recording, FULL, None).seen

    assert (seen.seconds, seen.requests) == (60.0, requests)
    assert seen.rate_per_s == pytest.approx(requests / 60.0)
    assert f"Over 60 s: {requests / 60:,.3g} requests/s ({requests:,.0f} in all)" in text(recording, FULL, "seen")


def test_a_decision_tells_forecast_profile_and_expectation(recording: Recording) -> None:
    decision = recording.steps[FULL].decision
    assert decision.forecast is not None
    assert decision.expected is not None
    assert decision.expected.attainment is not None
    told = text(recording, FULL, "forecast")

    assert f"{decision.forecast.rate:,.3g} requests/s (90 % of cases within {decision.forecast.rate_low:,.3g}" in told
    assert "It looks 3 min ahead: the longest start-up (2 min) and one interval (60 s)." in told
    assert f"prefill takes {decision.corrections['prefill']:.3g} × the time" in text(recording, FULL, "profile")
    assert f"{decision.expected.attainment:.2%} of requests keep both" in text(recording, FULL, "expected")


def test_a_fast_look_tells_what_had_been_planned_for(recording: Recording, fast: int) -> None:
    said = explain(recording, fast, policy(recording))

    assert said.step.decision.reason is Reason.FAST_PATH
    assert "sized at once for an overload" in said.answer()
    assert said.seen.seconds == 15.0  # the last three windows
    assert "The last full decision had planned for" in text(recording, fast, "forecast")


def test_a_held_number_is_explained_by_the_step_that_found_it(recording: Recording) -> None:
    said = explain(recording, FULL + 3, policy(recording))

    assert said.origin == FULL
    assert "held between two full decisions" in said.answer()
    assert f"The number is from step {FULL + 1}, " in said.answer()
    assert said.answer().endswith("into the log: sized for the load that was forecast.")
    assert said.sections()["forecast"] == explain(recording, FULL, policy(recording)).sections()["forecast"]


def test_what_would_change_it_does_change_it(recording: Recording) -> None:
    """Checked from outside: with that target the step asks for that fleet, a little nearer for the recorded one."""
    ours = policy(recording)
    *_, last = redecided(ours, recording.steps[: FULL + 1])
    turns = [one for one in what_ifs(ours, last.before, last.step.seen) if one.condition in ("ttft", "itl")]
    assert any(one.replicas is not None for one in turns)
    for one in turns:
        near = one.actual + (one.value - one.actual) * 0.9
        there, before = (
            dict(decide(_promising(ours, one.condition, value), last.before, last.step.seen)[0].replicas)
            for value in (one.value, near)
        )

        assert before == last.decision.replicas
        assert there == (one.replicas if one.replicas is not None else last.decision.replicas)


def _promising(ours: Policy, condition: str, value: float) -> Policy:
    sla = replace(ours.sla, ttft_s=value) if condition == "ttft" else replace(ours.sla, itl_s=value)
    return replace(ours, sla=sla)


def test_more_traffic_asks_for_more_and_less_for_fewer(recording: Recording) -> None:
    said = explain(recording, FULL, policy(recording))
    assert said.turning is not None
    less, more = (one for one in said.turning.what_ifs if one.condition == "rate")
    assert more.replicas is not None
    decided = said.step.decision.replicas

    assert less.value < less.actual == said.seen.rate_per_s < more.value
    assert sum(more.replicas.values()) > sum(decided.values())
    assert less.replicas is None or sum(less.replicas.values()) < sum(decided.values())


def test_a_stabilized_number_says_until_when_it_stands(recording: Recording) -> None:
    """The dip shows in `wanted`; the wish that keeps the number up grows old and is then forgotten."""
    ours = policy(recording)
    held = next(
        i
        for i, step in enumerate(recording.steps)
        if any(a.reason is Reason.STABILIZATION for a in step.decision.adjustments)
    )
    said = explain(recording, held, ours)
    assert said.turning is not None
    hold = said.turning.holds[0]
    moved = next(a for a in said.step.decision.adjustments if a.pool == hold.pool)

    assert hold.until - hold.wanted_at in (ours.stabilization_s, ours.interval_s)  # the latter where a backlog asked
    assert hold.until > said.step.seen.at
    assert hold.replicas == moved.after > moved.before
    assert f"{moved.pool} {moved.before} → {moved.after}: {moved.after} were wanted" in text(recording, held, "rules")
    assert f"{hold.pool} stays at {hold.replicas} or more until" in text(recording, held, "would change it")


def test_the_budget_is_named_with_its_value(tmp_path: Path) -> None:
    log = load(simulate(tmp_path / "log.jsonl", "--budget", "6", "--to", "10m"))
    index = next(
        i for i, s in enumerate(log.steps) if any(a.reason is Reason.GPU_BUDGET for a in s.decision.adjustments)
    )

    assert "all pools together may not have more than 6 GPUs (budget) [gpu-budget]" in text(log, index, "rules")


def test_a_fixed_fleet_has_nothing_that_changes_it(tmp_path: Path) -> None:
    flags = ("--law", "static", "--replicas", "prefill=7,decode=3", "--to", "5m")
    log = load(simulate(tmp_path / "log.jsonl", *flags))
    said = explain(log, 12, policy(log))

    assert "fixed by the configuration" in said.answer()
    assert "would change it" not in said.sections()


def test_the_classic_law_does_not_know_its_ttft_target(tmp_path: Path) -> None:
    """A known fault of that law, which an explanation brings to light."""
    log = load(simulate(tmp_path / "log.jsonl", "--law", "classic", "--to", "10m"))
    said = explain(log, last_change(log), policy(log))
    assert said.turning is not None

    assert [one.replicas for one in said.turning.what_ifs if one.condition == "ttft"] == [None, None]


def test_problems_and_errors_are_told_once(tmp_path: Path) -> None:
    path = tmp_path / "live.jsonl"
    pools = {"decode": PoolReading(2, 1)}
    blind = Observation(1e9 + 5.0, pools, None, ("Prometheus is away",))
    with DecisionLog(path) as log:
        log.record(Observation(1e9, pools, Window(5.0, started=3.0)), _held(1e9))
        log.record(blind, replace(_held(1e9 + 5.0), notes=blind.problems), "Prometheus is away; conflict")
    said = explain(load(path), 1, None)

    assert said.step.decision.reason is Reason.HELD_BLIND
    assert said.sections()["problems"] == ("Prometheus is away; conflict",)
    assert said.sections()["notes"] == ("Prometheus is away",)
    assert "2001-09-09 01:46:45 UTC" in said.title()


def _held(at: float) -> Decision:
    return Decision(at, {"decode": 2}, {"decode": 2}, Reason.HELD_BLIND)


def test_a_log_that_does_not_say_how_it_was_decided_is_explained_as_far_as_it_goes(recording: Recording) -> None:
    untold = replace(recording, abouts={})
    said = explain(untold, FULL, None)

    assert said.turning is None
    assert "would change it" not in said.sections()
    assert "(target" not in "\n".join(said.sections()["seen"])
    assert json.dumps(said.to_json())


def test_a_decision_that_comes_out_otherwise_now_says_so(recording: Recording) -> None:
    """What would change it is asked of the code of today: where that disagrees with the log, it must be told."""
    step = recording.steps[FULL]
    other = replace(step, decision=replace(step.decision, replicas={"prefill": 17, "decode": 3}))
    changed = replace(recording, steps=(*recording.steps[:FULL], other, *recording.steps[FULL + 1 :]))

    assert "comes out otherwise" in text(changed, FULL, "would change it")
    assert "comes out otherwise" not in text(recording, FULL, "would change it")


def test_nothing_is_asked_of_a_step_that_is_no_full_decision_any_more(recording: Recording) -> None:
    """A log decided on another grid: today the step would only look, and no rate or target would move it."""
    late = {"settings": {**recording.abouts[0].settings, "interval": 7 * 60.0}}
    said = explain(replace(recording, abouts={0: replace(recording.abouts[0], **late)}), FULL, None)
    other = policy_of(said.about, None, {}, recording.path)[0]
    turning = explain(recording, FULL, other).turning
    assert turning is not None

    assert (turning.same, turning.what_ifs) == (False, ())


def test_the_object_for_programs_holds_figures_and_words(recording: Recording) -> None:
    found = explain(recording, FULL, policy(recording)).to_json()

    assert found["schema"] == "sla-planner/explanation.v1"
    assert (found["step"], found["offset_seconds"], found["time"]) == (FULL + 1, 5.0 * FULL, None)
    assert found["before"] == dict(recording.steps[FULL - 1].decision.replicas)
    assert found["replicas"] == dict(recording.steps[FULL].decision.replicas)
    assert found["found"]["decision"]["forecast"]["horizon_s"] == 180.0
    assert found["would_change"]["redecided_the_same"] is True
    assert found["words"]["answer"] == explain(recording, FULL, None).answer()
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_words(reason: Reason) -> None:
    assert words.REASONS[reason].format(after=3)
    assert reason.value in words.rule(Adjustment("decode", reason, 4, 3), None)


def test_an_unseen_fleet_is_no_empty_answer(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with DecisionLog(path) as log:
        log.record(Observation(5.0, {}, None), Decision(5.0, {}, {}, Reason.HELD_BLIND))
    said = explain(load(path), 0, None)

    assert said.answer().startswith("nothing: the fleet has not been seen yet: held")
    assert said.sections() == {"seen": ("Nothing could be measured.",)}
