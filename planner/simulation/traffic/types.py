"""One stretch of traffic: who arrives when, asks how much, and shares which prefix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests in order of arrival; all arrays have one entry per request.

    ``block_ids[block_starts[i]:block_starts[i + 1]]`` are the prefix-cache
    blocks of request ``i``, dense ids from 0, each ``block_tokens`` long; both
    are ``None`` for traffic that says nothing of prefixes.
    """

    name: str
    arrivals_s: NDArray[np.float64]  # ascending, 0 is the start of the window
    input_tokens: NDArray[np.int32]  # ISL, >= 1
    output_tokens: NDArray[np.int32]  # OSL, >= 1
    duration_s: float  # length of the measured window
    epoch_s: float = 0.0  # what 0 is on the trace's own clock (keeps time of day)
    block_ids: NDArray[np.int32] | None = None
    block_starts: NDArray[np.int64] | None = None
    block_tokens: int = 512
    notes: tuple[str, ...] = ()  # what was detected or assumed on the way, for people

    @property
    def requests(self) -> int:
        """How many requests arrive."""
        return len(self.arrivals_s)
