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
class DecodeCurve:
    """ITL of one replica by sequences in flight, at one mean context: linear between nodes."""

    sequences: tuple[float, ...]
    itl: tuple[float, ...]  # seconds, increasing
    fullest: float  # sequences whose KV fits

    def itl_s(self, sequences: float) -> float:
        """Seconds per output token with ``sequences`` in flight; increasing.

        Fewer than one sequence counts as one. Batches that do not fit the KV cache are answered as if they
        did: what preemption costs is not in a profile.
        """
        columns, itl = self.sequences, self.itl
        if sequences < 1.0:
            sequences = 1.0
        i = bisect_right(columns, sequences, 1, len(columns) - 1)
        share = (sequences - columns[i - 1]) / (columns[i] - columns[i - 1])
        return itl[i - 1] + share * (itl[i] - itl[i - 1])

    def sequences_within(self, itl_s: float) -> float:
        """Most sequences in flight with ITL <= ``itl_s`` whose KV fits (0: not even one).

        The inverse of ``itl_s`` where the KV cache is not the limit.
        """
        columns, itl = self.sequences, self.itl
        if itl_s < itl[0]:
            return 0.0
        i = bisect_right(itl, itl_s, 1, len(itl) - 1)
        n = columns[i - 1] + (itl_s - itl[i - 1]) / (itl[i] - itl[i - 1]) * (columns[i] - columns[i - 1])
        return n if n < self.fullest else self.fullest


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

    def at(self, context_tokens: float) -> DecodeCurve:
        """What is read at one mean context."""
        rows = self.contexts
        i = bisect_right(rows, context_tokens, 1, len(rows) - 1)
        down = (context_tokens - rows[i - 1]) / (rows[i] - rows[i - 1])
        itl = tuple([near + down * (far - near) for near, far in zip(self.itl[i - 1], self.itl[i], strict=True)])
        return DecodeCurve(self.sequences, itl, self.kv_capacity_tokens / max(context_tokens, 1.0))

    def itl_s(self, sequences: float, context_tokens: float) -> float:
        """Seconds per output token with ``sequences`` in flight; increasing in both arguments."""
        return self.at(context_tokens).itl_s(sequences)
