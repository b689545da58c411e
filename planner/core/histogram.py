"""Counts in buckets: what a Prometheus histogram said over one window."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class Histogram:
    """Increases over a window, one count per bucket (not cumulative).

    ``edges`` are the upper bounds, ascending, the last one ``inf``; ``counts``
    has the same length. ``total`` is the sum of the observed values.
    """

    edges: tuple[float, ...]
    counts: tuple[float, ...]
    total: float

    @property
    def count(self) -> float:
        """How many values were observed."""
        return sum(self.counts)

    @property
    def mean(self) -> float | None:
        """Mean of the observed values; ``None`` when nothing was observed."""
        n = self.count
        return self.total / n if n > 0 else None

    def share_at_most(self, value: float) -> tuple[float, float] | None:
        """Bracket of the share of values <= ``value``: the edges below and above it say.

        Equal ends when ``value`` is an edge. ``None`` when nothing was observed.
        """
        n = self.count
        if n <= 0:
            return None
        below = list(accumulate(self.counts))
        i = bisect_left(self.edges, value)
        high = below[i] / n if i < len(below) else 1.0
        if i < len(self.edges) and self.edges[i] == value:
            return high, high
        low = below[i - 1] / n if i > 0 else 0.0
        return low, high

    def plus(self, other: Histogram) -> Histogram:
        """Both windows together; the edges must be the same."""
        if self.edges != other.edges:
            raise ValueError(f"histograms with different edges: {self.edges} and {other.edges}")
        counts = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return Histogram(self.edges, counts, self.total + other.total)


def mean_of(histogram: Histogram | None) -> float | None:
    """Mean of the observed values; ``None`` where nothing was measured or observed."""
    return histogram.mean if histogram is not None else None


def joined(*parts: Histogram | None) -> Histogram | None:
    """Windows one after the other, as one; ``None`` where none was measured.

    Where the edges changed on the way, those of the end count, and what was counted by them.
    """
    whole: Histogram | None = None
    for part in parts:
        if part is not None:
            whole = whole.plus(part) if whole is not None and whole.edges == part.edges else part
    return whole
