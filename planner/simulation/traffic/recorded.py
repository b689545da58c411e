"""Recorded traces: who asked for how much, when, and with which prefix, one row per request.

| format | file | columns or fields | time |
|---|---|---|---|
| ``azure`` | CSV | ``TIMESTAMP,ContextTokens,GeneratedTokens`` | date and time, UTC unless it says otherwise |
| ``burstgpt`` | CSV | ``Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type`` | seconds |
| ``mooncake`` | JSON lines | ``timestamp,input_length,output_length,hash_ids`` | milliseconds |

BurstGPT's later files also have ``Session ID`` and ``Elapsed time``, which are not used.
Rows must be in order of time. The trace's clock starts at its first row. A row that asks for no
tokens or got none is a request that failed where it was recorded: it is left out, and counted in
``Recorded.notes``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.simulation.traffic.columns import (
    MAX_COUNT,
    Kind,
    Rows,
    header_of,
    read_rows,
    refuse_strangers,
    refuse_unsorted,
)
from planner.simulation.traffic.errors import TrafficError, at_line
from planner.simulation.traffic.files import blocks, first_line

MOONCAKE_BLOCK_TOKENS = 512
"""Length of the prefix blocks that the Mooncake traces hash."""

AZURE = {"TIMESTAMP": Kind.TIME, "ContextTokens": Kind.COUNT, "GeneratedTokens": Kind.COUNT}
BURSTGPT = {"Timestamp": Kind.NUMBER, "Request tokens": Kind.COUNT, "Response tokens": Kind.COUNT}
BURSTGPT_COLUMNS = (*BURSTGPT, "Model", "Total tokens", "Log Type", "Session ID", "Elapsed time")
MOONCAKE_FIELDS = ("timestamp", "input_length", "output_length", "hash_ids")


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded trace; one entry per request, in order of time.

    ``block_ids[block_starts[i]:block_starts[i + 1]]`` are the prefix blocks of request ``i``, dense
    ids from 0; ``None`` when the trace says nothing of prefixes.
    """

    at_s: NDArray[np.float64]  # since the first row
    input_tokens: NDArray[np.int32]
    output_tokens: NDArray[np.int32]
    epoch_s: float  # the first row on the trace's own clock
    block_ids: NDArray[np.int32] | None = None
    block_starts: NDArray[np.int64] | None = None
    block_tokens: int = MOONCAKE_BLOCK_TOKENS
    notes: tuple[str, ...] = ()

    @property
    def requests(self) -> int:
        """How many requests were recorded."""
        return len(self.at_s)


def read_azure(path: Path) -> Recorded:
    """An Azure LLM inference trace (2023 and 2024 releases).

    Raises:
        TrafficError: see the module; every problem of a row names its line.
    """
    refuse_strangers(path, header_of(first_line(path)), tuple(AZURE), "an Azure trace")
    return _from_rows(path, read_rows(path, AZURE), *AZURE, clock=1e-9)


def read_burstgpt(path: Path) -> Recorded:
    """A BurstGPT trace; rows with 0 response tokens are failed requests and are left out.

    Raises:
        TrafficError: see the module; every problem of a row names its line.
    """
    refuse_strangers(path, header_of(first_line(path)), BURSTGPT_COLUMNS, "a BurstGPT trace")
    return _from_rows(path, read_rows(path, BURSTGPT), *BURSTGPT, clock=1.0)


def _from_rows(path: Path, parts: Iterator[Rows], time: str, isl: str, osl: str, *, clock: float) -> Recorded:
    at, inputs, outputs = [], [], []
    last: float | None = None
    for rows in parts:
        last = refuse_unsorted(rows, time, last)
        at.append(rows.columns[time])
        inputs.append(rows.columns[isl].astype(np.int32))
        outputs.append(rows.columns[osl].astype(np.int32))
    if not at:
        raise TrafficError(f"{path} has a header but no requests")
    ticks = np.concatenate(at)
    seconds = (ticks - ticks[0]) * clock  # differences first: nanoseconds since 1970 do not fit a float
    return _without_failures(
        path, Recorded(seconds, np.concatenate(inputs), np.concatenate(outputs), float(ticks[0] * clock))
    )


