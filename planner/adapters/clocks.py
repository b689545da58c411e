"""Real time for the loop."""

from __future__ import annotations

import threading
import time

SUSPENDED_S = 2.0
"""A wall clock this far ahead of ours says that the machine slept, not that clocks drift."""


class WallClock:
    """Seconds since 1970, running on the monotonic clock.

    A wall clock that is set back never moves it: decisions would wait for the time to come again. One
    that is ahead by more than ``SUSPENDED_S`` moves it forward: the machine was suspended.
    """

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Seconds since 1970."""
        ahead = time.time() - time.monotonic() - self._offset
        if ahead > SUSPENDED_S:
            self._offset += ahead
        return time.monotonic() + self._offset

    def sleep_until(self, at: float) -> bool:
        """Wait for ``at``; ``False`` as soon as the clock is stopped."""
        while not self._stop.is_set():
            left = at - self.now()
            if left <= 0:
                return True
            self._stop.wait(min(left, 60.0))  # looks up now and then: a suspended machine has lost time
        return False

    @property
    def stopped(self) -> bool:
        """Whether the run is to end."""
        return self._stop.is_set()

    def stop(self) -> None:
        """End the run: the sleeper wakes up at once. May be called from a signal handler."""
        self._stop.set()
