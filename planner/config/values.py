"""How single values are written: durations with a unit, rates, numbers by pool, files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PlainSerializer

from planner.core.policy import Measure
from planner.units import duration_s, rate_per_s


def _duration(value: object) -> float:
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is not a duration: write a number with its unit, like 500ms or 2m")
    if isinstance(value, int | float):
        raise ValueError(f"{value} has no unit: write {value}s, or {value}ms, {value}m, {value}h as it is meant")
    return duration_s(str(value))


@dataclass(frozen=True, slots=True)
class Target:
    """A latency to keep, and how it is measured, if in a way of its own."""

    seconds: float
    measure: Measure | None = None

    @property
    def is_mean(self) -> bool:
        """Whether the mean is promised."""
        return self.measure == Measure()

    def written(self) -> float | str:
        """As it is recorded: a number of seconds, or text with the measure in front."""
        return self.seconds if self.measure is None else f"{self.measure}:{Decimal(repr(self.seconds)):f}s"


def _target(value: object) -> Target:
    """``500ms``, ``p95:500ms``, ``mean:500ms``."""
    measure, colon, rest = str(value).rpartition(":")
    seconds = _duration(rest if colon else value)
    if seconds <= 0:
        raise ValueError(f"{seconds:g} must be above 0")
    return Target(seconds, _measure(measure.strip()) if colon else None)


def _measure(text: str) -> Measure:
    if text == "mean":
        return Measure()
    try:
        share = float(Decimal(text.removeprefix("p")) / 100) if text.startswith("p") else 0.0
    except ArithmeticError:
        share = 0.0
    if not 0 < share < 1:
        raise ValueError(f"{text!r} is no measure of a latency: write p95:500ms for a percentile, or mean:500ms")
    return Measure(share)


def _rate(value: object) -> float:
    return rate_per_s(str(value))


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is not a number")
    return value


def by_pool(value: object) -> object:
    """``prefill=13,decode=5`` as a mapping; mappings stay what they are."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    names = [name.strip() for name, _, _ in pairs]
    if not pairs or not all(name and equals and number.strip() for name, equals, number in pairs):
        raise ValueError(f"{value!r} should read like prefill=13,decode=5")
    if len(set(names)) < len(names):
        raise ValueError(f"{value!r} names a pool twice")
    return {name.strip(): number.strip() for name, _, number in pairs}


def _names(value: object) -> object:
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


def _stretches(value: object) -> object:
    """``20m-50m,80m-90m`` as pairs of seconds."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise ValueError(f"{value!r} should read like 20m-50m,80m-90m")
    return tuple(_stretch(part.strip()) for part in parts)


def _stretch(text: str) -> tuple[float, float]:
    begin, dash, end = text.partition("-")
    if not dash:
        raise ValueError(f"{text!r} is not a stretch of time: write from-to, like 20m-50m")
    stretch = duration_s(begin), duration_s(end)
    if stretch[0] >= stretch[1]:
        raise ValueError(f"{text!r} ends before it begins")
    return stretch


def _named(kind: str) -> Callable[[object], object]:
    """Refuses what is no text: YAML reads ``1e3`` or ``no`` as something else."""

    def check(value: object) -> object:
        if not isinstance(value, str | Path) or not str(value).strip():
            raise ValueError(f"{value!r} is not {kind}")
        return str(value)

    return check


def _address(value: object) -> str:
    """``http://prometheus:9090``: whom to ask, and how."""
    text = str(_named("an address")(value)).strip()
    try:
        parts = urlsplit(text)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, half an IPv6 address
        whole = False
    if not whole:
        raise ValueError(f"{text!r} is no address of a server: write http:// or https:// and a host, "
                         "as in http://prometheus:9090")  # fmt: skip
    return text


@dataclass(frozen=True, slots=True)
class Form:
    """How a value is written: its placeholder in ``--help``, its name in the reference."""

    placeholder: str
    name: str


_COUNTED = Form("POOL=N,...", "whole numbers by pool")
Duration = Annotated[float, BeforeValidator(_duration), Form("DURATION", "duration")]
"""Seconds, written with a unit: ``500ms``, ``2m``."""
Latency = Annotated[
    Target,
    BeforeValidator(_target),
    PlainSerializer(Target.written),
    Form("[pN:|mean:]DURATION", "duration, after pN: or mean: if measured by itself"),
]
"""A latency to keep: ``500ms``, or ``p95:500ms`` and ``mean:500ms`` where it is measured by itself."""
Rate = Annotated[float, BeforeValidator(_rate), Form("RATE", "rate")]
"""Per second, written per unit of time: ``12/s``, ``720/min``."""
Number = Annotated[float, BeforeValidator(_no_bool), Form("X", "number")]
Whole = Annotated[int, BeforeValidator(_no_bool), Form("N", "whole number")]
Text = Annotated[str, BeforeValidator(_named("a name")), Form("NAME", "text")]
Address = Annotated[str, BeforeValidator(_address), Form("URL", "address")]
"""Of a server that is asked over HTTP."""
File = Annotated[Path, BeforeValidator(_named("a file name")), Form("FILE", "file name")]
Names = Annotated[tuple[Text, ...], BeforeValidator(_names), Form("NAME,NAME,...", "list of names")]
Stretches = Annotated[
    tuple[tuple[float, float], ...], BeforeValidator(_stretches), Form("FROM-TO,...", "list of stretches of time")
]
"""Stretches [from, to) in seconds, written ``20m-50m,80m-90m``."""
Replicas = Annotated[Mapping[str, Annotated[Whole, Field(ge=0)]], BeforeValidator(by_pool), _COUNTED]
"""Replicas by pool, from 0."""
Counts = Annotated[Mapping[str, Annotated[Whole, Field(ge=1)]], BeforeValidator(by_pool), _COUNTED]
"""Whole numbers by pool, from 1."""
Factors = Annotated[
    Mapping[str, Annotated[Number, Field(gt=0)]], BeforeValidator(by_pool), Form("POOL=X,...", "numbers by pool")
]
"""Positive factors by pool."""
Slowness = Annotated[
    Mapping[str, Annotated[Number, Field(ge=0.01, le=100)]],
    BeforeValidator(by_pool),
    Form("POOL=X,...", "numbers by pool"),
]
"""Multiples of the profile's latency by pool, as far as a plant may be off it."""
