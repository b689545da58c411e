"""Recorded traces: one row a request. Azure, BurstGPT and Mooncake as their authors publish them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from planner.simulation.traffic.files import TrafficError, ascending, column, number, opened, table, timestamp
from planner.simulation.traffic.types import Traffic

MOONCAKE_BLOCK = 512
"""Tokens of one hash block of the Mooncake traces (their own README)."""


def azure(path: Path) -> Traffic:
    """Azure LLM inference trace: TIMESTAMP, ContextTokens, GeneratedTokens."""
    rows = table(path)
    at, isl, osl = (column(rows, [name]) for name in ("TIMESTAMP", "ContextTokens", "GeneratedTokens"))
    times, inputs, outputs, last = [], [], [], None
    for line, fields in rows.rows():
        last = ascending(path, line, "TIMESTAMP", last, timestamp(path, line, "TIMESTAMP", fields[at]))
        times.append(last)
        inputs.append(max(1, int(number(path, line, "ContextTokens", fields[isl]))))
        outputs.append(max(1, int(number(path, line, "GeneratedTokens", fields[osl]))))
    return _traffic(path, times, inputs, outputs)


def burstgpt(path: Path) -> Traffic:
    """BurstGPT: Timestamp in seconds, Request tokens, Response tokens.

    Rows without response tokens are failures of the traced service; nothing says how long the answer would
    have been, so they are left out.
    """
    rows = table(path)
    at, isl, osl = (column(rows, [name]) for name in ("Timestamp", "Request tokens", "Response tokens"))
    times, inputs, outputs, last = [], [], [], None
    for line, fields in rows.rows():
        last = ascending(path, line, "Timestamp", last, number(path, line, "Timestamp", fields[at]))
        answer = int(number(path, line, "Response tokens", fields[osl]))
        if answer > 0:
            times.append(last)
            inputs.append(max(1, int(number(path, line, "Request tokens", fields[isl]))))
            outputs.append(answer)
    return _traffic(path, times, inputs, outputs)


def mooncake(path: Path) -> Traffic:
    """Mooncake JSONL: timestamp in ms, input_length, output_length, hash_ids (prefix blocks of 512 tokens)."""
    times, inputs, outputs, blocks, starts, last = [], [], [], [], [0], None
    with opened(path) as text:
        for line, row in enumerate(text, start=1):
            if not row.strip():
                continue
            try:
                entry = json.loads(row)
                at, isl, osl = (str(entry[name]) for name in ("timestamp", "input_length", "output_length"))
                hashes = [int(h) for h in entry.get("hash_ids", [])]
            except (json.JSONDecodeError, KeyError, TypeError, ValueError) as problem:
                raise TrafficError(
                    f"{path}:{line}: {problem!r}; one JSON object a line is expected, with timestamp, input_length, "
                    "output_length and hash_ids"
                ) from None
            last = ascending(path, line, "timestamp", last, number(path, line, "timestamp", at) / 1e3)
            times.append(last)
            inputs.append(max(1, int(number(path, line, "input_length", isl))))
            outputs.append(max(1, int(number(path, line, "output_length", osl))))
            blocks.extend(hashes)
            starts.append(len(blocks))
    dense = np.unique(np.asarray(blocks, np.int64), return_inverse=True)[1].astype(np.int32)
    return _traffic(path, times, inputs, outputs, dense if blocks else None, np.asarray(starts, np.int64))


def _traffic(
    path: Path,
    times: list[float],
    inputs: list[int],
    outputs: list[int],
    blocks: np.ndarray[tuple[int], np.dtype[np.int32]] | None = None,
    starts: np.ndarray[tuple[int], np.dtype[np.int64]] | None = None,
) -> Traffic:
    if not times:
        raise TrafficError(f"{path}: no request in it; at least one is needed")
    arrivals = np.asarray(times) - times[0]
    return Traffic(
        name=path.name,
        arrivals_s=arrivals,
        input_tokens=np.asarray(inputs, np.int32),
        output_tokens=np.asarray(outputs, np.int32),
        duration_s=float(arrivals[-1]) + 1e-3,
        epoch_s=times[0],
        block_ids=blocks,
        block_starts=starts if blocks is not None else None,
        block_tokens=MOONCAKE_BLOCK,
    )
