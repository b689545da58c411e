"""Trace files as rows with line numbers: gzip and zstd by their magic, every complaint with its place."""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO


class TrafficError(ValueError):
    """Traffic that cannot be simulated; the message names the place, the value and what would be right."""


def opened(path: Path) -> IO[str]:
    """The file as text, decompressed when its first bytes say gzip or zstd.

    Raises:
        TrafficError: it does not exist or is not text.
    """
    try:
        magic = path.open("rb").read(4)
    except OSError as problem:
        raise TrafficError(f"{path}: {problem.strerror or problem}") from None
    if magic[:2] == b"\x1f\x8b":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    if magic == b"\x28\xb5\x2f\xfd":
        import zstandard

        return io.TextIOWrapper(zstandard.open(path, "rb"), encoding="utf-8", newline="")  # type: ignore[arg-type]
    return path.open(encoding="utf-8", newline="")


@dataclass(frozen=True, slots=True)
class Table:
    """A CSV file: its header and its rows, each with the number of its line."""

    path: Path
    header: tuple[str, ...]

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """(line number, fields), header and blank lines left out.

        Raises:
            TrafficError: a row has more or fewer fields than the header.
        """
        with opened(self.path) as text:
            for number, fields in enumerate(csv.reader(text), start=1):
                if number == 1 or not fields:
                    continue
                if len(fields) != len(self.header):
                    raise TrafficError(
                        f"{self.path}:{number}: {len(fields)} fields, the header has {len(self.header)} "
                        f"({', '.join(self.header)})"
                    )
                yield number, fields


def table(path: Path) -> Table:
    """The CSV file at ``path``.

    Raises:
        TrafficError: it is empty or not text.
    """
    try:
        with opened(path) as text:
            header = next(csv.reader(text), None)
    except (UnicodeDecodeError, csv.Error, gzip.BadGzipFile, EOFError) as problem:
        raise TrafficError(f"{path}: not a text file: {problem}") from None
    if not header:
        raise TrafficError(f"{path}: the file is empty; a header and at least one row are needed")
    return Table(path, tuple(name.strip() for name in header))


def number(path: Path, line: int, name: str, text: str, least: float = 0.0) -> float:
    """A finite number of at least ``least``.

    Raises:
        TrafficError: it is none; names the line, the field and the value.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < least:
        raise TrafficError(f"{path}:{line}: {name} is {text!r}; it must be a number of at least {least:g}")
    return value


def timestamp(path: Path, line: int, name: str, text: str) -> float:
    """Seconds since 1970 (UTC where no zone is given) of an ISO time.

    Raises:
        TrafficError: it is none.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise TrafficError(f"{path}:{line}: {name} is {text!r}; a time like 2024-05-12 00:00:00 is expected") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def ascending(path: Path, line: int, name: str, before: float | None, now: float) -> float:
    """``now``, if time does not run backwards.

    Raises:
        TrafficError: it does.
    """
    if before is not None and now < before:
        raise TrafficError(f"{path}:{line}: {name} goes back by {before - now:g} s; rows must be in order of time")
    return now


def column(table: Table, names: Sequence[str]) -> int:
    """Index of the first of ``names`` in the header (case does not matter).

    Raises:
        TrafficError: none is there.
    """
    lower = [name.lower() for name in table.header]
    for name in names:
        if name.lower() in lower:
            return lower.index(name.lower())
    raise TrafficError(f"{table.path}:1: no column {' or '.join(names)}; the header has {', '.join(table.header)}")
