"""Decision logs: one JSON object a line, what was seen and what was decided; ``schema`` in the first.

``about`` in the first line says what was promised, by which pools, and holds
the configuration that the policy was built from. ``.gz`` files are compressed.
A log can be read back into the values it was written from, to replay, explain
or show them.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

from planner.core.codec import CodecError, from_json, to_json
from planner.core.policy import Policy, Sla
from planner.core.types import Decision, Observation, Role
from planner.ports import Step

SCHEMA = "sla-planner/decision.v1"


class DecisionLogError(ValueError):
    """A file that is no decision log, or a broken line; the message has file, line and reason."""


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


def about_of(policy: Policy, *, name: str, profile: str, mode: str, settings: Mapping[str, Any]) -> About:
    """What to write of a policy; ``settings`` are those that it was built from."""
    pools = {p.name: AboutPool(p.role, p.gpus, p.min_replicas, p.max_replicas, p.startup_s) for p in policy.pools}
    return About(name, policy.law, policy.sla, policy.interval_s, pools, profile, mode, settings)


class DecisionLog:
    """A ``DecisionSink`` that writes to a file, every step at once; use it as a context manager.

    ``append`` goes on with a log that is there: a planner that was started anew writes its ``schema`` and
    ``about`` again, since either may have changed.
    """

    def __init__(self, path: Path, about: About | None = None, *, append: bool = False) -> None:
        self._file = _opened(path, "at" if append else "wt")
        self._head: dict[str, Any] = {"schema": SCHEMA, **({} if about is None else {"about": to_json(about)})}

    def record(self, seen: Observation, decision: Decision, error: str = "") -> None:
        """Write one step."""
        line = {**self._head, **to_json(Step(seen, decision, error))}
        self._head = {}
        self._file.write(json.dumps(line, separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n")

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def __enter__(self) -> DecisionLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def read(path: Path) -> Iterator[Step]:
    """The steps of a log, in order.

    Raises:
        DecisionLogError: it is no decision log, or a line is broken.
    """
    with _opened(path, "rt") as lines:
        for number, line in enumerate(lines, 1):
            yield parse(line, number, path)[1]


def parse(line: str, number: int, path: Path) -> tuple[About | None, Step]:
    """One line of the log at ``path``; what it is of comes with the first, and after every restart.

    Raises:
        DecisionLogError: it is no decision log, or the line is broken.
    """
    try:
        data = json.loads(line)
    except ValueError as problem:
        raise DecisionLogError(f"{path}:{number}: not JSON: {problem}") from None
    schema = data.pop("schema", None) if isinstance(data, dict) else None
    if schema != SCHEMA and (number == 1 or schema is not None):
        raise DecisionLogError(f"{path}:{number}: schema is {schema!r}, expected {SCHEMA!r}: is this a decision log?")
    try:
        about = data.pop("about", None) if isinstance(data, dict) else None
        return None if about is None else _about(about), from_json(Step, data)
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
    if path.suffix == ".gz":
        return cast(IO[str], gzip.open(path, mode, encoding="utf-8"))
    return cast(IO[str], path.open(mode, encoding="utf-8", buffering=1))  # whoever follows the file sees whole lines
