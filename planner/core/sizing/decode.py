"""Decode in workers of its own, and what a replica can decode, in whatever pool."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

from planner.core import tuning
from planner.core.load import Load
from planner.core.policy import Pool, Sla, What
from planner.core.profiles import DecodeCurve, DecodeSurface
from planner.core.sizing.model import PoolModel, used_up

GRID = 32
"""Points of the throughput table of a replica: 3 % apart for a hundred sequences, enough for a headroom of 10 %."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """What one replica can decode at a mean context: tokens per second by sequences in flight.

    More sequences must never count for less: measured throughput falls again when the KV cache is nearly
    full, and a looser ITL would then ask for more replicas. So the best throughput *up to* a number of
    sequences is what a replica is worth (a replica may always run fewer).
    """

    curve: DecodeCurve
    sequences: tuple[float, ...]  # grid, ascending from 1
    tokens_per_s: tuple[float, ...]  # best up to there, non-decreasing

    @classmethod
    def of(cls, surface: DecodeSurface, context_tokens: float) -> Decoding:
        """The table of ``surface`` at ``context_tokens``, on a geometric grid up to a full KV cache."""
        curve, fullest = surface.at(context_tokens), max(1.0, surface.kv_capacity_tokens / context_tokens)
        grid = tuple(fullest ** (i / GRID) for i in range(GRID + 1))
        return cls(curve, grid, tuple(accumulate((n / curve.itl_s(n) for n in grid), max)))

    @property
    def alone_s(self) -> float:
        """ITL of a single sequence, in seconds."""
        return self.curve.itl_s(1.0)

    def best(self, held: float) -> float:
        """Best tokens per second of one replica with at most ``held`` sequences."""
        grid, speeds = self.sequences, self.tokens_per_s
        i = bisect_right(grid, held)
        if i == 0:
            return speeds[0] * held / grid[0]
        if i == len(grid):
            return speeds[-1]
        return speeds[i - 1] + (speeds[i] - speeds[i - 1]) * (held - grid[i - 1]) / (grid[i] - grid[i - 1])

    def within(self, itl_s: float) -> float:
        """Sequences of a replica as full as ``itl_s`` allows; never below one."""
        return max(1.0, self.curve.sequences_within(itl_s))

    def in_flight(self, tokens_per_s: float) -> tuple[float, float] | None:
        """(sequences that sustain ``tokens_per_s``, tokens per second that one more would add).

        ``None`` when no number of sequences does.
        """
        speeds = self.tokens_per_s
        if tokens_per_s >= speeds[-1]:
            return None
        i = bisect_right(speeds, tokens_per_s)
        if i == 0:
            return max(tokens_per_s / speeds[0], 1e-9) * self.sequences[0], speeds[0] / self.sequences[0]
        slope = (speeds[i] - speeds[i - 1]) / (self.sequences[i] - self.sequences[i - 1])
        return self.sequences[i - 1] + (tokens_per_s - speeds[i - 1]) / slope, slope

    def itl_s(self, tokens_per_s: float, free: float) -> float | None:
        """ITL in seconds of a replica that gives ``free`` of its time to decode (Little's law: N over throughput)."""
        point = self.in_flight(tokens_per_s / free) if free > 0 else None
        if point is None:
            return None
        return max(point[0], 1.0) / max(tokens_per_s, self.tokens_per_s[0] * free)

    def mean_itl_s(self, tokens_per_s: float, free: float) -> float:
        """``itl_s``, and beyond saturation that of a full KV cache, growing with the shortage."""
        steady = self.itl_s(tokens_per_s, free)
        most = self.tokens_per_s[-1] * free
        return self.sequences[-1] / most * max(1.0, tokens_per_s / most) if steady is None else steady

    def slow(self, n: float, free: float, tokens_per_s: float, osl: float, held: float, dispersion: float) -> float:
        """Share of requests whose ITL is above what ``held`` sequences a replica have: P(N > n · held).

        The number N of sequences in flight goes back and forth around its fixed point (Little's law):
        arrivals push it with variance rate · I, departures with rate, and it relaxes within
        τ = OSL / (dX/dN), the slower the nearer throughput X is to its ceiling. So N is normal with variance
        rate · (I + 1) · τ / 2 (Ornstein-Uhlenbeck). Beyond the fixed point's end it grows with the shortage.
        """
        each = tokens_per_s / (n * free)
        shortage = each / self.best(held) - 1.0
        point = self.in_flight(each) if shortage < 0 else None
        if point is None:
            return 0.5 + max(0.0, shortage)
        mean, slope = point
        relaxes_s = min(osl / (free * slope), tuning.LONGEST_RELAXATION_S)
        spread = math.sqrt(tokens_per_s / osl * (dispersion + 1.0) * relaxes_s / 2.0)
        return 0.5 * math.erfc(n * (held - mean) / max(spread, 1.0) / math.sqrt(2.0))


@dataclass(frozen=True, slots=True)
class DecodeModel(PoolModel):
    """A pool whose replicas decode many sequences at once; all share the step.

    Little's law gives the sequences in flight and the ITL they share; ``Decoding.slow`` how far they stray.
    """

    slowness: float
    decoding: Decoding
    alone_s: float  # ITL of a single sequence: the best reachable
    held: float  # sequences of a replica as full as the target allows
    tokens: float  # mean output of a request

    @classmethod
    def of(cls, pool: Pool, sla: Sla, load: Load, slowness: float) -> DecodeModel:
        """The model of ``pool`` whose engine takes ``slowness`` × the profiled time."""
        decoding = Decoding.of(pool.profile.decode, load.context_tokens)
        alone = slowness * decoding.alone_s
        held = decoding.within(max(sla.itl_s, alone) / slowness)
        return cls(pool, sla, load, sla.joint, slowness, decoding, alone, held, load.output_tokens.mean)

    def _miss(self, n: float, rate: float) -> float:
        if self._is_mean:
            return self._dragging(n, rate)
        above = self._above(self.held, n, rate)
        if self.promise.what is What.BOTH:
            return above
        return max(above, self.promise.measure.allowance * self._crowded(n, rate))

    def _dragging(self, n: float, rate: float) -> float:
        """Mean ITL beyond the best reachable, over what the target leaves."""
        mean = self.decoding.mean_itl_s(rate * self.tokens / n, 1.0 / self.slowness)
        return max(used_up(mean, self.alone_s, self.sla.itl_s, tuning.LEAST_SLACK - 1.0), self._crowded(n, rate))

    def _above(self, held: float, n: float, rate: float) -> float:
        """Share of requests that find more than ``held`` sequences in a replica."""
        burst = self.load.dispersion_at(rate)
        return self.decoding.slow(n, 1.0 / self.slowness, rate * self.tokens, self.tokens, held, burst)

    def _crowded(self, n: float, rate: float) -> float:
        """Share of requests that find the KV cache full, over what may: they wait to get in, or push others out."""
        return self._above(self.decoding.sequences[-1], n, rate) / tuning.CROWDED

    def busy(self, rate: float) -> float:
        return rate * self.tokens * self.slowness / self.decoding.best(self.held)

    def ttft_s(self, n: float, rate: float) -> float | None:
        return None

    def itl_s(self, n: float, rate: float) -> float | None:
        return self.decoding.itl_s(rate * self.tokens / max(n, 1e-9), 1.0 / self.slowness)

    @property
    def hopeless(self) -> float:
        return 1.0 if self.alone_s > self.sla.itl_s and not self._is_mean else 0.0

    @property
    def best_s(self) -> Mapping[What, float]:
        return {What.ITL: self.alone_s}
