"""What goes wrong inside the planner itself: told once in the log and counted, never the end of the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import structlog

from planner.core.types import Decision, Observation
from planner.ports import DecisionSink


class Unbroken:
    """A sink whose ``OSError`` (a full disk) is a problem to tell: scaling goes on without it."""

    def __init__(self, inner: DecisionSink, what: str) -> None:
        self._inner, self._what = inner, what
        self.problem = ""  # of the last step; empty when there was none

    def record(self, seen: Observation, decision: Decision, error: str = "") -> None:
        """Hand the step on."""
        try:
            self._inner.record(seen, decision, error)
            self.problem = ""
        except OSError as problem:
            self.problem = f"{self._what} not written: {problem}"


class Troubles:
    """A ``DecisionSink``, the last one: logs what has gone wrong since the step before, and what is mended."""

    def __init__(self, problems: Callable[[], Iterable[str]], count: Callable[[int], None]) -> None:
        self._problems, self._count = problems, count
        self._known: frozenset[str] = frozenset()
        self._log = structlog.get_logger()

    def record(self, seen: Observation, decision: Decision, error: str = "") -> None:
        """Look at everyone's problems."""
        now = frozenset(filter(None, self._problems()))
        for problem in sorted(now - self._known):
            self._log.warning("own trouble", problem=problem)
        for problem in sorted(self._known - now):
            self._log.info("mended", problem=problem)
        self._known = now
        self._count(len(now))
