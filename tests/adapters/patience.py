"""Waiting for processes: what tests of children and of worker fleets share."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

SOON = 15.0  # far more than any step takes; a loaded machine is no failure


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for it; fail with ``what`` after ``SOON`` seconds."""
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, f"waited {SOON:g} s for: {what}"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
