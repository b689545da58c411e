"""Decision logs: one JSON object a line, what was seen and what was decided; ``schema`` in the first.

``.gz`` files are compressed. A log can be read back into the values it was
written from, to replay or explain them.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, cast

from planner.core.codec import CodecError, from_json, to_json
from planner.core.types import Decision, Observation

SCHEMA = "sla-planner/decision.v1"


class DecisionLogError(ValueError):
    """A file that is no decision log, or a broken line; the message has file, line and reason."""


@dataclass(frozen=True, slots=True)
class LoggedStep:
    """One line of a log."""

    seen: Observation
    decision: Decision
    error: str = ""


class DecisionLog:
    """A ``DecisionSink`` that writes to a file; use it as a context manager."""

    def __init__(self, path: Path) -> None:
        self._file = _opened(path, "wt")
        self._first = True

    def record(self, seen: Observation, decision: Decision, error: str = "") -> None:
        """Write one step."""
        line = to_json(LoggedStep(seen, decision, error))
        if self._first:
            line = {"schema": SCHEMA, **line}
            self._first = False
        self._file.write(json.dumps(line, separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n")

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def __enter__(self) -> DecisionLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def read(path: Path) -> Iterator[LoggedStep]:
    """The steps of a log, in order.

    Raises:
        DecisionLogError: it is no decision log, or a line is broken.
    """
    with _opened(path, "rt") as lines:
        for number, line in enumerate(lines, 1):
            yield _step(line, number, path)


def _step(line: str, number: int, path: Path) -> LoggedStep:
    try:
        data = json.loads(line)
    except ValueError as problem:
        raise DecisionLogError(f"{path}:{number}: not JSON: {problem}") from None
    if number == 1:
        schema = data.pop("schema", None) if isinstance(data, dict) else None
        if schema != SCHEMA:
            raise DecisionLogError(f"{path}:1: schema is {schema!r}, expected {SCHEMA!r}: is this a decision log?")
    try:
        return from_json(LoggedStep, data)
    except CodecError as problem:
        raise DecisionLogError(f"{path}:{number}: {problem}") from None


def _opened(path: Path, mode: str) -> IO[str]:
    if path.suffix == ".gz":
        return cast(IO[str], gzip.open(path, mode, encoding="utf-8"))
    return cast(IO[str], path.open(mode, encoding="utf-8"))
