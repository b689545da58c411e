"""What is read from a profile's points: continuous, increasing, and quick.

A decision reads them hundreds of times, so they are plain Python on short tuples: under a microsecond a call.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from planner.core.profile_shape import DecodeShape, PrefillShape


@dataclass(frozen=True, slots=True)
class Repair:
    """One measured point that contradicts its neighbours, and what is read there instead; seconds."""

    what: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class PrefillCurve:
    """Prefill time of one replica by prompt length: linear between points, its physical shape beyond them."""

    isl: tuple[float, ...]
    seconds: tuple[float, ...]
    shape: PrefillShape
    repairs: tuple[Repair, ...] = ()

    @property
    def isl_range(self) -> tuple[float, float]:
        """Shortest and longest prompt measured, in tokens."""
        return self.isl[0], self.isl[-1]

    def service_s(self, input_tokens: float) -> float:
        """Seconds to prefill one prompt alone; increasing."""
        isl, seconds = self.isl, self.seconds
        if not isl[0] <= input_tokens <= isl[-1]:
            end = 0 if input_tokens < isl[0] else -1
            return seconds[end] * self.shape.seconds(input_tokens) / self.shape.seconds(isl[end])
        i = bisect_right(isl, input_tokens, 1, len(isl) - 1)
        share = (input_tokens - isl[i - 1]) / (isl[i] - isl[i - 1])
        return seconds[i - 1] + share * (seconds[i] - seconds[i - 1])


@dataclass(frozen=True, slots=True)
class DecodeSurface:
    """ITL of one replica by sequences in flight and mean context: bilinear between the nodes of a grid.

    ``itl`` has one row a context and one value a number of sequences, increasing both ways. The grid reaches
    from no context to one that fills the KV cache: beyond the measured points its nodes follow the physical
    shape, which is bilinear too.
    """

    contexts: tuple[float, ...]
    sequences: tuple[float, ...]
    itl: tuple[tuple[float, ...], ...]
    kv_capacity_tokens: float
    reach: tuple[tuple[float, float], ...]  # (context, largest KV usage measured there in tokens)
    shape: DecodeShape
    repairs: tuple[Repair, ...] = ()

    @property
    def context_range(self) -> tuple[float, float]:
        """Shortest and longest mean context measured, in tokens."""
        return self.reach[0][0], self.reach[-1][0]

    def itl_s(self, sequences: float, context_tokens: float) -> float:
        """Seconds per output token with ``sequences`` in flight; increasing in both arguments.

        Fewer than one sequence counts as one. Batches that do not fit the KV cache are answered as if they
        did: what preemption costs is not in a profile.
        """
        rows, columns = self.contexts, self.sequences
        i = bisect_right(rows, context_tokens, 1, len(rows) - 1)
        down = (context_tokens - rows[i - 1]) / (rows[i] - rows[i - 1])
        if sequences < 1.0:
            sequences = 1.0
        j = bisect_right(columns, sequences, 1, len(columns) - 1)
        along = (sequences - columns[j - 1]) / (columns[j] - columns[j - 1])
        near, far = self.itl[i - 1], self.itl[i]
        left = near[j - 1] + down * (far[j - 1] - near[j - 1])
        return left + along * (near[j] + down * (far[j] - near[j]) - left)

    def sequences_within(self, itl_s: float, context_tokens: float) -> float:
        """Most sequences in flight with ITL <= ``itl_s`` whose KV fits (0: not even one).

        The inverse of ``itl_s`` where the KV cache is not the limit.
        """
        rows, columns = self.contexts, self.sequences
        i = bisect_right(rows, context_tokens, 1, len(rows) - 1)
        down = (context_tokens - rows[i - 1]) / (rows[i] - rows[i - 1])
        near, far = self.itl[i - 1], self.itl[i]
        if itl_s < near[0] + down * (far[0] - near[0]):
            return 0.0
        low, high = bisect_right(far, itl_s, 1), bisect_right(near, itl_s, 1)  # far is the slower row
        if down > 1.0:
            low = 1
        low, high = min(low, len(columns) - 1), min(high, len(columns) - 1)
        while low < high:  # first column with ITL above the target, or the last there is
            middle = (low + high) // 2
            if near[middle] + down * (far[middle] - near[middle]) > itl_s:
                high = middle
            else:
                low = middle + 1
        left = near[low - 1] + down * (far[low - 1] - near[low - 1])
        right = near[low] + down * (far[low] - near[low])
        n = columns[low - 1] + (itl_s - left) / (right - left) * (columns[low] - columns[low - 1])
        return min(n, self.kv_capacity_tokens / max(context_tokens, 1.0))
