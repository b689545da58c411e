"""Supply that fails: GPUs that are not to be had, start-ups that take long or never end, workers that die.

Every draw is a function of the seed, the pool and the worker's number alone, so all policies meet the same luck.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

_FAILURE, _FATE = 7, 11  # streams of draws beside that of ordinary start-ups


@dataclass(frozen=True, slots=True)
class Startup:
    """How long a worker takes from having its GPUs to serving.

    ``spread`` is the standard deviation of the log (0: always ``mean_s``). A share ``slow_share`` of workers
    takes ``slow_factor`` times as long; ``mean_s`` is the mean of the others. A share ``hang_share`` never
    serves: it starts, and is paid for, until it is taken back.
    """

    mean_s: float = 120.0
    spread: float = 0.0
    seed: int = 1
    slow_share: float = 0.0
    slow_factor: float = 3.0
    hang_share: float = 0.0

    def draw_s(self, pool: str, number: int) -> float:
        """Start-up time in seconds of the ``number``-th worker of ``pool``; infinite for one that hangs."""
        hang, slow = 1.0, 1.0
        if self.hang_share > 0 or self.slow_share > 0:
            hang, slow = np.random.default_rng((self.seed, _FATE, *pool.encode(), number)).random(2).tolist()
        if hang < self.hang_share:
            return float("inf")
        factor = self.slow_factor if slow < self.slow_share else 1.0
        if self.spread <= 0:
            return factor * self.mean_s
        normal = np.random.default_rng((self.seed, *pool.encode(), number)).standard_normal()
        return float(factor * self.mean_s * np.exp(self.spread * normal - 0.5 * self.spread**2))

    def reliable(self) -> Startup:
        """The same start-ups with none that is slow or hangs."""
        return replace(self, slow_share=0.0, hang_share=0.0)


@dataclass(frozen=True, slots=True)
class Failures:
    """Workers that die: each after an exponential time with mean ``mean_s`` of serving (``None``: never)."""

    mean_s: float | None = None
    seed: int = 1

    def draw_s(self, pool: str, number: int) -> float:
        """Seconds the ``number``-th worker of ``pool`` serves before it dies."""
        if self.mean_s is None:
            return float("inf")
        return float(np.random.default_rng((self.seed, _FAILURE, *pool.encode(), number)).exponential(self.mean_s))


@dataclass(frozen=True, slots=True)
class GpuSupply:
    """The GPUs that there are: ``gpus`` for all pools together (``None``: any number), none new in ``shortages``.

    A shortage is a stretch [from, to) in seconds of the traffic's clock. Workers that have their GPUs keep them.
    """

    gpus: int | None = None
    shortages: Sequence[tuple[float, float]] = ()

    def open_at(self, now: float) -> float:
        """When GPUs can be taken next: ``now`` itself outside of all shortages."""
        while ends := [end for begin, end in self.shortages if begin <= now < end]:
            now = max(ends)
        return now

    def gives(self, now: float, used: int, more: int) -> bool:
        """Whether ``more`` GPUs are to be had beside those ``used``."""
        return self.open_at(now) == now and (self.gpus is None or used + more <= self.gpus)
