"""What went wrong, as spells: from when, until when, what, in whose words."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from planner.adapters.decision_log import About
from planner.core.types import Observation, PoolReading
from planner.ports import Step

KEPT = 200
"""Older spells are forgotten; how many there were is still counted."""
PATIENCE = 3.0
"""A worker that takes this many times the start-up that the policy believes in is worth a look."""


@dataclass(slots=True)
class Spell:
    """The same trouble, step after step."""

    kind: str  # "blind", "problem", "error", "starting", "lost"
    text: str
    begin: float
    end: float
    steps: int = 1


class Faults:
    """Troubles of a log, consecutive ones joined; the newest last."""

    def __init__(self) -> None:
        self.spells: deque[Spell] = deque(maxlen=KEPT)
        self.count = 0
        self._open: dict[tuple[str, str], Spell] = {}
        self._last: Step | None = None

    def take(self, step: Step, about: About | None) -> None:
        """Note what is wrong in one step; what is no longer wrong has ended."""
        seen, before = step.seen, self._last
        now = dict.fromkeys(_named(step, before, about))
        begin = seen.at if before is None else before.seen.at
        still: dict[tuple[str, str], Spell] = {}
        for kind, text in now:
            spell = self._open.get((kind, text))
            if spell is None:
                spell = Spell(kind, text, begin, seen.at)
                self.spells.append(spell)
                self.count += 1
            else:
                spell.end, spell.steps = seen.at, spell.steps + 1
            still[kind, text] = spell
        self._open, self._last = still, step

    def note(self, text: str) -> None:
        """A line of the log that cannot be read; it has no time of its own."""
        at = self._last.seen.at if self._last is not None else 0.0
        self.spells.append(Spell("problem", text, at, at))
        self.count += 1

    @property
    def current(self) -> list[Spell]:
        """What is wrong now."""
        return list(self._open.values())


def _named(step: Step, before: Step | None, about: About | None) -> Iterator[tuple[str, str]]:
    """(kind, words) of everything wrong in a step."""
    seen = step.seen
    blind = seen.window is None and (before is not None or bool(seen.problems))  # a first look has nothing to compare
    if blind:
        yield "blind", "; ".join(seen.problems) or "nothing could be measured since the last look"
    elif seen.problems:
        yield from (("problem", problem) for problem in seen.problems)
    if step.error and step.error not in seen.problems:
        yield "error", step.error
    yield from _starting(seen, about)
    if before is not None:
        yield from _lost(before, seen.pools)


def _starting(seen: Observation, about: About | None) -> Iterator[tuple[str, str]]:
    for name, reading in seen.pools.items():
        believed = about.pools[name].startup_s if about is not None and name in about.pools else None
        if believed and reading.starting_s and max(reading.starting_s) > PATIENCE * max(believed, 10.0):
            yield "starting", f"{name}: a worker has not become ready in {PATIENCE:g} × its start-up ({believed:g} s)"


def _lost(before: Step, pools: Mapping[str, PoolReading]) -> Iterator[tuple[str, str]]:
    """Fewer ready than a moment ago, and fewer than were asked for: a worker died, or is no longer seen."""
    for name, reading in pools.items():
        old = before.seen.pools.get(name)
        asked = before.decision.replicas.get(name, reading.requested)
        if old is not None and reading.ready < min(old.ready, asked):
            gone = old.ready - reading.ready
            workers = "a ready worker is" if gone == 1 else f"{gone} ready workers are"
            yield "lost", f"{name}: {workers} gone, {reading.ready} left of {asked} asked for"
