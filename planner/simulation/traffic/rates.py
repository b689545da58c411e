"""Rate tables: how many requests in each bin of time.

A CSV with two columns. The first in this list decides what the time column means:

| header | time |
|---|---|
| ``seconds``, ``t_sec`` | seconds |
| ``minute`` | minutes |
| ``hour`` | hours |
| ``timestamp`` | date and time (ISO 8601, UTC unless it says otherwise) |

The name of the other column decides what its numbers mean:

| header | numbers |
|---|---|
| ``…rps``, ``…per_s``, ``…per_sec`` | requests per second |
| ``…per_min``, ``…per_hour`` | requests per minute, per hour |
| ``tokens…`` before any of these, or alone | tokens, not requests: divided by the mean tokens of a request |
| any other ``…per_…`` | refused: the unit is not known |
| anything else (``requests``, ``count``, ``value``, …) | requests in the bin |

The bin is the median step of the time column. A row holds until the next row, but no longer than
one bin: where rows are missing there are no requests, and a note says so. The trace's clock starts at
the first row.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from planner.simulation.traffic.arrivals import RateCurve
from planner.simulation.traffic.columns import Kind, header_of, read_rows, refuse_unsorted
from planner.simulation.traffic.errors import TrafficError, at_line
from planner.simulation.traffic.files import first_line

TIME_UNITS_S = {"seconds": 1.0, "t_sec": 1.0, "minute": 60.0, "hour": 3600.0, "timestamp": 1e-9}
"""Seconds in one unit of each time column; timestamps are read in nanoseconds."""

_PER_SECONDS = {"rps": 1.0, "per_s": 1.0, "per_sec": 1.0, "per_min": 60.0, "per_hour": 3600.0}


@dataclass(frozen=True, slots=True)
class RateTable:
    """What a rate table says; ``curve`` counts tokens instead of requests when ``in_tokens``."""

    curve: RateCurve
    epoch_s: float  # the first row on the trace's own clock
    in_tokens: bool
    notes: tuple[str, ...]

    def of_requests(self, mean_tokens: float) -> RateCurve:
        """Requests per second, given the mean tokens of a request."""
        return self.curve.scaled(1.0 / mean_tokens) if self.in_tokens else self.curve


@dataclass(frozen=True, slots=True)
class _Meaning:
    """How to read the value column: divide by ``per_s`` (``None``: by the length of the row)."""

    per_s: float | None
    in_tokens: bool
    words: str


def read_rates(path: Path) -> RateTable:
    """A rate table.

    Raises:
        TrafficError: not two columns, a time column of unknown unit, an unknown rate unit, times that do
            not ascend, values that are no numbers from 0, fewer than two rows, or no request at all.
    """
    time, value = _columns(path)
    meaning = _meaning(path, value)
    ticks, values = _read(path, time, value)
    seconds = (ticks - ticks[0]) * TIME_UNITS_S[time]
    bin_s = float(np.median(np.diff(seconds)))
    spans = np.minimum(np.append(np.diff(seconds), bin_s), bin_s)
    rates = values / (meaning.per_s if meaning.per_s is not None else spans)
    notes = [f"{path.name}: {value} read as {meaning.words}, bins of {bin_s:g} s"]
    missing_s = float(seconds[-1] + bin_s - spans.sum())
    if missing_s > bin_s * 1e-6:
        notes.append(f"{path.name}: rows are missing for {missing_s:g} s; no requests arrive there")
    return RateTable(
        _curve(seconds, spans, rates), float(ticks[0] * TIME_UNITS_S[time]), meaning.in_tokens, tuple(notes)
    )


def is_rate_header(names: list[str]) -> bool:
    """Whether a CSV header looks like a rate table's."""
    return len(names) == 2 and any(name.lower() in TIME_UNITS_S for name in names)


def _columns(path: Path) -> tuple[str, str]:
    names = header_of(first_line(path))
    times = [name for name in names if name.lower() in TIME_UNITS_S]
    units = ", ".join(TIME_UNITS_S)
    if len(times) != 1:
        raise TrafficError(f"{path}: a rate table has one time column named {units}; the header is {', '.join(names)}")
    if len(names) != 2:
        raise TrafficError(
            f"{path}: a rate table has two columns, time and requests per bin; the header is {', '.join(names)}"
        )
    return times[0], next(name for name in names if name != times[0])


def _meaning(path: Path, column: str) -> _Meaning:
    name = column.lower()
    in_tokens = name.startswith(("tok", "token"))
    what = "tokens" if in_tokens else "requests"
    for suffix, seconds in _PER_SECONDS.items():
        if name == suffix or name.endswith("_" + suffix):
            return _Meaning(seconds, in_tokens, f"{what} per {_UNIT_WORDS[seconds]}")
    if "per_" in name.removesuffix("per_bin"):
        known = ", ".join(f"…{suffix}" for suffix in _PER_SECONDS)
        raise TrafficError(f"{path}: the unit of column {column} is not known; a rate is named {known}")
    return _Meaning(None, in_tokens, f"{what} per bin")


_UNIT_WORDS = {1.0: "second", 60.0: "minute", 3600.0: "hour"}


def _read(path: Path, time: str, value: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    kind = Kind.TIME if time.lower() == "timestamp" else Kind.NUMBER
    ticks, values = [], []
    last: float | None = None
    for rows in read_rows(path, {time: kind, value: Kind.NUMBER}):
        last = refuse_unsorted(rows, time, last)
        ticks.append(rows.columns[time])
        values.append(rows.columns[value])
    if not ticks or sum(map(len, ticks)) < 2:
        raise TrafficError(f"{path} has fewer than two rows: the length of a bin is the step between rows")
    times = np.concatenate(ticks)
    stuck = np.flatnonzero(times[1:] == times[:-1])
    if stuck.size:
        raise at_line(path, int(stuck[0]) + 3, f"{time} is the same as on the line before: one row per bin")
    counted = np.concatenate(values)
    if not counted.max() > 0:
        raise TrafficError(f"{path} holds no requests: every {value} is 0")
    return times, counted


def _curve(seconds: NDArray[np.float64], spans: NDArray[np.float64], rates: NDArray[np.float64]) -> RateCurve:
    """Pieces of ``spans``, with pieces of rate 0 where the next row is further away."""
    ends = seconds + spans
    edges = np.unique(np.concatenate((seconds, ends)))
    row = np.searchsorted(seconds, edges[:-1], side="right") - 1
    return RateCurve(edges, np.where(edges[:-1] < ends[row], rates[row], 0.0))