def _without_failures(path: Path, trace: Recorded) -> Recorded:
    served = (trace.input_tokens > 0) & (trace.output_tokens > 0)
    failed = int(len(served) - served.sum())
    if not failed:
        return trace
    if failed == len(served):
        raise TrafficError(f"{path}: all {failed:,} requests ask for no tokens or got none")
    ids, starts = kept_blocks(trace.block_ids, trace.block_starts, np.flatnonzero(served))
    note = f"{failed:,} of {len(served):,} rows have 0 input or output tokens (failed requests) and are left out"
    return Recorded(
        trace.at_s[served],
        trace.input_tokens[served],
        trace.output_tokens[served],
        trace.epoch_s,
        ids,
        starts,
        trace.block_tokens,
        (*trace.notes, note),
    )


def kept_blocks(
    ids: NDArray[np.int32] | None, starts: NDArray[np.int64] | None, rows: NDArray[Any]
) -> tuple[NDArray[np.int32] | None, NDArray[np.int64] | None]:
    """The block lists of ``rows``, in that order; rows may repeat."""
    if ids is None or starts is None:
        return None, None
    lengths = (starts[1:] - starts[:-1])[rows]
    ends = np.concatenate(([0], np.cumsum(lengths)))
    positions = np.repeat(starts[:-1][rows] - ends[:-1], lengths) + np.arange(ends[-1])
    return ids[positions], ends


def read_mooncake(path: Path) -> Recorded:
    """A Mooncake trace; block hashes are renumbered densely in the order of first use.

    Raises:
        TrafficError: a line is no JSON object with exactly the four fields, a field is negative or
            of another type, time runs backwards, or the number of blocks does not fit the input length.
    """
    at: list[float] = []
    inputs: list[int] = []
    outputs: list[int] = []
    ids: list[int] = []
    starts = [0]
    dense: dict[int, int] = {}
    for line, row in _json_rows(path):
        problem = _problem(row, at[-1] if at else 0.0)
        if problem:
            raise at_line(path, line, problem)
        at.append(row["timestamp"])
        inputs.append(row["input_length"])
        outputs.append(row["output_length"])
        ids.extend([dense.setdefault(block, len(dense)) for block in row["hash_ids"]])
        starts.append(len(ids))
    milliseconds = np.array(at, dtype=np.float64)
    trace = Recorded(
        (milliseconds - milliseconds[0]) / 1000.0,
        np.array(inputs, dtype=np.int32),
        np.array(outputs, dtype=np.int32),
        float(milliseconds[0]) / 1000.0,
        np.array(ids, dtype=np.int32),
        np.array(starts, dtype=np.int64),
    )
    return _without_failures(path, trace)


def _json_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    first_line(path)  # an empty file says so
    for block in blocks(path):
        for offset, text in enumerate(block.lines):
            line = block.first_line + offset
            try:
                row = json.loads(text)
            except (ValueError, RecursionError) as problem:  # also bytes that are no UTF-8
                raise at_line(path, line, f"not JSON: {problem}") from problem
            if not isinstance(row, dict):
                raise at_line(path, line, f"{type(row).__name__} where a JSON object is due")
            yield line, row


def _problem(row: Mapping[str, Any], before_ms: float) -> str:
    """What is wrong with one Mooncake row, or nothing."""
    missing = [field for field in MOONCAKE_FIELDS if field not in row]
    strangers = [field for field in row if field not in MOONCAKE_FIELDS]
    if missing or strangers:
        wrong = f"no field {', '.join(missing)}" if missing else f"unknown field {', '.join(strangers)}"
        return f"{wrong}; a Mooncake row has {', '.join(MOONCAKE_FIELDS)}"
    if not (_is_number(row["timestamp"]) and 0 <= row["timestamp"] < float("inf")):
        return f"timestamp is {row['timestamp']!r}; it must be milliseconds from 0"
    for field in ("input_length", "output_length"):
        if not _is_count(row[field]):
            return f"{field} is {row[field]!r}; it must be a whole number from 0"
    hashes = row["hash_ids"]
    if not isinstance(hashes, list) or not all(type(h) is int for h in hashes):
        return "hash_ids must be a list of whole numbers"
    if row["timestamp"] < before_ms:
        return (
            f"timestamp {row['timestamp']} is earlier than {before_ms} on the line before: sort the rows by timestamp"
        )
    full, rest = divmod(row["input_length"], MOONCAKE_BLOCK_TOKENS)
    if not full <= len(hashes) <= full + (rest > 0):
        due = full + (rest > 0)
        asked = f"{row['input_length']} input tokens"
        return f"{len(hashes)} hash_ids for {asked}: {due} blocks of {MOONCAKE_BLOCK_TOKENS} are due"
    return ""


def _is_number(value: object) -> bool:
    return type(value) in (int, float)  # bool is an int to isinstance


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_COUNT
