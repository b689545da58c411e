"""Measured behaviour of one replica, and what may be read from it."""

from __future__ import annotations

from typing import Protocol


class PrefillCurve(Protocol):
    """Prefill speed of one replica as ``slo`` believes it: continuous and monotone in ISL."""

    isl_range: tuple[float, float]

    def service_s(self, input_tokens: float) -> float:
        """Seconds to prefill one prompt alone. Extrapolates beyond the range; non-decreasing."""

    def input_tokens_within(self, service_s: float) -> float:
        """Longest prompt that is prefilled within ``service_s`` (exact inverse)."""


class DecodeSurface(Protocol):
    """Decode speed of one replica: ITL continuous and monotone in sequences and context."""

    kv_capacity_tokens: float

    def itl_s(self, sequences: float, context_tokens: float) -> float:
        """Seconds per output token with ``sequences`` in flight at a mean context; non-decreasing in both."""

    def sequences_within(self, itl_s: float, context_tokens: float) -> float:
        """Most sequences in flight with ITL <= ``itl_s`` and KV inside capacity (exact inverse; 0 if none)."""
