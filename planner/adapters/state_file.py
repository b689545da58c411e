"""The planner's memory in a file: written whole or not at all, never trusted when it is of another policy."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.core.codec import CodecError
from planner.core.planner import Planner
from planner.core.policy import Policy
from planner.core.saving import restored, saved
from planner.core.state import PlannerState
from planner.core.types import Decision, Observation, Reason
from planner.units import show_duration


@dataclass(frozen=True, slots=True)
class Found:
    """What a state file held: a state, or the reason why there is none to go on from."""

    state: PlannerState | None
    said: str


def read(path: Path, policy: Policy, now: float) -> Found:
    """The state in ``path``, if it was learnt under ``policy`` and before ``now`` (seconds since the epoch).

    A file that cannot be used is set aside as ``NAME.broken``, never overwritten: somebody may want to look.
    """
    if not path.exists():
        return Found(None, f"no state in {path} yet")
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        state = restored(policy, data)
    except (ValueError, CodecError, AttributeError, KeyError) as problem:
        aside = path.with_name(path.name + ".broken")
        path.replace(aside)
        return Found(None, f"{path} could not be used ({problem}); it is kept as {aside.name}")
    if state is None:
        return Found(None, f"{path} was learnt under another policy or version")
    if state.at is not None and state.at > now + policy.interval_s:
        ahead = show_duration(state.at - now)
        return Found(None, f"{path} is of {ahead} from now: the clock was set back since, or is wrong now")
    return Found(state, f"goes on from {path}")


def write(path: Path, policy: Policy, state: PlannerState) -> None:
    """Replace what is in ``path``; a crash leaves the old or the new, never half of one.

    Raises:
        OSError: it cannot be written.
    """
    text = json.dumps(saved(policy, state), separators=(",", ":"), allow_nan=False)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


class StateKeeper:
    """A ``DecisionSink`` that saves the planner's memory after every full decision."""

    def __init__(self, path: Path, planner: Planner) -> None:
        self._path, self._planner = path, planner
        self.problem = ""  # why the last save failed; empty when it did not

    def record(self, seen: Observation, decision: Decision, error: str = "") -> None:
        """Save when something was decided anew; between decisions there is little to lose."""
        if decision.reason is not Reason.HELD_BETWEEN:
            self.save()

    def save(self) -> None:
        """Save now, if anything was seen. A disk that is full is a problem to tell, not a reason to stop scaling."""
        if self._planner.state.at is None:
            return
        try:
            write(self._path, self._planner.policy, self._planner.state)
            self.problem = ""
        except OSError as problem:
            self.problem = f"state not saved to {self._path}: {problem}"
