"""From a YAML file and the flags over it to checked settings; every problem is told at once."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from planner import resources
from planner.config.checks import contradictions
from planner.config.flags import Setting, settings
from planner.config.problems import ConfigError, sentence
from planner.config.settings import Settings

S = TypeVar("S", bound=Settings)
FILES = (
    "profile",
    "traffic.source",
    "traffic.lengths",
    "prometheus.bearer_token_file",
    "prometheus.password_file",
    "prometheus.ca_file",
    "prometheus.client_cert_file",
    "prometheus.client_key_file",
    "server.token_file",
)
"""Settings that may name a file beside the configuration."""
STAND_INS = {
    "profile": "-",
    "sla.ttft": "1s",
    "sla.itl": "1s",
    "prometheus.url": "http://localhost:9090",
    "traffic.source": "-",
    "rate": "1/s",
    "isl": 1,
    "osl": 1,
    "models": {"a": {}, "b": {}},
}
"""What takes the place of a needed but missing value while the others are checked against each other."""


def find(name: str, kind: str = "scenarios") -> Path:
    """The configuration that ``name`` means: a file, or a shipped one of a kind (``scenarios``, ``fleets``).

    Raises:
        ConfigError: it is neither; the message lists the shipped ones.
    """
    if Path(name).is_file():
        return Path(name)
    shipped = [found.removesuffix(".yaml") for found in resources.names(kind) if found.endswith(".yaml")]
    if name in shipped:
        return resources.path(kind, f"{name}.yaml")
    known = ", ".join(shipped) or "there are none"
    raise ConfigError([f"{name}: neither a file nor a shipped {kind.removesuffix('s')} ({known})"])


def load(model: type[S], file: Path | None, flags: Mapping[str, Any]) -> S:
    """The settings in ``file``, with ``flags`` (values by path, like ``sla.ttft``) over them.

    Raises:
        ConfigError: everything that is wrong, each with its place.
    """
    raw = _read(file) if file else {}
    for path, value in flags.items():
        _put(raw, path, value)
    return _Reader(model, raw, str(file) if file else None, frozenset(flags)).settings()


def nested(model: type[S], raw: Mapping[str, Any], folder: Path, place: str) -> S:
    """The settings of one part, called ``place``, of a file that lies in ``folder``.

    Raises:
        ConfigError: everything that is wrong, each with its place.
    """
    return _Reader(model, _located(copy.deepcopy(dict(raw)), folder), place, frozenset()).settings()


@dataclass
class _Reader(Generic[S]):
    """One configuration on its way to settings."""

    model: type[S]
    raw: dict[str, Any]
    place: str | None  # the file, or a part of it
    flags: frozenset[str]  # paths of the values that came from flags
    problems: list[str] = field(default_factory=list)

    def settings(self) -> S:
        """The settings, if nothing is wrong with them."""
        found: S | None
        bad: list[str] = []
        try:
            found = self.model.model_validate(self.raw)
        except ValidationError as error:
            errors = error.errors(include_url=False)
            self.problems += [line for one in errors for line in self._sentences(one)]
            bad = [self._wrong(one) for one in errors]
            found = self._mended(bad)
        if found is not None:
            self.problems += [
                self._placed(paths[0], text) for paths, text in contradictions(found) if not _touch(paths, bad)
            ]
        if self.problems or found is None:
            raise ConfigError(self.problems)
        return found

    def _sentences(self, error: ErrorDetails) -> list[str]:
        path = _path(error)
        if error["type"] == "missing":
            inside = [s for s in settings(self.model) if s.needed and f"{s.path}.".startswith(f"{path}.")]
            return [_missing(one) for one in inside] or [self._placed(path, "is needed")]
        written = _get(self.raw, path)
        if written is not None and error["type"] != "value_error":
            error["input"] = written
        return [self._placed(path, sentence(error, self.model))]

    def _wrong(self, error: ErrorDetails) -> str:
        """What to leave out so that the rest makes sense: a value, or the entry that lacks one."""
        path = _path(error)
        known = any(f"{s.path}.".startswith(f"{path}.") for s in settings(self.model))
        return path if error["type"] != "missing" or known else path.rpartition(".")[0]

    def _placed(self, path: str, text: str) -> str:
        """``text`` with the flag or the place in the file that it is about in front."""
        flag = next((s.flag for s in settings(self.model) if f"{path}.".startswith(f"{s.path}.")), None)
        from_flag = any(f"{path}.".startswith(f"{given}.") for given in self.flags)
        if self.place and not from_flag:
            return f"{self.place}: {path}: {text}"
        return f"{flag or path}: {text}"

    def _mended(self, bad: Iterable[str]) -> S | None:
        """The settings without what is wrong in them, so that the rest can be held against each other."""
        rest = copy.deepcopy(self.raw)
        for path in bad:
            _drop(rest, path)
        for one in settings(self.model):
            if one.needed and _get(rest, one.path) is None:
                _put(rest, one.path, STAND_INS[one.path])
        try:
            return self.model.model_validate(rest)
        except ValidationError:
            return None


def _missing(one: Setting) -> str:
    where = f"{one.flag} is needed, or {one.path} in the configuration" if one.flag else f"{one.path} is needed"
    return f"{where}: {one.description[:1].lower()}{one.description[1:]}"


def _path(error: ErrorDetails) -> str:
    return ".".join(str(step) for step in error["loc"])


def _touch(paths: Iterable[str], bad: Iterable[str]) -> bool:
    """Whether one of ``paths`` is, holds or lies in something that is wrong by itself."""
    bad = list(bad)
    return any(f"{a}.".startswith(f"{b}.") or f"{b}.".startswith(f"{a}.") for a in paths for b in bad)


def _read(file: Path) -> dict[str, Any]:
    """The keys and values of a file, with names of files beside it made into paths."""
    try:
        data = yaml.load(file.read_text(encoding="utf-8"), _StrictLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise ConfigError([f"{file}: not YAML: {problem}"]) from None
    except RecursionError:
        raise ConfigError([f"{file}: nested too deeply for a configuration"]) from None
    if data is not None and not isinstance(data, dict):
        raise ConfigError([f"{file}: expected keys and values, got {data!r}"])
    return _located(data or {}, file.parent)


def _located(raw: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Short forms written out, and names of files in ``folder`` made into paths."""
    for section, key in (("traffic", "source"), ("prometheus", "url"), ("target", "kind")):
        if isinstance(raw.get(section), str):
            raw[section] = {key: raw[section]}
    for path in FILES:
        value = _get(raw, path)
        if isinstance(value, str) and value and (folder / value).exists():
            _put(raw, path, str(folder / value))
    return raw


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key stands once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[object] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a name", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _get(raw: Any, path: str) -> Any:
    for step in path.split("."):
        raw = raw.get(step) if isinstance(raw, dict) else None
    return raw


def _put(raw: dict[str, Any], path: str, value: Any) -> None:
    *sections, last = path.split(".")
    for section in sections:
        if not isinstance(raw.get(section), dict):
            raw[section] = {}
        raw = raw[section]
    raw[last] = value


def _drop(raw: dict[str, Any], path: str) -> None:
    """Take out ``path``, or as much of it as there is."""
    steps = path.split(".")
    while len(steps) > 1 and not isinstance(_get(raw, ".".join(steps[:-1])), dict):
        steps.pop()
    holder = _get(raw, ".".join(steps[:-1])) if len(steps) > 1 else raw
    holder.pop(steps[-1], None)
