"""Command-line options: those of the settings, made from the settings; and types for the others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem
from pydantic import BaseModel

from planner import resources
from planner.config.flags import Setting, flags
from planner.units import duration_s

F = TypeVar("F", bound=Callable[..., Any])
if TYPE_CHECKING:
    _Type = click.ParamType[Any]  # generic in newer stubs only
else:
    _Type = click.ParamType


class Parsed(_Type):
    """A value that is read by a function of ours, whose ``ValueError`` is shown to the user."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name, self._parse = name, parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The parsed value; a default that is no text stays what it is."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as problem:
            self.fail(str(problem), param, ctx)


DURATION = Parsed("duration", duration_s)
"""Seconds, for options that are no settings: ``--bin 3m``."""


def settings_options(model: type[BaseModel], without: Collection[str] = ()) -> Callable[[F], F]:
    """Add an option for every setting that has a flag, but for flags ``without`` use to the command.

    Values stay as they were typed: the settings check them together with the file, so that all
    problems are told at once. ``given`` makes them overrides.
    """

    def add(command: F) -> F:
        for flag, one in reversed(flags(model).items()):
            if flag not in without:
                command = _option(flag, one)(command)
        return command

    return add


def given(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that were given as options, by path."""
    known = flags(model)
    return {one.path: values[_name(flag)] for flag, one in known.items() if values.get(_name(flag)) is not None}


def written_default(one: Setting) -> str:
    """A default as the user would write it; empty where there is none to tell."""
    if one.default is None or one.default in ({}, ""):
        return ""
    if isinstance(one.default, bool):
        return str(one.default).lower()
    if isinstance(one.default, float):
        return f"{one.default:g}" + ("s" if one.form.name == "duration" else "")
    return ",".join(one.default) if isinstance(one.default, tuple) else str(one.default)


def _option(flag: str, one: Setting) -> Callable[[F], F]:
    if one.is_switch:
        return click.option(f"{flag}/--no-{flag[2:]}", _name(flag), default=None, help=one.description)
    shown = f"  [{written_default(one)}]" if written_default(one) else ""
    return click.option(
        flag,
        _name(flag),
        metavar=one.form.placeholder,
        help=one.description + shown,
        shell_complete=_completion(one),
    )


def _name(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")


def _completion(one: Setting) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]] | None:
    """Names that a shell can offer; ``None`` leaves it to the shell's own (files)."""
    shipped = {"profile": "profiles", "traffic.source": "traffic"}.get(one.path)
    if not one.choices and shipped is None and one.form.name != "file name":
        return None

    def complete(ctx: click.Context, param: click.Parameter, start: str) -> list[CompletionItem]:
        names = one.choices or (tuple(name.split(".")[0] for name in resources.names(shipped)) if shipped else ())
        found = [CompletionItem(name) for name in sorted(set(names)) if name.startswith(start)]
        return found or ([] if one.choices else [CompletionItem(start, type="file")])

    return complete
