"""The decision log of a run that ends by itself: a disk that is full costs the log, never the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from planner.adapters.decision_log import About, DecisionLog
from planner.answers import Files
from planner.core.types import Decision, Observation
from planner.ports import DecisionSink

OPTION = "--decisions"


@contextmanager
def decisions(path: Path | None, about: About, files: Files) -> Iterator[list[DecisionSink]]:
    """Sinks for a run: the log at ``path``, if one is wanted; ``files`` remembers why it could not be written.

    Raises:
        OSError: it cannot be opened.
    """
    if path is None:
        yield []
        return
    with files.to(OPTION, path):
        log = DecisionLog(path, about)
    files.complain()
    sink = _UntilItFails(log, path, files)
    try:
        yield [sink]
    finally:
        sink.close()


class _UntilItFails:
    """Writes to a log until that fails; what comes later would leave a hole."""

    def __init__(self, log: DecisionLog, path: Path, files: Files) -> None:
        self._log, self._path, self._files = log, path, files
        self._failed = False

    def record(self, seen: Observation, decision: Decision, error: str = "") -> None:
        if self._failed:
            return
        try:
            self._log.record(seen, decision, error)
        except OSError as problem:
            self._failed = True
            self._files.note(OPTION, self._path, problem)

    def close(self) -> None:
        try:
            self._log.close()
        except OSError as problem:
            if not self._failed:
                self._files.note(OPTION, self._path, problem)
