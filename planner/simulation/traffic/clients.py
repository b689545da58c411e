"""ServeGen client tables: each client's rate and burstiness in windows of ten minutes, arrivals by renewal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from planner.simulation.traffic.files import TrafficError, column, number, table

WINDOW_S = 600.0


def read(path: Path, from_s: float, to_s: float | None, scale: float, seed: int) -> tuple[NDArray[np.float64], float]:
    """(arrival times in seconds from ``from_s``, length of the window in seconds).

    Inside a window a client's gaps are Gamma or Weibull of the table's shape with mean 1 / (rate · scale);
    the first gap starts at a random place, so that windows do not begin in step.

    Raises:
        TrafficError: a missing column, a negative or missing number, an unknown pattern.
    """
    rows = table(path)
    at, rate, pattern, shape = (column(rows, [name]) for name in ("t_sec", "rate_rps", "pattern", "shape"))
    pieces: list[NDArray[np.float64]] = []
    last = 0.0
    for line, fields in rows.rows():
        start = number(path, line, "t_sec", fields[at])
        if start + WINDOW_S <= from_s or (to_s is not None and start >= to_s):
            continue
        last = max(last, start + WINDOW_S)
        per_s = scale * number(path, line, "rate_rps", fields[rate])
        k = number(path, line, "shape", fields[shape]) if fields[shape] else 1.0
        if per_s > 0:
            rng = np.random.default_rng((seed, line))
            pieces.append(start + _renewal(path, line, fields[pattern], per_s, max(k, 0.01), rng))
    if not pieces:
        raise TrafficError(f"{path}: no client sends anything between {from_s:g} s and {to_s or last:g} s")
    end = last if to_s is None else to_s
    times = np.concatenate(pieces)
    times = times[(times >= from_s) & (times < end)]
    times.sort()
    return times - from_s, end - from_s


def _renewal(path: Path, line: int, pattern: str, per_s: float, shape: float,
             rng: np.random.Generator) -> NDArray[np.float64]:  # fmt: skip
    mean, count = 1.0 / per_s, int(per_s * WINDOW_S * 1.3 + 20)
    if pattern == "Gamma":
        gaps = rng.gamma(shape, mean / shape, count)
    elif pattern == "Weibull":
        from math import gamma

        gaps = rng.weibull(shape, count) * mean / gamma(1.0 + 1.0 / shape)
    elif pattern in ("Poisson", "Exponential", ""):
        gaps = rng.exponential(mean, count)
    else:
        raise TrafficError(f"{path}:{line}: pattern is {pattern!r}; Gamma, Weibull or Poisson are known")
    times = np.cumsum(gaps) - rng.random() * gaps[0]
    return times[times < WINDOW_S]
