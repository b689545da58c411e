"""Every setting as data: its path in the file, its flag on the command line, how it is written."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from planner.config.values import Form

_PLAIN = {bool: Form("", "true or false"), str: Form("TEXT", "text")}


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of the configuration."""

    path: str  # like ``sla.ttft``
    flag: str | None  # like ``--ttft``
    description: str
    form: Form
    choices: tuple[str, ...]
    default: Any  # ``None``: there is none
    needed: bool
    is_switch: bool


def settings(model: type[BaseModel], prefix: str = "") -> Iterator[Setting]:
    """Every setting of a model and of its sections, in order."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from settings(field.annotation, f"{path}.")
        else:
            yield _setting(path, field)


def flags(model: type[BaseModel]) -> dict[str, Setting]:
    """Settings of a model that have a flag, by flag."""
    return {one.flag: one for one in settings(model) if one.flag}


def _setting(path: str, field: FieldInfo) -> Setting:
    kind, form = _form(field)
    choices = tuple(str(choice) for choice in get_args(kind)) if get_origin(kind) is Literal else ()
    if choices:
        form = Form("|".join(choices), "one of " + ", ".join(choices))
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    flag = extra.get("flag")
    return Setting(
        path=path,
        flag=str(flag) if flag else None,
        description=field.description or "",
        form=form,
        choices=choices,
        default=None if field.default is PydanticUndefined else field.default,
        needed=field.is_required(),
        is_switch=kind is bool,
    )


def _form(field: FieldInfo) -> tuple[Any, Form]:
    """The type of a field, ``| None`` taken off, and how it is written."""
    kind: Any = field.annotation
    notes = list(field.metadata)
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = (arg for arg in get_args(kind) if arg is not types.NoneType)
    if get_origin(kind) is Annotated:
        kind, *more = get_args(kind)
        notes += more
    found = next((note for note in notes if isinstance(note, Form)), None)
    return kind, found or _PLAIN.get(kind, Form("TEXT", "text"))
