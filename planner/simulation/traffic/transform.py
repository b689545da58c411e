"""What may be done to a recorded trace: cut a window out of it, thin it, add jittered copies.

Scale 2.5 is the recorded requests, one full copy, and half of a second copy. Below 1 a request is kept
with that probability. Copies arrive up to ``JITTER_S`` earlier or later than what they were copied from,
so that the level of every minute stays while bursts of seconds do not stack up; they carry fresh prefix
blocks (a copy shares prefixes within itself, not with the original: the copied users are other users).

Every draw is a function of the seed, the copy and the row: a window holds exactly what the whole scaled
trace has there, and a smaller scale is a subset of a larger one.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from planner.simulation.traffic.arrivals import Window, refuse_floods, stream
from planner.simulation.traffic.columns import MAX_COUNT
from planner.simulation.traffic.errors import TrafficError
from planner.simulation.traffic.recorded import Recorded, kept_blocks

JITTER_S = 30.0
"""Half a minute: copies keep the rate of the minute, the finest level that planners work at, and lose
the coincidences below it, as independent users would."""


def transformed(trace: Recorded, scale: float, window: Window, seed: int) -> Recorded:
    """The requests of the scaled trace that arrive inside ``window``, on the trace's clock.

    Raises:
        TrafficError: more requests or blocks than a run can hold.
    """
    refuse_floods(np.searchsorted(trace.at_s, [window.from_s, window.to_s]) @ np.array([-1, 1]) * scale)
    parts = [_copy(trace, number, scale, window, seed) for number in range(math.ceil(scale))]
    rows = np.concatenate([part[0] for part in parts])
    at = np.concatenate([part[1] for part in parts])
    copies = np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts])
    order = np.argsort(at, kind="stable")
    rows, copies = rows[order], copies[order]
    ids, starts = _blocks(trace, rows, copies)
    return Recorded(
        at[order],
        trace.input_tokens[rows],
        trace.output_tokens[rows],
        trace.epoch_s,
        ids,
        starts,
        trace.block_tokens,
        trace.notes,
    )


def _copy(
    trace: Recorded, number: int, scale: float, window: Window, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows and times of one copy inside the window; copy 0 is the recording itself."""
    at = trace.at_s
    if number:
        shift = JITTER_S * (2 * stream(seed, "jitter", number).random(trace.requests) - 1)
        at = _reflected(at + shift, float(trace.at_s[-1]))
    keep = (at >= window.from_s) & (at < window.to_s)
    part = scale - number
    if part < 1:
        keep &= stream(seed, "thinning", number).random(trace.requests) < part
    rows = np.flatnonzero(keep)
    return rows, at[rows]


def _reflected(at: NDArray[np.float64], end: float) -> NDArray[np.float64]:
    """Times folded back into the recording, so that its first and last minute keep their level."""
    folded = np.abs(at)
    return np.clip(np.where(folded > end, 2 * end - folded, folded), 0.0, end)


def _blocks(
    trace: Recorded, rows: NDArray[np.int64], copies: NDArray[np.int64]
) -> tuple[NDArray[np.int32] | None, NDArray[np.int64] | None]:
    ids, starts = kept_blocks(trace.block_ids, trace.block_starts, rows)
    if ids is None or starts is None or trace.block_ids is None:
        return None, None
    known = int(trace.block_ids.max(initial=-1)) + 1
    if known * (int(copies.max(initial=0)) + 1) > MAX_COUNT:
        raise TrafficError(f"{known:,} prefix blocks times {int(copies.max()) + 1} copies are more than a run can hold")
    fresh = ids + np.repeat(copies, np.diff(starts)) * known
    return np.unique(fresh, return_inverse=True)[1].astype(np.int32), starts
