"""One long-running part of the stack: started, awaited, ended, started again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from planner.adapters.children import Child, answers, end, kill, last_line, spawn
from planner.local.errors import StackError


@dataclass(slots=True)
class Part:
    """A program with a log and a URL that answers once it is ready."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    ready_url: str
    folder: Path
    patience_s: float = 15.0  # to end after SIGTERM
    child: Child | None = field(default=None, init=False)

    @property
    def log(self) -> Path:
        """What it printed."""
        return self.folder / "logs" / f"{self.name}.log"

    def start(self) -> None:
        """Start it; it is ready later.

        Raises:
            StackError: it cannot be started.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.child = spawn(self.command, self.env, self.log, self.folder)
        except OSError as problem:
            raise StackError(f"{self.name} cannot be started: {problem}") from None

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Wait until it answers.

        Raises:
            StackError: it has ended, or ``timeout_s`` is over.
        """
        deadline = time.monotonic() + timeout_s
        while not answers(self.ready_url):
            if not self.is_running:
                raise StackError(f"{self.name} has ended: {last_line(self.log) or 'without a word'} (log: {self.log})")
            if time.monotonic() > deadline:
                raise StackError(f"{self.name} is not ready after {timeout_s:g} s (log: {self.log})")
            time.sleep(0.02)

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""
        return self.child is not None and self.child.poll() is None

    def end(self) -> None:
        """SIGTERM, and SIGKILL when that does not help."""
        if self.child is not None:
            end(self.child, self.patience_s)

    def kill(self) -> None:
        """SIGKILL."""
        if self.child is not None:
            kill(self.child)
