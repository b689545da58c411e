"""Short specifications in one word: ``kind:key=value,key=value``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from planner.simulation.traffic.errors import TrafficError
from planner.units import duration_s, rate_per_s

Parser = Callable[[str], Any]


def parse_spec(text: str, known: Mapping[str, Mapping[str, Parser]]) -> tuple[str, dict[str, Any]]:
    """The kind and the parsed values of a specification; ``known`` gives the keys of every kind.

    Raises:
        TrafficError: unknown kind or key, a key given twice or without value, a value of the wrong form.
    """
    kind, _, rest = text.partition(":")
    if kind not in known:
        raise TrafficError(f"{text!r}: no {kind!r} here; known are {', '.join(known)}")
    values: dict[str, Any] = {}
    for pair in filter(None, (part.strip() for part in rest.split(","))):
        key, equals, value = (piece.strip() for piece in pair.partition("="))
        if key not in known[kind]:
            raise TrafficError(f"{text!r}: {kind} has no {key!r}; it takes {', '.join(known[kind])}")
        if key in values or not equals:
            raise TrafficError(f"{text!r}: {key} is given twice" if key in values else f"{text!r}: {key} has no value")
        try:
            values[key] = known[kind][key](value)
        except ValueError as problem:
            raise TrafficError(f"{text!r}: {key}: {problem}") from problem
    return kind, values


def needed(text: str, values: Mapping[str, Any], *keys: str) -> list[float]:
    """The values of keys that must be given.

    Raises:
        TrafficError: naming those that are not.
    """
    missing = [key for key in keys if key not in values]
    if missing:
        raise TrafficError(f"{text!r}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    return [values[key] for key in keys]


def positive_duration(text: str) -> float:
    """Seconds in a duration above 0."""
    seconds = duration_s(text)
    if seconds <= 0:
        raise ValueError(f"{text} is no length of time: write one above 0, like 10m")
    return seconds


def tokens(text: str) -> float:
    """A mean number of tokens, at least 1."""
    value = _number(text)
    if not 1 <= value < float("inf"):
        raise ValueError(f"{text!r} is not a mean of at least 1 token")
    return value


def spread(text: str) -> float:
    """A coefficient of variation: standard deviation over mean, from 0."""
    value = _number(text)
    if not 0 <= value < float("inf"):
        raise ValueError(f"{text!r} is not a coefficient of variation: write a number from 0, like 0.8")
    return value


def share(text: str) -> float:
    """A number from 0 to 1."""
    value = _number(text)
    if not 0 <= value <= 1:
        raise ValueError(f"{text!r} is not a share: write a number from 0 to 1")
    return value


def rate(text: str) -> float:
    """Requests per second in ``20/s``, ``1200/min``."""
    return rate_per_s(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
