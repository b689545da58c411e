"""Durations and other quantities as people write them; seconds and tokens inside."""

from __future__ import annotations

import re

_DURATION = re.compile(r"^\s*(\d+(?:\.\d+)?|\.\d+)\s*(us|ms|s|m|min|h|d)\s*$")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def duration_s(text: str) -> float:
    """Seconds in ``500ms``, ``2m``, ``1.5s``, ``3d``.

    Raises:
        ValueError: there is no unit, or it is none of us, ms, s, m, min, h, d.
    """
    found = _DURATION.match(str(text))
    if found is None:
        raise ValueError(f"{text!r} is not a duration: write a number with its unit, like 500ms, 1.5s, 2m, 1h or 3d")
    seconds = _SECONDS[found[2]]
    # 470 / 1000 is the float nearest to 0.47, as bucket edges are; 470 · 1e-3 is the one beside it
    return float(found[1]) * seconds if seconds >= 1.0 else float(found[1]) / round(1.0 / seconds)


def rate_per_s(text: str) -> float:
    """Requests per second in ``12/s``, ``720/min`` or ``720/m``, ``1e4/h``.

    Raises:
        ValueError: there is no ``/unit``, or the number is not one.
    """
    number, slash, unit = str(text).strip().partition("/")
    try:
        value = float(number)
    except ValueError:
        value = float("nan")
    if not slash or unit.strip() not in ("s", "m", "min", "h", "d") or not value >= 0 or value == float("inf"):
        raise ValueError(f"{text!r} is not a rate: write a number per unit of time, like 12/s, 720/min or 1e4/h")
    return value / _SECONDS[unit.strip()]


def show_duration(seconds: float) -> str:
    """``0.5`` → ``500 ms``, ``90`` → ``1.5 min``: at most three significant digits."""
    for limit, unit, name in (
        (1e-3, 1e-6, "µs"),
        (1.0, 1e-3, "ms"),
        (120.0, 1.0, "s"),
        (7200.0, 60.0, "min"),
        (172800.0, 3600.0, "h"),
    ):
        if abs(seconds) < limit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds / 86400.0:.3g} d"
