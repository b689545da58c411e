"""Is the planner alive, and does it see anything? What probes ask, and why the answer is no."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from planner.core.types import Decision, Observation

GRACE_TICKS = 3
"""A loop that missed this many looks is stuck…"""
GRACE_S = 30.0
"""…when half a minute has gone by as well: one slow answer of Prometheus with its retries is no reason to restart."""


class Health:
    """A ``DecisionSink`` that knows when the last step was and whether it saw anything."""

    def __init__(self, tick_s: float, now: Callable[[], float]) -> None:
        self._tick_s, self._now = tick_s, now
        self._lock = threading.Lock()
        self._stepped = now()
        self._blind: str | None = "nothing has been seen yet"
        self._learns = False

    def record(self, seen: Observation, decision: Decision, error: str = "") -> None:
        """Take note of one step."""
        with self._lock:
            self._stepped = self._now()
            if seen.window is not None:
                self._blind = None
            else:
                self._blind = "; ".join(seen.problems) or error or "nothing was measured"

    @contextmanager
    def learning(self) -> Iterator[None]:
        """Alive and not ready while history is read; looks are due from its end on. Reading has its own time limits."""
        with self._lock:
            self._learns = True
        try:
            yield
        finally:
            with self._lock:
                self._learns, self._stepped = False, self._now()

    def stuck(self) -> str | None:
        """Why the process should be restarted; ``None`` while steps come, or history is read."""
        with self._lock:
            silent = 0.0 if self._learns else self._now() - self._stepped
        limit = max(GRACE_TICKS * self._tick_s, GRACE_S)
        return f"no step for {silent:.0f} s, one is due every {self._tick_s:g} s" if silent > limit else None

    def blind(self) -> str | None:
        """Why nothing can be decided; ``None`` when the last step saw traffic, or could have."""
        with self._lock:
            return "still learning from Prometheus' history" if self._learns else self._blind
