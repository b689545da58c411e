"""Why a decision of a log is what it is: for people as sections of sentences, for programs as one object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner import words
from planner.adapters.decision_log import About
from planner.core.codec import to_json
from planner.core.policy import Policy
from planner.core.state import Wish
from planner.core.types import Reason
from planner.ports import Step
from planner.replay import sentences
from planner.replay.evidence import Seen, is_full, seen_before
from planner.replay.moments import iso, offset, shown
from planner.replay.recording import HELD, Recording
from planner.replay.redecide import Progress, redecided
from planner.replay.whatif import WhatIf, what_ifs

SCHEMA = "sla-planner/explanation.v1"
Sections = dict[str, tuple[str, ...]]
"""Sentences by heading, in the order in which a decision is made."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A number that a wish of the past keeps up, until that is held no longer."""

    pool: str
    replicas: int
    wanted_at: float
    until: float


@dataclass(frozen=True, slots=True)
class Turning:
    """What would have changed a decision, found by deciding it again."""

    same: bool  # the decision made again is the recorded one
    what_ifs: tuple[WhatIf, ...] = ()
    holds: tuple[Hold, ...] = ()
    planned_rate: float | None = None  # the highest that the full decision before had planned for, requests per second


@dataclass(frozen=True, slots=True)
class Explanation:
    """One step, and everything that made its number."""

    recording: Recording
    index: int  # of the step that was asked about
    origin: int  # of the step that found its number: itself, unless it holds
    seen: Seen
    turning: Turning | None  # None: the log does not say how to decide it again

    @property
    def step(self) -> Step:
        """The step that was asked about."""
        return self.recording.steps[self.index]

    @property
    def found(self) -> Step:
        """The step that found its number."""
        return self.recording.steps[self.origin]

    @property
    def about(self) -> About | None:
        """What the log is of at that step."""
        return self.recording.about(self.origin)

    @property
    def before(self) -> Mapping[str, int] | None:
        """What was asked for by the step before; ``None`` for the first."""
        return self.recording.steps[self.index - 1].decision.replicas if self.index else None

    def title(self) -> str:
        """Which step this is, in a line."""
        after = offset(self.step.seen.at - self.recording.start)
        return f"step {self.index + 1:,} of {len(self.recording.steps):,}, {after} into the log, " \
               f"{shown(self.step.seen.at)}"  # fmt: skip

    def answer(self) -> str:
        """The number and its reason, in a sentence."""
        decision = self.step.decision
        told = f"{words.fleet(decision.replicas, self.before)}: {words.REASONS[decision.reason]}"
        if self.index == self.origin:
            return f"{told}."
        there = f"step {self.origin + 1:,}, {offset(self.found.seen.at - self.recording.start)} into the log"
        return f"{told}. The number is from {there}: {words.REASONS[self.found.decision.reason]}."

    def sections(self) -> Sections:
        """Everything else, under the headings that people look for; empty ones are left out."""
        decision = self.found.decision
        every = {
            "seen": tuple(sentences.seen(self.seen, self.about)),
            "forecast": tuple(words.forecast(decision, self.about)) or self._planned(),
            "profile": tuple(words.corrections(decision)),
            "wanted": (f"{words.fleet(decision.wanted)}.",) if decision.wanted and decision.reason not in HELD else (),
            "rules": tuple(words.rule(moved, self.about) for moved in decision.adjustments),
            "expected": tuple(words.expected(decision, self.about)),
            "would change it": tuple(self._turns()),
            "notes": decision.notes,
            "problems": self._problems(),
        }
        return {name: said for name, said in every.items() if said}

    def _planned(self) -> tuple[str, ...]:
        """What a fast look held its rate against."""
        if self.turning is None or self.turning.planned_rate is None:
            return ()
        return (sentences.planned(self.turning.planned_rate),)

    def _turns(self) -> list[str]:
        if self.turning is None:
            return []
        said = (
            [] if self.turning.same else ["(decided again with this code, this step comes out otherwise: see replay)"]
        )
        start = self.recording.start
        for hold in self.turning.holds:
            since, until = (f"{offset(at - start)} into the log" for at in (hold.wanted_at, hold.until))
            said.append(sentences.held_until(hold.pool, hold.replicas, since, until))
        return said + [sentences.turn(one) for one in self.turning.what_ifs]

    def _problems(self) -> tuple[str, ...]:
        """What went wrong, at the step and before the decision, each once."""
        own = tuple(text for text in (*self.step.seen.problems, self.step.error) if text)
        known = self.found.decision.notes
        return tuple(text for text in dict.fromkeys((*self.seen.problems, *own)) if text not in known)

    def to_json(self) -> dict[str, Any]:
        """The object that ``explain --json`` prints."""
        decision, start = self.step.decision, self.recording.start
        turning = self.turning
        return {
            "schema": SCHEMA,
            "log": str(self.recording.path),
            "step": self.index + 1,
            "at": self.step.seen.at,
            "time": iso(self.step.seen.at),
            "offset_seconds": self.step.seen.at - start,
            "replicas": dict(decision.replicas),
            "before": None if self.before is None else dict(self.before),
            "reason": decision.reason.value,
            "error": self.step.error,
            "found": {"step": self.origin + 1, "at": self.found.seen.at, "decision": to_json(self.found.decision)},
            "seen": self.seen.to_json(),
            "would_change": None if turning is None else {
                "redecided_the_same": turning.same,
                "planned_rate_per_second": turning.planned_rate,
                "what_ifs": [one.to_json() for one in turning.what_ifs],
                "holds": [{"pool": h.pool, "replicas": h.replicas, "wanted_at": h.wanted_at, "until": h.until}
                          for h in turning.holds],
            },
            "words": {"answer": self.answer(), **{name: list(said) for name, said in self.sections().items()}},
            "notes": list(self.recording.notes),
        }  # fmt: skip


