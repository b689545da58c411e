"""Traffic from a formula, in a short specification.

| specification | rate over time |
|---|---|
| ``poisson:rate=20/s,duration=10m`` | constant |
| ``sine:mean=20/s,amplitude=0.5,period=1h,duration=2h`` | mean · (1 + amplitude · sin(2π t / period)) |
| ``step:low=5/s,high=20/s,at=10m,duration=30m`` | low before ``at``, high from then on |
| ``spike:base=5/s,peak=50/s,at=10m,width=1m,duration=30m`` | peak for ``width`` from ``at``, base otherwise |
| ``ramp:low=5/s,high=50/s,duration=30m`` | a straight line from low to high |

Each takes lengths too: ``isl=3000,osl=300`` (means) and ``cv=0.8`` (their spread; 0: all the same).
Curves that bend are constant within each second, at the value of its middle.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.simulation.traffic.arrivals import RateCurve
from planner.simulation.traffic.errors import TrafficError
from planner.simulation.traffic.lengths import DEFAULT_SPREAD, LogNormalLengths, around
from planner.simulation.traffic.options import (
    Parser,
    needed,
    parse_spec,
    positive_duration,
    rate,
    share,
    spread,
    tokens,
)
from planner.units import duration_s

_LENGTHS: dict[str, Parser] = {"isl": tokens, "osl": tokens, "cv": spread}
_SPAN: dict[str, Parser] = {"duration": positive_duration}

GENERATORS: dict[str, dict[str, Parser]] = {
    "poisson": {"rate": rate, **_SPAN, **_LENGTHS},
    "sine": {"mean": rate, "amplitude": share, "period": positive_duration, **_SPAN, **_LENGTHS},
    "step": {"low": rate, "high": rate, "at": duration_s, **_SPAN, **_LENGTHS},
    "spike": {"base": rate, "peak": rate, "at": duration_s, "width": positive_duration, **_SPAN, **_LENGTHS},
    "ramp": {"low": rate, "high": rate, **_SPAN, **_LENGTHS},
}


@dataclass(frozen=True, slots=True)
class Generated:
    """A rate curve, and the lengths if the specification gave any."""

    curve: RateCurve
    lengths: LogNormalLengths | None


def is_generator(text: str) -> bool:
    """Whether a text is a generator's specification rather than a file or a name."""
    return text.partition(":")[0] in GENERATORS


def generate(text: str) -> Generated:
    """The curve of a specification.

    Raises:
        TrafficError: unknown, doubled or missing keys, values of the wrong form, no traffic at all.
    """
    kind, values = parse_spec(text, GENERATORS)
    required = [key for key in GENERATORS[kind] if key not in _LENGTHS]
    needed(text, values, *required)
    if values.get("at", 0.0) >= values["duration"]:
        raise TrafficError(f"{text!r}: at lies beyond the end of the traffic: choose at < duration")
    curve = _CURVES[kind](values)
    if not curve.rates.max() > 0:
        raise TrafficError(f"{text!r} makes no requests: give a rate above 0")
    return Generated(curve, _lengths(text, values))


def _lengths(text: str, values: Mapping[str, Any]) -> LogNormalLengths | None:
    if not values.keys() & _LENGTHS.keys():
        return None
    isl, osl = needed(text, values, "isl", "osl")
    return around(isl, osl, values.get("cv", DEFAULT_SPREAD))


def _poisson(values: Mapping[str, Any]) -> RateCurve:
    return _steps(values["duration"], [(0.0, values["rate"])])


def _step(values: Mapping[str, Any]) -> RateCurve:
    return _steps(values["duration"], [(0.0, values["low"]), (values["at"], values["high"])])


def _spike(values: Mapping[str, Any]) -> RateCurve:
    start, base = values["at"], values["base"]
    return _steps(values["duration"], [(0.0, base), (start, values["peak"]), (start + values["width"], base)])


def _ramp(values: Mapping[str, Any]) -> RateCurve:
    low, high, end = values["low"], values["high"], values["duration"]
    return _bent(end, lambda t: low + (high - low) * t / end)


def _sine(values: Mapping[str, Any]) -> RateCurve:
    turn = 2 * math.pi / values["period"]
    return _bent(values["duration"], lambda t: values["mean"] * (1 + values["amplitude"] * np.sin(turn * t)))


def _steps(end_s: float, steps: list[tuple[float, float]]) -> RateCurve:
    """Constant pieces ``(start, rate)``, the later one winning where two start together."""
    reached = sorted({start: value for start, value in steps if start < end_s}.items())
    edges = np.array([*(start for start, _ in reached), end_s])
    return RateCurve(edges, np.array([value for _, value in reached]))


def _bent(end_s: float, rate_at: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> RateCurve:
    edges = np.append(np.arange(math.ceil(end_s), dtype=np.float64), end_s)
    return RateCurve(edges, np.maximum(rate_at((edges[1:] + edges[:-1]) / 2), 0.0))


_CURVES: Mapping[str, Callable[[Mapping[str, Any]], RateCurve]] = {
    "poisson": _poisson,
    "sine": _sine,
    "step": _step,
    "spike": _spike,
    "ramp": _ramp,
}
