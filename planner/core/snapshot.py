"""A planner's memory as versioned JSON, tied to the policy that it was collected under."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from planner.core.codec import CodecError, from_json, to_json
from planner.core.policy import Policy
from planner.core.state import PlannerState

SCHEMA = "sla-planner/state.v1"


def snapshot(policy: Policy, state: PlannerState) -> dict[str, Any]:
    """``state`` as plain JSON data: histories and parameters, no code."""
    return {"schema": SCHEMA, "policy": fingerprint(policy), "state": to_json(state)}


def restored(policy: Policy, data: Mapping[str, Any]) -> PlannerState | None:
    """The state in a snapshot; ``None`` when it is of another version or was collected under another policy.

    Forecasts of another interval or corrections of another profile would be believed for hours; without
    a state the planner warms up from history instead.
    """
    if data.get("schema") != SCHEMA or data.get("policy") != fingerprint(policy):
        return None
    try:
        return from_json(PlannerState, data.get("state"))
    except CodecError:
        return None


def fingerprint(policy: Policy) -> str:
    """A short name for everything that a policy says, its profiles included."""
    text = json.dumps(to_json(policy), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
