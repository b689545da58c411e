"""The planner's state as versioned JSON: histories and parameters, tied to the policy it was learnt under."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from planner.core.codec import from_json as decoded
from planner.core.codec import to_json
from planner.core.policy import Policy
from planner.core.state import PlannerState

SCHEMA = "sla-planner/state.v5"


def policy_hash(policy: Policy) -> str:
    """A short fingerprint of everything the policy says, its profiles included."""
    text = json.dumps(to_json(policy), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def saved(policy: Policy, state: PlannerState) -> dict[str, Any]:
    """What to write down."""
    return {"schema": SCHEMA, "policy": policy_hash(policy), "state": to_json(state)}


def restored(policy: Policy, data: Mapping[str, Any]) -> PlannerState | None:
    """The state that was saved; ``None`` when it is of another version or policy: warm up from history instead.

    Raises:
        CodecError: the data claims to be ours and is not.
    """
    if data.get("schema") != SCHEMA or data.get("policy") != policy_hash(policy):
        return None
    return decoded(PlannerState, data["state"])
