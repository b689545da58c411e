"""What is wrong with a configuration, in sentences that name the key, the value and what would be right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

_LIMITS = {
    "greater_than": ("must be above", "gt"),
    "greater_than_equal": ("must be at least", "ge"),
    "less_than": ("must be below", "lt"),
    "less_than_equal": ("must be at most", "le"),
}
_NUMBERS = {"float_parsing", "float_type", "int_parsing", "int_type", "int_from_float", "finite_number"}


class ConfigError(ValueError):
    """All problems of a configuration at once."""

    def __init__(self, problems: Sequence[str]) -> None:
        listed = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(problems[0] if len(problems) == 1 else f"{len(problems)} problems:\n{listed}")
        self.problems = tuple(problems)


def sentence(error: ErrorDetails, model: type[BaseModel]) -> str:
    """What one of pydantic's findings means to whoever wrote the value."""
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "extra_forbidden":
        return f"unknown key{did_you_mean(str(error['loc'][-1]), keys(model, error['loc'][:-1]))}"
    if kind == "literal_error":
        choices = [word.strip("' ") for word in str(context["expected"]).replace(" or ", ",").split(",")]
        close = did_you_mean(str(value), choices) if get_close_matches(str(value), choices, 1) else ""
        return f"{value!r} is none of {', '.join(choices)}{close}"
    if kind in _LIMITS:
        words, key = _LIMITS[kind]
        return f"{value} {words} {context[key]:g}"
    if kind in _NUMBERS:
        return f"{value!r} is not a {'whole number' if kind.startswith('int') else 'number'}"
    if kind in ("model_type", "dict_type", "mapping_type", "model_attributes_type"):
        return f"{value!r} should be a mapping of keys to values"
    return f"{error['msg'][:1].lower()}{error['msg'][1:]} (got {value!r})"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'source'?`` or the list of what there is."""
    known = list(known)
    close = get_close_matches(word, known, 1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known are {', '.join(known)}" if known else ""


def keys(model: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """Keys that may stand at ``place`` of a model."""
    found: Any = model
    for step in place:
        if get_origin(found) is Mapping:
            found = get_args(found)[1]  # the step is a name of the user's own
        elif _is_section(found):
            found = next((f.annotation for n, f in found.model_fields.items() if step in (f.alias, n)), None)
    if not _is_section(found):
        return []
    fields: Mapping[str, Any] = found.model_fields
    return [field.alias or name for name, field in fields.items()]


def _is_section(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, BaseModel)
