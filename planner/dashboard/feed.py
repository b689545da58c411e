"""Where the page's steps come from: a log file that may still grow, or the planner in the same process."""

from __future__ import annotations

import gzip
import os
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol, TypeVar, cast

from planner.adapters.decision_log import About, DecisionLogError, parse
from planner.core.types import Decision, Observation
from planner.dashboard.series import Series
from planner.ports import Step

T = TypeVar("T")
PORTION_S = 0.2
"""A long log is read in portions of this length, so that the page shows its beginning at once."""


class Feed(Protocol):
    """Whoever knows what was seen and decided so far."""

    @property
    def name(self) -> str:
        """Changes when everything starts anew, so that a page forgets what it has."""

    @property
    def heard(self) -> float | None:
        """When the newest step came, in seconds of ``time.time``; ``None`` before the first."""

    def tell(self, about: About) -> None:
        """Say what the steps are of, where they do not say it themselves."""

    def look(self, at: Callable[[Series], T]) -> tuple[T, bool]:
        """``at`` the newest series, which does not change meanwhile; ``True`` if there is more to read at once."""


class RecentFeed:
    """A ``DecisionSink`` in the planner's own process: steps go into the series, which is bounded, and are let go."""

    def __init__(self, about: About | None = None) -> None:
        self.name = secrets.token_hex(4)
        self.heard: float | None = None
        self._series, self._lock = Series(about), threading.Lock()

    def tell(self, about: About) -> None:
        """Say what the steps are of; before the first one."""
        with self._lock:
            self._series.tell(about)

    def record(self, seen: Observation, decision: Decision, error: str = "") -> None:
        """Take note of one step."""
        with self._lock:
            self._series.take(Step(seen, decision, error))
            self.heard = time.time()

    def look(self, at: Callable[[Series], T]) -> tuple[T, bool]:
        """``at`` the series as it is."""
        with self._lock:
            return at(self._series), False


class LogFeed:
    """A decision log, read as it grows. A file that was replaced or cut is read anew; ``.gz`` is read once.

    A planner that was started with the clock set back begins anew too: its times would lie on top of others.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._begin()

    @property
    def name(self) -> str:
        """A new one for every beginning of the file."""
        return self._name

    @property
    def heard(self) -> float | None:
        """When the file was last written."""
        try:
            return self._path.stat().st_mtime if self._series.version else None
        except OSError:
            return None

    def tell(self, about: About) -> None:
        """Say what the log is of, where its first line does not."""
        with self._lock:
            if self._series.about is None:
                self._series.tell(about)

    def look(self, at: Callable[[Series], T]) -> tuple[T, bool]:
        """Read what the file grew by, a portion at most, and look.

        Raises:
            DecisionLogError: it is no decision log.
            OSError: it cannot be read.
        """
        with self._lock:
            more = self._read()
            return at(self._series), more

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _begin(self) -> None:
        self._name = secrets.token_hex(4)
        self._series = Series()
        self._file, self._lines, self._rest = _opened(self._path), 0, b""

    def _read(self) -> bool:
        """Take in whole lines for a while; ``True`` if there are more."""
        if self._replaced():
            self._file.close()
            self._begin()
        until = time.monotonic() + PORTION_S
        while time.monotonic() < until:
            try:
                line = self._rest + self._file.readline()
            except EOFError:  # a .gz that was not finished
                return False
            if not line.endswith(b"\n"):
                self._rest = line  # the writer is in the middle of it
                return False
            self._rest = b""
            self._take(line)
        return True

    def _take(self, line: bytes) -> None:
        self._lines += 1
        try:
            entry = parse(line.decode("utf-8", "replace"), self._lines, self._path)
        except DecisionLogError as problem:
            if self._lines == 1:
                self._lines = 0
                raise
            self._series.unreadable(str(problem))
            return
        if self._series.at is not None and entry.begins and entry.step.seen.at < self._series.at:
            self._name, self._series = secrets.token_hex(4), Series(self._series.about)
            self._series.unreadable(f"{self._path}:{self._lines}: the clock had been set back: the page begins here")
        if entry.about is not None:
            self._series.tell(entry.about)
        self._series.take(entry.step)

    def _replaced(self) -> bool:
        if self._path.suffix == ".gz":
            return False
        try:
            now = self._path.stat()
        except FileNotFoundError:  # moved away; what was read stays
            return False
        mine = os.fstat(self._file.fileno())
        return (now.st_ino, now.st_dev) != (mine.st_ino, mine.st_dev) or now.st_size < self._file.tell()


def _opened(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")
