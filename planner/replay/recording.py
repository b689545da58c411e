"""A decision log as a whole: its steps, what it is of, and where in it something happened."""

from __future__ import annotations

import gzip
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.adapters.decision_log import About, DecisionLogError, parse
from planner.core.types import Reason
from planner.ports import Step
from planner.replay.moments import offset, shown

HELD = frozenset({Reason.HELD_BLIND, Reason.HELD_BETWEEN, Reason.HELD_STARTING})
"""Reasons of decisions that keep a number instead of finding one."""


@dataclass(frozen=True, slots=True)
class Recording:
    """The steps of one log; a log that was gone on with after a restart says anew what it is of."""

    path: Path
    steps: Sequence[Step]
    abouts: Mapping[int, About]  # by the index of the first step that it is of
    notes: tuple[str, ...] = ()

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
        """Index of the last step at or before ``moment``.

        Raises:
            ValueError: the log does not reach so far.
        """
        last = self.end + self.spacing_s
        if not self.start <= moment <= last:
            reach = f"from {shown(self.start)} to {shown(self.end)} ({offset(self.end - self.start)} later)"
            raise ValueError(f"{self.path}: nothing was decided at {shown(moment)}: the log reaches {reach}")
        return bisect_right(self.steps, moment, key=lambda step: step.seen.at) - 1

    def number(self, line: int) -> int:
        """Index of the step on ``line`` of the file, from 1; negative lines count from the end.

        Raises:
            ValueError: there is no such line.
        """
        count = len(self.steps)
        if not 1 <= abs(line) <= count:
            raise ValueError(f"{self.path}: there is no step {line}: the log has {count:,}, from 1 (or -1, the last)")
        return line - 1 if line > 0 else count + line

    @property
    def spacing_s(self) -> float:
        """Seconds between the last two steps: how long a step stands."""
        return self.steps[-1].seen.at - self.steps[-2].seen.at if len(self.steps) > 1 else 0.0

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
    """Read a log; what is cut off at its end (a log that is being written) is left out and noted.

    Raises:
        DecisionLogError: it is no decision log, is broken inside, goes back in time, or holds nothing.
    """
    steps: list[Step] = []
    abouts: dict[int, About] = {}
    notes: list[str] = []
    lines = _lines(path, notes)
    for number, line in enumerate(lines, 1):
        try:
            about, step = parse(line, number, path)
        except DecisionLogError:
            if number == 1 or line.endswith("\n"):
                raise
            notes.append(f"{path.name} is cut off in line {number}: that step is left out")
            break
        if steps and step.seen.at < steps[-1].seen.at:
            raise DecisionLogError(f"{path}:{number}: goes back in time, from {steps[-1].seen.at} to {step.seen.at}")
        if about is not None:
            abouts[len(steps)] = about
        steps.append(step)
    if not steps:
        raise DecisionLogError(f"{path} holds no decisions")
    return Recording(path, tuple(steps), abouts, tuple(notes))


def _lines(path: Path, notes: list[str]) -> Iterator[str]:
    """Lines of a file; a compressed one that ends too early ends there."""
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            yield from file
    except EOFError:
        notes.append(f"{path.name} is cut off: what could be unpacked was read")
    except (gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as problem:
        raise DecisionLogError(f"{path}: cannot be read: {problem}") from None