def explain(recording: Recording, index: int, policy: Policy | None, progress: Progress | None = None) -> Explanation:
    """Why the step at ``index`` asks for what it asks; ``policy`` is what the log was decided by, if it says so."""
    origin = recording.origin(index)
    about = recording.about(origin)
    turning = None if policy is None else _turning(recording, origin, policy, progress)
    return Explanation(recording, index, origin, seen_before(recording, origin, about.sla if about else None), turning)


def _turning(recording: Recording, index: int, policy: Policy, progress: Progress | None) -> Turning | None:
    """Decide the log again up to ``index``, and that step under other conditions."""
    if recording.steps[index].decision.reason in HELD or not recording.steps[index].seen.pools:
        return None
    *_, last = redecided(policy, recording.steps[: index + 1], progress)
    same = last.decision == recording.steps[index].decision
    full = is_full(recording.steps[index].decision)
    return Turning(
        same=same,
        what_ifs=what_ifs(policy, last.before, last.step.seen) if full and is_full(last.decision) else (),
        holds=_holds(last.before.recent, last.step),
        planned_rate=max(last.before.load.rates) if last.before.load is not None and not full else None,
    )


def _holds(recent: tuple[Wish, ...], step: Step) -> tuple[Hold, ...]:
    """For every number that was stabilized: the wish that keeps it up longest."""
    found = []
    for moved in step.decision.adjustments:
        if moved.reason is Reason.STABILIZATION:
            wishes = [wish for wish in recent if wish.replicas.get(moved.pool, 0) >= moved.after]
            if wishes:
                longest = max(wishes, key=lambda wish: wish.until)
                found.append(Hold(moved.pool, moved.after, longest.at, longest.until))
    return tuple(found)


def last_change(recording: Recording) -> int:
    """Index of the last step that asked for another fleet; without any, of the last that found its number."""
    changes = list(recording.changes())
    return changes[-1] if changes else recording.origin(len(recording.steps) - 1)
