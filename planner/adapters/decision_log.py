"""Decision logs: one JSON object a line, what was seen and what was decided; ``schema`` in the first.

``about`` in the first line says what was promised, by which pools, and holds
the configuration that the policy was built from. A planner that goes on with a
log begins a session with a first line of its own. ``.gz`` files are compressed.
A log can be read back into the values it was written from, to replay, explain
or show them.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

from planner.core.codec import CodecError, from_json, to_json
from planner.core.policy import Policy, Sla
from planner.core.types import Decision, Observation, Role
from planner.ports import Step

SCHEMA = "sla-planner/decision.v1"
_HEAD = f'{{"schema":"{SCHEMA}"'


class DecisionLogError(ValueError):
    """A file that is no decision log, or a broken line; the message has file, line and reason."""


class NotJsonError(DecisionLogError):
    """A line that is no JSON: what is left of a write that was cut off, or of another file."""


@dataclass(frozen=True, slots=True)
class AboutPool:
    """One pool of the policy: what its workers do, what one costs, how many there may be."""

    role: Role
    gpus: int  # per replica
    min: int
    max: int
    startup_s: float  # believed until start-ups have been measured


@dataclass(frozen=True, slots=True)
class About:
    """What a log is of: the policy's essentials as plain data, and the configuration it was built from."""

    name: str  # for people: the scenario or the deployment
    law: str
    sla: Sla
    interval_s: float  # between full decisions
    pools: Mapping[str, AboutPool]
    profile: str  # name or file
    mode: str  # "disaggregated" or "aggregated"
    settings: Mapping[str, Any]  # as the configuration would be written, without secrets and outputs


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a log."""

    step: Step
    about: About | None  # what the log is of; in the first line of a session
    begins: bool  # a session: the planner was started here


def about_of(policy: Policy, *, name: str, profile: str, mode: str, settings: Mapping[str, Any]) -> About:
    """What to write of a policy; ``settings`` are those that it was built from."""
    pools = {p.name: AboutPool(p.role, p.gpus, p.min_replicas, p.max_replicas, p.startup_s) for p in policy.pools}
    return About(name, policy.law, policy.sla, policy.interval_s, pools, profile, mode, settings)


class DecisionLog:
    """A ``DecisionSink`` that writes to a file, every step at once; use it as a context manager.

    ``append`` goes on with a log that is there: a planner that was started anew writes its ``schema`` and
    ``about`` again, since either may have changed, on a line of its own, whatever the last one wrote.

    Raises:
        OSError: the file cannot be opened.
        DecisionLogError: what is there to append to cannot be unpacked.
    """

    def __init__(self, path: Path, about: About | None = None, *, append: bool = False) -> None:
        self._before = "\n" if append and path.is_file() and _is_cut_off(path) else ""
        self._file = _opened(path, "at" if append else "wt")
        self._head: dict[str, Any] = {"schema": SCHEMA, **({} if about is None else {"about": to_json(about)})}

    def record(self, seen: Observation, decision: Decision, error: str = "") -> None:
        """Write one step."""
        line = {**self._head, **to_json(Step(seen, decision, error))}
        text = json.dumps(line, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        text, self._before, self._head = f"{self._before}{text}\n", "", {}
        self._file.write(text)

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def __enter__(self) -> DecisionLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def read(path: Path) -> Iterator[Step]:
    """The steps of a log, in order; lines that were cut off are left out.

    Raises:
        DecisionLogError: it is no decision log, or a line is broken.
    """
    with _opened(path, "rt") as lines:
        for _, entry in entries(lines, path, []):
            yield entry.step


def entries(lines: Iterable[str], path: Path, notes: list[str]) -> Iterator[tuple[int, Entry]]:
    """The lines of the log at ``path`` with their numbers.

    What was cut off when the planner or the machine ended, before a new session or at the end, is left out and noted.

    Raises:
        DecisionLogError: it is no decision log, or a line is broken inside a session.
    """
    cut: dict[int, NotJsonError] = {}  # since the last whole line
    line = ""
    for number, line in enumerate(lines, 1):
        try:
            entry = parse(line, number, path)
        except NotJsonError as problem:
            if number == 1 and not _HEAD.startswith(line.rstrip("\n")[: len(_HEAD)]):
                raise
            cut[number] = problem
            continue
        if not entry.begins:
            _refuse(cut)
        notes += _left_out(path, cut)
        cut = {}
        yield number, entry
    if line.endswith("\n"):
        _refuse(cut)
    notes += _left_out(path, cut)


def _refuse(cut: Mapping[int, NotJsonError]) -> None:
    for problem in cut.values():
        raise problem


def _left_out(path: Path, cut: Iterable[int]) -> list[str]:
    return [f"{path.name} is cut off in line {number}: that step is left out" for number in cut]


def parse(line: str, number: int, path: Path) -> Entry:
    """One line of the log at ``path``.

    Raises:
        NotJsonError: the line is no JSON.
        DecisionLogError: it is no decision log, or the line is broken.
    """
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as problem:
        raise NotJsonError(f"{path}:{number}: not JSON: {problem}") from None
    schema = data.pop("schema", None) if isinstance(data, dict) else None
    if schema != SCHEMA and (number == 1 or schema is not None):
        raise DecisionLogError(f"{path}:{number}: schema is {schema!r}, expected {SCHEMA!r}: is this a decision log?")
    try:
        about = data.pop("about", None) if isinstance(data, dict) else None
        return Entry(from_json(Step, data), None if about is None else _about(about), schema is not None)
    except CodecError as problem:
        raise DecisionLogError(f"{path}:{number}: {problem}") from None


def _about(data: Any) -> About:
    try:
        return from_json(About, data)
    except CodecError as problem:
        raise problem.inside("about") from None
    except ValueError as problem:  # a promise that makes no sense
        raise CodecError(str(problem), "about") from None


def _opened(path: Path, mode: str) -> IO[str]:
    errors = "replace" if mode == "rt" else "strict"  # a cut goes through letters too
    if path.suffix == ".gz":
        return cast(IO[str], gzip.open(path, mode, encoding="utf-8", errors=errors))
    # by lines: whoever follows the file sees whole ones
    return cast(IO[str], path.open(mode, encoding="utf-8", errors=errors, buffering=1))


def _is_cut_off(path: Path) -> bool:
    """Whether the last line of a log has no end: who wrote it was ended in the middle of it."""
    if path.suffix == ".gz":
        return not _last_packed(path).endswith(b"\n")
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        return file.read() not in (b"", b"\n")


def _last_packed(path: Path) -> bytes:
    """The last line of a compressed log; one that ends too early is packed anew: nothing is read behind a cut."""
    try:
        with gzip.open(path) as file:
            return _last(file)
    except gzip.BadGzipFile as problem:
        raise DecisionLogError(f"{path}: cannot be gone on with: {problem}") from None
    except (EOFError, zlib.error):
        draft = path.with_name(f".{path.name}.new")
        with gzip.open(path) as old, gzip.open(draft, "wb") as new, contextlib.suppress(EOFError, zlib.error):
            new.writelines(old)
        os.replace(draft, path)
    with gzip.open(path) as file:
        return _last(file)


def _last(lines: Iterable[bytes]) -> bytes:
    return next(iter(deque(lines, maxlen=1)), b"\n")
