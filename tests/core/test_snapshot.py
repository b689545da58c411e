"""A planner that was saved and read back goes on as if nothing had happened; under another policy it starts anew."""

from __future__ import annotations

import json
from dataclasses import replace

from planner.core.planner import Planner
from planner.core.snapshot import fingerprint, restored, snapshot
from tests.core.worlds import MINUTE, policy, seen

POLICY = policy(predictor="default")


def busy(planner: Planner, start: float, steps: int) -> list[object]:
    """Decisions on a load that grows, every five seconds."""
    return [planner.step(seen(start + 5.0 * k, 20.0 + 0.1 * k)) for k in range(steps)]


def test_a_restored_planner_decides_as_the_one_that_was_saved() -> None:
    planner = Planner(POLICY)
    busy(planner, 0.0, 400)  # half an hour: forecasts have quantiles, corrections have moved
    saved = json.loads(json.dumps(snapshot(POLICY, planner.state), allow_nan=False))
    again = Planner(POLICY, restored(POLICY, saved))

    assert busy(again, 2000.0, 60) == busy(planner, 2000.0, 60)


def test_a_state_of_another_policy_is_not_believed() -> None:
    saved = snapshot(POLICY, Planner(POLICY).state)

    assert restored(replace(POLICY, interval_s=3 * MINUTE), saved) is None


def test_a_state_of_another_version_is_not_believed() -> None:
    saved = snapshot(POLICY, Planner(POLICY).state)

    assert restored(POLICY, {**saved, "schema": "sla-planner/state.v0"}) is None
    assert restored(POLICY, {**saved, "state": {"unheard-of": 1}}) is None
    assert restored(POLICY, saved) is not None


def test_a_fingerprint_tells_policies_apart_and_is_the_same_everywhere() -> None:
    assert fingerprint(POLICY) == fingerprint(policy(predictor="default"))
    assert fingerprint(POLICY) != fingerprint(policy(predictor="constant"))
