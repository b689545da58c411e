"""CSV tables read strictly, a block of columns at a time: what is wrong is named with its line and column."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.simulation.traffic.errors import TrafficError, at_line
from planner.simulation.traffic.files import Block, blocks

MAX_COUNT = 2**31 - 1
"""Token counts and block numbers are kept in 32 bits."""


_Parse = Callable[[list[bytes]], "NDArray[Any] | None"]


class Kind(Enum):
    """What the cells of a column hold."""

    COUNT = "a whole number from 0"
    NUMBER = "a number from 0"
    NUMBER_OR_GAP = "a number from 0, or nothing"
    TIME = "a date and time like 2024-05-12 08:15:00.25"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Rows:
    """Some consecutive rows of a table, by column; ``line(i)`` is where row ``i`` stands in the file.

    COUNT columns are int64, NUMBER float64 (gaps are NaN), TIME int64 nanoseconds since 1970 (UTC unless the
    cell says otherwise), TEXT bytes.
    """

    path: Path
    first_line: int
    columns: Mapping[str, NDArray[Any]]

    def line(self, row: int) -> int:
        """The line of the file that holds ``row``."""
        return self.first_line + row


def header_of(line: bytes) -> list[str]:
    """The column names of a header line."""
    return [name.strip() for name in line.decode("utf-8", "replace").split(",")]


def read_rows(path: Path, wanted: Mapping[str, Kind], *, header: Sequence[str] | None = None) -> Iterator[Rows]:
    """The wanted columns of a CSV file; columns that are not wanted are only counted.

    With ``header`` the file has none of its own and these are its columns.

    Raises:
        TrafficError: a wanted column is not in the header; a row has too few or too many fields;
            a cell is not of its column's kind.
    """
    names = list(header) if header is not None else None
    for block in blocks(path):
        if names is None:
            names = _checked_header(path, block.lines[0], wanted)
            block = Block(block.first_line + 1, block.lines[1:])
        if block.lines:
            yield _rows(path, block, names, wanted)


def refuse_strangers(path: Path, header: Sequence[str], known: Collection[str], what: str) -> None:
    """Raise ``TrafficError`` for columns that ``what`` does not have: a misread column is worse than none."""
    strangers = [name for name in header if name not in known]
    if strangers:
        raise TrafficError(f"{path}: {what} has no column {', '.join(strangers)}; its columns are {', '.join(known)}")


def refuse_unsorted(rows: Rows, column: str, before: float | None) -> float:
    """The last value of a column that must not descend, ``before`` being the last of the rows above.

    Raises:
        TrafficError: some row is earlier than the one above it.
    """
    values = rows.columns[column]
    if before is not None and values[0] < before:
        raise _unsorted(rows, column, 0)
    falls = np.flatnonzero(values[1:] < values[:-1])
    if falls.size:
        raise _unsorted(rows, column, int(falls[0]) + 1)
    return float(values[-1])


def _unsorted(rows: Rows, column: str, row: int) -> TrafficError:
    line = rows.line(row)
    return at_line(rows.path, line, f"{column} is earlier than on line {line - 1}: sort the rows by {column}")


def _checked_header(path: Path, line: bytes, wanted: Mapping[str, Kind]) -> list[str]:
    names = header_of(line)
    missing = [name for name in wanted if name not in names]
    if missing:
        raise TrafficError(f"{path}: no column {', '.join(missing)}; the header is {', '.join(names)}")
    if len(set(names)) < len(names):
        raise TrafficError(f"{path}: two columns have the same name; the header is {', '.join(names)}")
    return names


def _rows(path: Path, block: Block, names: Sequence[str], wanted: Mapping[str, Kind]) -> Rows:
    commas = len(names) - 1
    if any(line.count(b",") != commas for line in block.lines):
        raise _wrong_width(path, block, names)
    cells = list(chain.from_iterable(line.split(b",") for line in block.lines))
    columns = {}
    for index, name in enumerate(names):
        if name in wanted:
            columns[name] = _parsed(path, block.first_line, name, wanted[name], cells[index :: len(names)])
    return Rows(path, block.first_line, columns)


def _wrong_width(path: Path, block: Block, names: Sequence[str]) -> TrafficError:
    row = next(i for i, line in enumerate(block.lines) if line.count(b",") != len(names) - 1)
    found = block.lines[row].count(b",") + 1
    fields = f"{len(names)} fields: {', '.join(names)}"
    return at_line(path, block.first_line + row, f"{found} field{'s' * (found != 1)} where the table has {fields}")


def _parsed(path: Path, first_line: int, name: str, kind: Kind, cells: list[bytes]) -> NDArray[Any]:
    parse = _PARSERS[kind]
    try:
        values = parse(cells)
    except (ValueError, OverflowError):
        values = None
    if values is not None:
        return values
    bad = next(i for i, cell in enumerate(cells) if not _parses(parse, cell))
    shown = cells[bad].decode("utf-8", "replace").strip()
    said = repr(shown) if shown else "missing"
    raise at_line(path, first_line + bad, f"{name} is {said}; it must be {kind.value}")


def _parses(parse: _Parse, cell: bytes) -> bool:
    try:
        return parse([cell]) is not None
    except (ValueError, OverflowError):
        return False


def _counts(cells: list[bytes]) -> NDArray[np.int64] | None:
    if b"_" in b",".join(cells):
        return None  # Python reads 1_000 as a number; a trace that holds it is broken
    values = np.array(cells).astype(np.int64)
    return values if values.min() >= 0 and values.max() <= MAX_COUNT else None


def _numbers(cells: list[bytes]) -> NDArray[np.float64] | None:
    if b"_" in b",".join(cells):
        return None
    values = np.array(cells).astype(np.float64)
    return values if values.min() >= 0 and math.isfinite(values.max()) else None  # NaN fails the first


def _numbers_or_gaps(cells: list[bytes]) -> NDArray[np.float64] | None:
    gaps = np.array([cell.strip().lower() in (b"", b"nan") for cell in cells])
    filled = _numbers([b"0" if gap else cell for gap, cell in zip(gaps, cells, strict=True)])
    return None if filled is None else np.where(gaps, np.nan, filled)


_SHAPE = re.compile(rb"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$")


def _times(raw: list[bytes]) -> NDArray[np.int64] | None:
    cells = [cell.strip() for cell in raw]
    if not all(map(_SHAPE.match, cells)):
        return None  # numpy would read "12" as the year 12
    text = b",".join(cells)
    for utc in (b"Z", b"+00:00"):
        if text.count(utc) == len(cells):  # the same for all, as traces have it: many times faster
            return _nanoseconds(text.replace(utc, b"").split(b","))
    if b"Z" not in text and b"+" not in text and text.count(b"-") == 2 * len(cells):
        return _nanoseconds(cells)
    offsets = np.array([_offset_ns(_zone(cell)) for cell in cells], dtype=np.int64)
    return _nanoseconds([cell[: len(cell) - len(_zone(cell))] for cell in cells]) - offsets


def _nanoseconds(bare: list[bytes]) -> NDArray[np.int64]:
    return np.array(bare).astype("U").astype("datetime64[ns]").astype(np.int64)


def _zone(cell: bytes) -> bytes:
    if cell[-6:-5] in (b"+", b"-") and cell[-3:-2] == b":":
        return cell[-6:]
    if cell[-5:-4] in (b"+", b"-") and b":" not in cell[-5:]:
        return cell[-5:]
    return b"Z" if cell[-1:] == b"Z" else b""


def _offset_ns(zone: bytes) -> int:
    if zone in (b"", b"Z"):
        return 0
    minutes = int(zone[1:3]) * 60 + int(zone[-2:])
    return (-1 if zone[:1] == b"-" else 1) * minutes * 60_000_000_000


def _texts(cells: list[bytes]) -> NDArray[np.bytes_]:
    return np.array(cells)


_PARSERS: Mapping[Kind, _Parse] = {
    Kind.COUNT: _counts,
    Kind.NUMBER: _numbers,
    Kind.NUMBER_OR_GAP: _numbers_or_gaps,
    Kind.TIME: _times,
    Kind.TEXT: _texts,
}
