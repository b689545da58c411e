"""One worker of a pool as a process: waiting for its start, starting, ready, draining, gone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from pathlib import Path

from planner.adapters.children import Child, Ports, answers, kill, last_line, spawn


@dataclass(frozen=True, slots=True)
class Worker:
    """How one worker of a pool is started.

    In all texts {port} is a free port of its own, {number} its number and {pool} its pool.
    """

    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)  # added to ours
    ready_url: str = "http://127.0.0.1:{port}/health"  # answers 200 once it serves
    metrics: str = "127.0.0.1:{port}"  # what Prometheus scrapes
    delay_s: float = 0.0  # before the process is started, in place of loading a model
    patience_s: float = 600.0  # from the process' start; not ready by then: given up
    drain_s: float = 300.0  # from SIGTERM; not ended by then: killed


class What(StrEnum):
    """What happened to a worker."""

    ASKED = "asked for"
    STARTED = "started"
    READY = "ready"
    CANCELLED = "cancelled"  # before it was ready
    DRAINING = "draining"
    ENDED = "ended"  # as it was asked to
    KILLED = "killed"  # it did not end in time
    DIED = "died"  # nobody asked it to
    GIVEN_UP = "given up"  # it did not become ready in time
    REFUSED = "not started"  # there is no such program, or no process can be had


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to one worker, for people."""

    at: float  # seconds since 1970
    pool: str
    worker: str
    what: What
    detail: str = ""


class Stage(Enum):
    """Where a worker is in its life."""

    WAITING = 0
    STARTING = 1
    READY = 2
    DRAINING = 3
    GONE = 4


@dataclass(frozen=True, slots=True)
class Premises:
    """What all workers of this machine share."""

    logs: Path | None  # a folder for what they print
    prober: Executor  # asks them whether they are ready
    ports: Ports


class Member:
    """A worker from being asked for to its end. Times are of one monotonic clock, given by the caller."""

    def __init__(
        self, worker: Worker, pool: str, number: int, begins: float, delay_s: float, premises: Premises
    ) -> None:
        self.pool, self.number, self.name = pool, number, f"{pool}-{number}"
        self.begins = begins  # creation; start-up is counted from here
        self.stage = Stage.WAITING
        self._worker = worker
        self._delay_s, self._premises = delay_s, premises
        self._spawned = self._stopped = 0.0
        self._log = premises.logs / f"{self.name}.log" if premises.logs else None
        self._child: Child | None = None
        self._probe: Future[bool] | None = None
        self._port = 0

    @property
    def address(self) -> str:
        """Where Prometheus finds it."""
        return self._filled(self._worker.metrics)

    @property
    def pid(self) -> int | None:
        """Of its process; ``None`` before there is one."""
        return None if self._child is None else self._child.pid

    def step(self, now: float) -> tuple[What, str] | None:
        """Move on if something happened; ``None`` when nothing did."""
        if self.stage is Stage.WAITING:
            return self._start(now) if now >= self.begins + self._delay_s else None
        if self.stage is Stage.GONE:
            return None
        if self._child is not None and (code := self._child.poll()) is not None:
            return self._ended(code)
        if self.stage is Stage.STARTING:
            return self._await_ready(now)
        if self.stage is Stage.DRAINING and now >= self._stopped + self._worker.drain_s:
            return self._gone(What.KILLED, f"not ended {self._worker.drain_s:g} s after SIGTERM")
        return None

    def stop(self, now: float) -> tuple[What, str]:
        """Let it end: at once when it has not been started, else when its requests are done."""
        if self._child is None:
            return self._gone(What.CANCELLED)
        what = What.DRAINING if self.stage is Stage.READY else What.CANCELLED
        self.stage, self._stopped = Stage.DRAINING, now
        self._child.terminate()
        return what, ""

    def lived_s(self, now: float) -> float:
        """Since its process was started; 0 when there was none."""
        return now - self._spawned if self._spawned else 0.0

    def kill(self) -> None:
        """End it now, requests and all."""
        self._gone(What.KILLED)

    def _start(self, now: float) -> tuple[What, str]:
        self._spawned = now
        try:
            self._port = self._premises.ports.take()
            env = os.environ | {key: self._filled(value) for key, value in self._worker.env.items()}
            self._child = spawn([self._filled(part) for part in self._worker.command], env, self._log)
        except OSError as problem:
            return self._gone(What.REFUSED, str(problem))
        self.stage = Stage.STARTING
        return What.STARTED, f"process {self._child.pid}"

    def _await_ready(self, now: float) -> tuple[What, str] | None:
        if self._probe is not None and self._probe.done():
            ready, self._probe = self._probe.result(), None
            if ready:
                self.stage = Stage.READY
                return What.READY, f"after {now - self.begins:.1f} s"
        if now >= self._spawned + self._worker.patience_s:
            return self._gone(What.GIVEN_UP, f"not ready {self._worker.patience_s:g} s after its start{self._said()}")
        if self._probe is None:
            self._probe = self._premises.prober.submit(answers, self._filled(self._worker.ready_url))
        return None

    def _ended(self, code: int) -> tuple[What, str]:
        if self.stage is Stage.DRAINING:
            return self._gone(What.ENDED)
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return self._gone(What.DIED, f"{how}{self._said()}")

    def _gone(self, what: What, detail: str = "") -> tuple[What, str]:
        self.stage = Stage.GONE
        if self._child is not None:
            kill(self._child)
        return what, detail

    def _said(self) -> str:
        words = last_line(self._log)
        return f"; it said: {words}" if words else ""

    def _filled(self, text: str) -> str:
        for name, value in (("port", self._port), ("number", self.number), ("pool", self.pool)):
            text = text.replace(f"{{{name}}}", str(value))
        return text
