"""The peer's own reading of a profile, kept private to the classic law.

Cubic through every noisy point for prefill; for decode a cubic surface on a
100 × 100 grid (holes filled with the nearest point), read at the nearest cell.
Neither is monotone; the ``slo`` law reads profiles otherwise. Times in seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from planner.core.profiles import Profile

CELLS = 100
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClassicTables:
    """A profile as the peer's planner sees it."""

    isl: Array
    ttft_s: Callable[[float], float]  # cubic through every point
    prefill_speed: Callable[[float], float]  # tokens per second and GPU
    usage: Array
    context: Array
    itl_s: Array  # [context, usage]
    speed: Array
    max_kv_tokens: float

    def prefill(self, isl: float) -> tuple[float, float]:
        """(TTFT in seconds, tokens per second and GPU) at ``isl``, clipped to the profiled range."""
        at = float(np.clip(isl, self.isl[0], self.isl[-1]))
        return float(self.ttft_s(at)), float(self.prefill_speed(at))

    def decode(self, concurrency: float, context: float) -> tuple[float, float]:
        """(ITL in seconds, tokens per second and GPU) at the nearest cell of the grid."""
        column = _nearest(concurrency * context / self.max_kv_tokens, self.usage)
        row = _nearest(context, self.context)
        return float(self.itl_s[row, column]), float(self.speed[row, column])

    def best_speed(self, itl_s: float, context: float) -> tuple[float, float, float]:
        """(tokens per second and GPU, ITL, KV usage) of the fullest column with ITL <= ``itl_s``, else the first."""
        row = _nearest(context, self.context)
        within = np.nonzero(self.itl_s[row] <= itl_s)[0]
        column = int(within[-1]) if len(within) else 0
        return float(self.speed[row, column]), float(self.itl_s[row, column]), float(self.usage[column])


def _nearest(value: float, grid: Array) -> int:
    step = (grid[-1] - grid[0]) / (CELLS - 1)
    return int(np.clip(np.round((value - grid[0]) / step), 0, CELLS - 1))


@lru_cache(maxsize=16)
def tables(profile: Profile) -> ClassicTables:
    """The peer's tables for a profile; slow the first time (scipy), then kept.

    Raises:
        ValueError: the decode points lie on a line, so that no surface goes through them.
    """
    from scipy.interpolate import interp1d

    points = sorted(profile.prefill_points, key=lambda p: p.isl)
    isl = np.array([p.isl for p in points])
    kind = "cubic" if len(points) > 3 else "linear"
    usage = np.array([p.kv_usage for p in profile.decode_points])
    context = np.array([p.context_tokens for p in profile.decode_points])
    itl_ms = np.array([p.itl_s for p in profile.decode_points]) * 1e3
    speed = np.array([p.tokens_per_s_per_gpu for p in profile.decode_points])
    xs, ys = np.linspace(0.0, 1.0, CELLS), np.linspace(0.0, context.max(), CELLS)
    return ClassicTables(
        isl=isl,
        ttft_s=interp1d(isl, [p.ttft_s for p in points], kind=kind),
        prefill_speed=interp1d(isl, [p.tokens_per_s_per_gpu for p in points], kind=kind),
        usage=xs,
        context=ys,
        itl_s=_surface(usage, context, itl_ms, xs, ys) / 1e3,  # its iterations stop at a tolerance in ms
        speed=_surface(usage, context, speed, xs, ys),
        max_kv_tokens=profile.max_kv_tokens,
    )


def _surface(x: Array, y: Array, values: Array, xs: Array, ys: Array) -> Array:
    """Cubic through scattered points on the grid; what lies outside of them takes the nearest."""
    from scipy.interpolate import griddata
    from scipy.spatial import QhullError

    mesh = tuple(np.meshgrid(xs, ys))
    try:
        smooth = griddata((x, y), values, mesh, method="cubic")
    except QhullError:
        raise ValueError(
            "the classic law reads decode points that span KV usage and context; these lie on a line: use --law slo"
        ) from None
    nearest = griddata((x, y), values, mesh, method="nearest")
    return np.asarray(np.where(np.isnan(smooth), nearest, smooth), float)
