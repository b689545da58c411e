"""Our frozen dataclasses as plain JSON data and back, equal after the round trip.

A field that holds its default (or says ``logged: False`` of itself) is left out, so ``None`` (not measured) costs
nothing and a reader of an older log finds new fields at their defaults. JSON
has no infinity: the last edge of a histogram is written as ``"inf"``.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin

from predictors.api import Predictor

T = TypeVar("T")
Decoder = Callable[[Any], Any]


class CodecError(ValueError):
    """Data that is not what it should be; the message starts with the place, like ``pools.decode.ready``."""

    def __init__(self, problem: str, place: str = "") -> None:
        super().__init__(f"{place}: {problem}" if place else problem)
        self.problem, self.place = problem, place

    def inside(self, outer: str) -> CodecError:
        """The same problem, seen from one level further out."""
        joint = "." if self.place and not self.place.startswith("[") else ""
        return CodecError(self.problem, f"{outer}{joint}{self.place}")


def to_json(value: Any) -> Any:
    """``value`` as what ``json.dumps`` takes.

    Raises:
        CodecError: it holds NaN, or something that is no data.
    """
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return _number_out(value)
    if is_dataclass(value):
        return {f.name: to_json(getattr(value, f.name)) for f in fields(value) if not _is_default(f, value)}
    if isinstance(value, Mapping):
        return {_key_out(key): to_json(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [to_json(item) for item in value]
    if isinstance(value, Predictor):
        return value.snapshot()
    raise CodecError(f"{type(value).__name__} is no data")


def from_json(kind: type[T], data: Any) -> T:
    """The ``kind`` that ``to_json`` made ``data`` of.

    Raises:
        CodecError: a field is unknown, missing or of another type; the message names its place.
    """
    hint: Any = kind
    return typing.cast(T, _decoder(hint)(data))


def _number_out(value: float) -> float | str:
    if math.isnan(value):
        raise CodecError("NaN is no measurement: write None for what is not known")
    return value if math.isfinite(value) else ("inf" if value > 0 else "-inf")


def _key_out(key: Any) -> str:
    return str(key.value) if isinstance(key, Enum) else repr(key) if isinstance(key, float) else str(key)


def _is_default(field: Field[Any], owner: Any) -> bool:
    default = field.default if field.default_factory is MISSING else field.default_factory()
    if not field.metadata.get("logged", True):
        return True
    return default is not MISSING and bool(getattr(owner, field.name) == default)


@cache
def _decoder(hint: Any) -> Decoder:
    """A function from JSON data to a value of the annotated type; built once for each type."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return lambda data: data
    if hint is Predictor:
        return _restored
    if origin in (Union, types.UnionType):
        return _optional(args)
    if origin is tuple:
        return _tuple(args)
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(*args)
    if origin is not None and issubclass(origin, Sequence):
        return _tuple((args[0], ...))
    if is_dataclass(hint):
        return _dataclass(hint)
    return _scalar(hint)


def _restored(data: Any) -> Any:
    from predictors.registry import restore

    return restore(data)


def _optional(args: tuple[Any, ...]) -> Decoder:
    (inner,) = (arg for arg in args if arg is not types.NoneType)
    decode = _decoder(inner)
    return lambda data: None if data is None else decode(data)


def _tuple(args: tuple[Any, ...]) -> Decoder:
    if len(args) == 2 and args[1] is Ellipsis:
        return _many(args[0])

    def decode(data: Any) -> tuple[Any, ...]:
        _expect(list, data)
        if len(data) != len(args):
            raise CodecError(f"expected {len(args)} items, got {len(data)}")
        return tuple(_at(f"[{i}]", arg, item) for i, (arg, item) in enumerate(zip(args, data, strict=True)))

    return decode


def _many(hint: Any) -> Decoder:
    """Any number of items of one type: quick while all is well, item by item to name the one that is not."""
    item = _decoder(hint)

    def decode(data: Any) -> tuple[Any, ...]:
        _expect(list, data)
        try:
            return tuple(map(item, data))
        except CodecError:
            return tuple(_at(f"[{i}]", hint, one) for i, one in enumerate(data))

    return decode


def _mapping(key: Any, value: Any) -> Decoder:
    read_key: Decoder = key if isinstance(key, type) else str

    def decode(data: Any) -> dict[Any, Any]:
        _expect(dict, data)
        return {read_key(name): _at(name, value, item) for name, item in data.items()}

    return decode


def _dataclass(kind: Any) -> Decoder:
    hints = typing.get_type_hints(kind)
    needed = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}

    def decode(data: Any) -> Any:
        _expect(dict, data)
        if unknown := set(data) - set(hints):
            raise CodecError(f"unknown {', '.join(sorted(unknown))} in a {kind.__name__}")
        if missing := needed - set(data):
            raise CodecError(f"{', '.join(sorted(missing))} missing in a {kind.__name__}")
        return kind(**{name: _at(name, hints[name], item) for name, item in data.items()})

    return decode


def _scalar(kind: Any) -> Decoder:
    if kind is float:
        return _number_in

    def decode(data: Any) -> Any:
        if issubclass(kind, Enum):
            return _member(kind, data)
        _expect(kind, data)
        return data

    return decode


def _number_in(data: Any) -> float:
    if type(data) is float:
        return data
    if data in ("inf", "-inf"):
        return float(data)
    if isinstance(data, bool) or not isinstance(data, int | float):
        raise CodecError(f"expected a number, got {data!r}")
    return float(data)


def _member(kind: type[Enum], data: Any) -> Enum:
    try:
        return kind(data)
    except ValueError:
        raise CodecError(f"{data!r} is none of {', '.join(str(m.value) for m in kind)}") from None


def _at(place: str, hint: Any, data: Any) -> Any:
    """Decode, and put ``place`` in front of whatever is wrong inside."""
    try:
        return _decoder(hint)(data)
    except CodecError as problem:
        raise problem.inside(place) from None


def _expect(kind: type, data: Any) -> None:
    if not isinstance(data, kind) or (kind is int and isinstance(data, bool)):
        raise CodecError(f"expected {kind.__name__}, got {data!r}")
