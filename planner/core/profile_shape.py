"""The physics behind a profile's points, and the repair of points that contradict each other.

Prefill time grows like a + b · tokens + c · tokens² (projections, then attention), a decode step like
a + b · sequences + c · KV tokens. These shapes carry a reading from point to point and beyond them; they do
not replace the points.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Fit = Callable[[NDArray[np.bool_]], Array]

GLITCH = 1.5
"""A point that contradicts its neighbours and is off by this factor from what the others say is set aside:
noise of engines at rest stays within 20 %, while a first request of a cold engine is off by several times."""

TILT = 0.1
"""Share of the physical rise (in logarithms) that a repaired stretch keeps, so that the inverse stays continuous."""

FAINT = 1e-3
"""No physical term is taken to be weaker than this share of a median time: noise may hide it, not abolish it."""


@dataclass(frozen=True, slots=True)
class PrefillShape:
    """Seconds to prefill one prompt: base + linear + quadratic in its tokens."""

    base_s: float
    per_token_s: float
    per_token2_s: float

    @classmethod
    def fitted(cls, isl: Array, seconds: Array) -> PrefillShape:
        """The shape nearest to the points in relative squares, no term negative."""
        a, b, c = nonnegative_fit(np.column_stack([np.ones_like(isl), isl, isl * isl]), seconds)
        faint = FAINT * float(np.median(seconds))
        return cls(max(a, faint), max(b, faint / float(isl.max())), c)

    def at(self, tokens: Array) -> Array:
        """Seconds for prompts of ``tokens``."""
        return self.base_s + tokens * (self.per_token_s + tokens * self.per_token2_s)

    def seconds(self, tokens: float) -> float:
        """Seconds for one prompt of ``tokens``."""
        return self.base_s + tokens * (self.per_token_s + tokens * self.per_token2_s)


@dataclass(frozen=True, slots=True)
class DecodeShape:
    """Seconds of one decode step: base + per sequence + per KV token in use."""

    base_s: float
    per_sequence_s: float
    per_kv_token_s: float

    @classmethod
    def fitted(cls, sequences: Array, context: Array, seconds: Array) -> DecodeShape:
        """The shape nearest to the points in relative squares, no term negative."""
        held = sequences * context
        a, b, c = nonnegative_fit(np.column_stack([np.ones_like(held), sequences, held]), seconds)
        faint = FAINT * float(np.median(seconds))
        return cls(max(a, faint), max(b, faint / float(sequences.max())), max(c, faint / float(held.max())))

    def at(self, sequences: Array, context: Array) -> Array:
        """Seconds of a step that ``sequences`` with that mean context share."""
        return self.base_s + sequences * (self.per_sequence_s + context * self.per_kv_token_s)


def nonnegative_fit(columns: Array, target: Array) -> tuple[float, float, float]:
    """Coefficients ≥ 0 of three columns that minimise the squared relative error against ``target``.

    The optimum is an unconstrained one on some of the columns, and there are only seven such choices.
    """
    scale = np.abs(columns / target[:, None]).max(axis=0)
    rows, ones = columns / target[:, None] / scale, np.ones_like(target)
    best, found = math.inf, np.zeros(3)
    for count in (1, 2, 3):
        for some in map(list, combinations(range(3), count)):
            part = np.linalg.lstsq(rows[:, some], ones, rcond=None)[0]
            error = float(np.sum((rows[:, some] @ part - 1.0) ** 2))
            if part.min() >= 0 and error < best:
                best, found = error, np.zeros(3)
                found[some] = part
    a, b, c = (float(x) for x in found / scale)
    return a, b, c


def order(*coordinates: Array) -> NDArray[np.bool_]:
    """``[i, j]``: point i lies at or below point j in every coordinate, so it must not be slower."""
    each = [np.less_equal.outer(x, x) for x in coordinates]
    return np.asarray(np.logical_and.reduce(each), bool)


def midway(values: Array, below: NDArray[np.bool_]) -> Array:
    """Monotone values nearest to ``values``: the smallest possible largest change.

    Midway between the lowest monotone surface above and the highest below them (isotonic regression in the
    maximum norm); values that contradict nobody stay as they are.
    """
    highest_below = np.where(below, values[:, None], -np.inf).max(axis=0)
    lowest_above = np.where(below, values[None, :], np.inf).min(axis=1)
    return np.asarray(0.5 * (highest_below + lowest_above), float)


def kept(log_seconds: Array, below: NDArray[np.bool_], fit: Fit, least: int) -> NDArray[np.bool_]:
    """Which points are read: all but glitches, as many as ``least`` in any case.

    ``fit`` answers the logarithms at every point of a shape fitted to the points it is given. One glitch
    is set aside at a time, the worst first, because it spoils what the others seem to say.
    """
    keep = np.ones(len(log_seconds), bool)
    while keep.sum() > least:
        contradicts = below & keep[:, None] & keep[None, :] & (log_seconds[:, None] > log_seconds[None, :] + 1e-12)
        suspects = np.flatnonzero(contradicts.any(axis=0) | contradicts.any(axis=1))
        off = {int(i): abs(log_seconds[i] - _others(fit, keep, int(i))) for i in suspects}
        worst = max(off, key=lambda i: off[i], default=-1)
        if worst < 0 or off[worst] < math.log(GLITCH):
            break
        keep[worst] = False
    return keep


def _others(fit: Fit, keep: NDArray[np.bool_], i: int) -> float:
    """Logarithm of the time that the points besides ``i`` make one expect there."""
    without = keep.copy()
    without[i] = False
    return float(fit(without)[i])
