"""The peer's own reading of a profile, kept private to the classic law.

Cubic through every noisy point for prefill; for decode a cubic surface on a
100 × 100 grid (holes filled with the nearest point), read at the nearest cell.
Neither is monotone; the ``slo`` law reads profiles otherwise. Times in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from planner.core.profiles import DecodePoint, PrefillPoint, Profile

CELLS = 100
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Grid:
    """A surface over KV usage (columns) and context (rows), read at the nearest cell."""

    usage: Array
    context: Array
    values: Array

    def at(self, usage: float, context: float) -> float:
        """The value of the nearest cell."""
        return float(self.values[_nearest(context, self.context), _nearest(usage, self.usage)])

    def row(self, context: float) -> Array:
        """The values of every column at the nearest context."""
        return np.asarray(self.values[_nearest(context, self.context)])


@dataclass(frozen=True, slots=True)
class ClassicTables:
    """A profile as the peer's planner sees it."""

    isl_range: tuple[float, float]
    ttft_s: Callable[[float], float]
    prefill_speed: Callable[[float], float]  # tokens per second and GPU
    itl_ms: Grid  # as the peer keeps it: the iterations behind the surface stop at a tolerance in milliseconds
    speed: Grid  # tokens per second and GPU
    max_kv_tokens: float

    def prefill(self, isl: float) -> tuple[float, float]:
        """(TTFT in seconds, tokens per second and GPU) at ``isl``, clipped to the profiled range."""
        at = float(np.clip(isl, *self.isl_range))
        return float(self.ttft_s(at)), float(self.prefill_speed(at))

    def decode(self, concurrency: float, context: float) -> tuple[float, float]:
        """(ITL in seconds, tokens per second and GPU) at the nearest cell of the grid."""
        usage = concurrency * context / self.max_kv_tokens
        return self.itl_ms.at(usage, context) / 1e3, self.speed.at(usage, context)

    def best_speed(self, itl_s: float, context: float) -> tuple[float, float, float]:
        """(tokens per second and GPU, ITL, KV usage) of the fullest column with ITL <= ``itl_s``, else the first."""
        row = self.itl_ms.row(context) / 1e3
        within = np.nonzero(row <= itl_s)[0]
        column = int(within[-1]) if len(within) else 0
        return float(self.speed.row(context)[column]), float(row[column]), float(self.itl_ms.usage[column])


@lru_cache(maxsize=16)
def tables(profile: Profile) -> ClassicTables:
    """The peer's tables for a profile; slow the first time (scipy), then kept.

    Raises:
        ValueError: the decode points lie on a line, so that no surface goes through them.
    """
    isl = [p.isl for p in profile.prefill_points]
    points = profile.decode_points
    return ClassicTables(
        isl_range=(min(isl), max(isl)),
        ttft_s=cubic(profile.prefill_points, [p.ttft_s for p in profile.prefill_points]),
        prefill_speed=cubic(profile.prefill_points, [p.tokens_per_s_per_gpu for p in profile.prefill_points]),
        itl_ms=_grid(points, [p.itl_s * 1e3 for p in points]),
        speed=_grid(points, [p.tokens_per_s_per_gpu for p in points]),
        max_kv_tokens=profile.max_kv_tokens,
    )


def cubic(points: Sequence[PrefillPoint], values: Sequence[float]) -> Callable[[float], float]:
    """Cubic spline through ``values`` by prompt length; straight lines when there are fewer than four."""
    from scipy.interpolate import interp1d

    spline: Callable[[float], float] = interp1d(
        [p.isl for p in points], values, kind="cubic" if len(points) > 3 else "linear"
    )
    return spline


def itl_at(points: Sequence[DecodePoint], usage: Array, context: Array) -> Array:
    """ITL in seconds of the cells nearest to each ``usage`` and ``context``, without computing the other cells."""
    columns, rows = _axes(points)
    cells = columns[[_nearest(u, columns) for u in usage]], rows[[_nearest(c, rows) for c in context]]
    return _surface(points, np.array([p.itl_s for p in points]) * 1e3, cells) / 1e3


def _grid(points: Sequence[DecodePoint], values: Sequence[float]) -> Grid:
    columns, rows = _axes(points)
    return Grid(columns, rows, _surface(points, np.array(values), tuple(np.meshgrid(columns, rows))))


def _axes(points: Sequence[DecodePoint]) -> tuple[Array, Array]:
    return np.linspace(0.0, 1.0, CELLS), np.linspace(0.0, max(p.context_tokens for p in points), CELLS)


def _surface(points: Sequence[DecodePoint], values: Array, where: tuple[Array, ...]) -> Array:
    """Cubic through the scattered points; what lies outside of them takes the nearest."""
    from scipy.interpolate import griddata
    from scipy.spatial import QhullError

    at = (np.array([p.kv_usage for p in points]), np.array([p.context_tokens for p in points]))
    try:
        smooth = griddata(at, values, where, method="cubic")
    except QhullError:
        raise ValueError(
            "the classic law reads decode points that span KV usage and context; these lie on a line: use the slo law"
        ) from None
    return np.asarray(np.where(np.isnan(smooth), griddata(at, values, where, method="nearest"), smooth), float)


def _nearest(value: float, axis: Array) -> int:
    step = (axis[-1] - axis[0]) / (CELLS - 1)
    return int(np.clip(np.round((value - axis[0]) / step), 0, CELLS - 1))
