"""From measured points to what is read: repair what contradicts itself, then reach beyond the points.

Points are compared and repaired as logarithms (a millisecond is much at 5 and little at 50), and less a share
of the physical rise, so that a repaired stretch still rises and keeps its inverse.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from planner.core.profile_curves import DecodeSurface, PrefillCurve, Repair
from planner.core.profile_shape import TILT, Array, DecodeShape, PrefillShape, kept, midway, order

LEAST_PREFILL = 2
"""Prompt lengths that a curve needs."""
LEAST_DECODE = 4
"""Batches that a surface needs: one for each physical term, and one to tell noise."""
TOLD = 1e-6
"""Readings that differ by less than this share from the measurement are the measurement."""


def prefill_curve(isl: Array, seconds: Array) -> PrefillCurve:
    """The increasing curve through the points, in any order.

    Raises:
        ValueError: there are fewer than ``LEAST_PREFILL`` prompt lengths.
    """
    lengths = len(np.unique(isl))
    if lengths < LEAST_PREFILL:
        raise ValueError(f"prefill has {lengths} prompt lengths; at least {LEAST_PREFILL} are needed")
    measured, below = np.log(seconds), order(isl)
    keep = kept(measured, below, lambda some: np.log(PrefillShape.fitted(isl[some], seconds[some]).at(isl)), 3)
    shape = PrefillShape.fitted(isl[keep], seconds[keep])
    rise = TILT * np.log(shape.at(isl[keep]))
    repaired = np.exp(midway(measured[keep] - rise, below[np.ix_(keep, keep)]) + rise)
    nodes = dict(sorted(zip(isl[keep].tolist(), repaired.tolist(), strict=True)))
    curve = PrefillCurve(tuple(nodes), tuple(nodes.values()), shape)
    read = [curve.service_s(tokens) for tokens in isl.tolist()]
    names = [f"prefill time at ISL {tokens:g}" for tokens in isl.tolist()]
    return replace(curve, repairs=_repairs(names, seconds, np.array(read)))


def decode_surface(sequences: Array, context: Array, itl_s: Array, max_kv_tokens: float) -> DecodeSurface:
    """The surface through the points, in any order, that increases with sequences and with context.

    Raises:
        ValueError: there are too few points, contexts or batch sizes to tell what costs what.
    """
    sequences = np.array([float(f"{n:.6g}") for n in sequences.tolist()])  # one batch size is one, rounding or not
    _enough(sequences, context)
    measured, below = np.log(itl_s), order(sequences, context)

    def fitted(some: NDArray[np.bool_]) -> DecodeShape:
        return DecodeShape.fitted(sequences[some], context[some], itl_s[some])

    keep = kept(measured, below, lambda some: np.log(fitted(some).at(sequences, context)), LEAST_DECODE)
    if min(len(np.unique(sequences[keep])), len(np.unique(context[keep]))) < 2:
        keep = np.ones(len(keep), bool)  # a glitch is better than nothing to compare with
    shape, n, at = fitted(keep), sequences[keep], context[keep]
    repaired = midway(measured[keep] - TILT * np.log(shape.at(n, at)), below[np.ix_(keep, keep)])
    surface = _grid(n, at, repaired, shape, max_kv_tokens)
    points = list(zip(sequences.tolist(), context.tolist(), strict=True))
    read = [surface.itl_s(n, at) for n, at in points]
    names = [f"ITL of {n:.0f} sequences at context {at:g}" for n, at in points]
    return replace(surface, repairs=_repairs(names, itl_s, np.array(read)))


def _enough(sequences: Array, context: Array) -> None:
    if len(sequences) < LEAST_DECODE:
        raise ValueError(f"decode has {len(sequences)} points; at least {LEAST_DECODE} are needed")
    for what, values in (("context lengths", context), ("batch sizes", sequences)):
        if len(np.unique(values)) < 2:
            raise ValueError(f"decode has only 1 of {what}; at least 2 are needed to tell what costs what")


def _grid(n: Array, context: Array, tilted: Array, shape: DecodeShape, max_kv_tokens: float) -> DecodeSurface:
    """Nodes at every measured context and batch size, and at the ends of what may be asked for."""
    lengths = np.unique(context)
    rows = np.unique([0.0, *lengths, max(max_kv_tokens, 2.0 * lengths[-1])])
    columns = np.unique([1.0, *n, max(max_kv_tokens, 2.0 * n.max())])
    physical = np.log(shape.at(columns[None, :], rows[:, None]))
    nodes = np.array([_along(n, context, tilted, shape, columns, at) for at in np.clip(rows, lengths[0], lengths[-1])])
    nodes = _held(nodes + (1.0 - TILT) * physical, rows, columns, n, context, tilted)
    itl = np.exp(nodes + TILT * physical)
    fullest = [(float(at), float(at * n[context == at].max())) for at in lengths]
    table = tuple(tuple(row) for row in itl.tolist())
    return DecodeSurface(tuple(rows.tolist()), tuple(columns.tolist()), table, max_kv_tokens, tuple(fullest), shape)


def _along(n: Array, context: Array, tilted: Array, shape: DecodeShape, columns: Array, at: float) -> Array:
    """Logarithm of measured over physical time along one context: linear between its points, level beyond."""
    mine = context == at
    held, first = np.unique(n[mine], return_index=True)
    off = tilted[mine][first] - (1.0 - TILT) * np.log(shape.at(held, np.full_like(held, at)))
    return np.asarray(np.interp(columns, held, off), float)


def _held(nodes: Array, rows: Array, columns: Array, n: Array, context: Array, tilted: Array) -> Array:
    """The nodes made monotone, moving those without a measurement only."""
    below = (n[:, None, None] <= columns) & (context[:, None, None] <= rows[:, None])
    above = (n[:, None, None] >= columns) & (context[:, None, None] >= rows[:, None])
    points = tilted[:, None, None]
    nodes = np.clip(nodes, np.where(below, points, -np.inf).max(axis=0), np.where(above, points, np.inf).min(axis=0))
    highest_below = np.maximum.accumulate(np.maximum.accumulate(nodes, axis=0), axis=1)
    lowest_above = np.minimum.accumulate(np.minimum.accumulate(nodes[::-1, ::-1], axis=0), axis=1)[::-1, ::-1]
    return np.asarray(0.5 * (highest_below + lowest_above), float)


def _repairs(names: list[str], measured: Array, read: Array) -> tuple[Repair, ...]:
    return tuple(
        Repair(name, float(before), float(after))
        for name, before, after in zip(names, measured, read, strict=True)
        if abs(after / before - 1.0) > TOLD
    )
