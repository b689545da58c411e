"""A decision log as a whole: its steps, what it is of, and where in it something happened."""

from __future__ import annotations

import gzip
import math
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from planner.adapters.decision_log import About, DecisionLogError, entries
from planner.core.types import Reason
from planner.ports import Step
from planner.replay.moments import offset, shown

HELD = frozenset({Reason.HELD_BLIND, Reason.HELD_BETWEEN, Reason.HELD_STARTING})
"""Reasons of decisions that keep a number instead of finding one."""


@dataclass(frozen=True, slots=True)
class Recording:
    """The steps of one log; a log that was gone on with after a restart says anew what it is of.

    Times go on from step to step, but where a restarted planner found the clock set back.
    """

    path: Path
    steps: Sequence[Step]
    abouts: Mapping[int, About]  # by the index of the first step that it is of
    notes: tuple[str, ...] = ()
    set_back: tuple[int, ...] = ()  # indices of the steps at which the clock had been set back

    @property
    def start(self) -> float:
        """When the log begins."""
        return self.steps[0].seen.at

    @property
    def end(self) -> float:
        """When the last step was made."""
        return self.steps[-1].seen.at

    def about(self, index: int = 0) -> About | None:
        """What the step at ``index`` is of; ``None`` when the log does not say."""
        found = [first for first in self.abouts if first <= index]
        return self.abouts[max(found)] if found else None

    def at(self, moment: float) -> int:
        """Index of the last step at or before ``moment``; a moment that came twice is the later one.

        Raises:
            ValueError: the log does not reach so far.
        """
        reaches: list[str] = []
        for first, after in reversed(self.stretches()):
            own = self.steps[first:after]
            start, end = own[0].seen.at, own[-1].seen.at
            stands = end - own[-2].seen.at if len(own) > 1 else 0.0  # as long as the step before it
            if start <= moment <= end + stands:
                return first + bisect_right(own, moment, key=lambda step: step.seen.at) - 1
            reaches.insert(0, f"from {shown(start)} to {shown(end)} ({offset(end - start)} later)")
        reach = " and ".join(reaches)
        raise ValueError(f"{self.path}: nothing was decided at {shown(moment)}: the log reaches {reach}")

    def number(self, line: int) -> int:
        """Index of the step on ``line`` of the file, from 1; negative lines count from the end.

        Raises:
            ValueError: there is no such line.
        """
        count = len(self.steps)
        if not 1 <= abs(line) <= count:
            raise ValueError(f"{self.path}: there is no step {line}: the log has {count:,}, from 1 (or -1, the last)")
        return line - 1 if line > 0 else count + line

    def stretches(self) -> list[tuple[int, int]]:
        """First step, and the one after the last, of each stretch in which the clock was not set back."""
        return list(pairwise((0, *self.set_back, len(self.steps))))

    @property
    def seconds(self) -> float:
        """How much time the log covers."""
        return sum(self.steps[after - 1].seen.at - self.steps[first].seen.at for first, after in self.stretches())

    def changes(self) -> Iterator[int]:
        """Indices of the steps that asked for another fleet than the step before."""
        for i in range(1, len(self.steps)):
            if self.steps[i].decision.replicas != self.steps[i - 1].decision.replicas:
                yield i

    def origin(self, index: int) -> int:
        """Index of the step that found the number which the step at ``index`` asks for."""
        for i in range(index, -1, -1):
            if self.steps[i].decision.reason not in HELD:
                return i
        return index


def load(path: Path) -> Recording:
    """Read a log; what was cut off when its planner ended (or is being written) is left out and noted.

    Raises:
        DecisionLogError: it is no decision log, is broken or goes back in time inside a session, or holds nothing.
    """
    steps: list[Step] = []
    abouts: dict[int, About] = {}
    set_back: list[int] = []
    notes: list[str] = []
    for number, entry in entries(_lines(path, notes), path, notes):
        at, before = entry.step.seen.at, steps[-1].seen.at if steps else -math.inf
        if at < before and not entry.begins:
            raise DecisionLogError(f"{path}:{number}: goes back in time, from {before} to {at}")
        if at < before:
            set_back.append(len(steps))
            notes.append(f"the clock had been set back when the planner was started at step {len(steps) + 1}, from "
                         f"{shown(before)} to {shown(at)}: a moment that came twice is the later one")  # fmt: skip
        if entry.about is not None:
            abouts[len(steps)] = entry.about
        steps.append(entry.step)
    if not steps:
        raise DecisionLogError(f"{path} holds no decisions")
    return Recording(path, tuple(steps), abouts, tuple(notes), tuple(set_back))


def _lines(path: Path, notes: list[str]) -> Iterator[str]:
    """Lines of a file; a compressed one that ends too early ends there."""
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8", errors="replace") as file:  # a cut goes through letters too
            yield from file
    except EOFError:
        notes.append(f"{path.name} is cut off: what could be unpacked was read")
    except (gzip.BadGzipFile, zlib.error) as problem:
        raise DecisionLogError(f"{path}: cannot be read: {problem}") from None
