"""Measured behaviour of one replica, and what the ``slo`` law may read from it.

Interpolation is continuous and monotone, with exact inverses. Measurements are
noisy: where a longer prompt was measured faster than a shorter one, or a fuller
batch faster than an emptier one, the points are repaired (pooled to their mean,
isotonic regression) and the repair is kept to be told.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the figures of a profile are from."""

    model: str
    gpu: str
    engine: str
    parallelism: str = ""
    precision: str = ""
    measured: bool = True  # False: estimated by a model
    date: str = ""
    source: str = ""
    licence: str = ""


@dataclass(frozen=True, slots=True)
class Repair:
    """One measured point that contradicted its neighbours, and what is read instead."""

    what: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class PrefillPoint:
    """One prompt length: time to first token alone, and throughput of one GPU."""

    isl: float
    ttft_s: float
    tokens_per_s_per_gpu: float


@dataclass(frozen=True, slots=True)
class DecodePoint:
    """One batch: share of the KV cache in use, mean context, ITL, and throughput of one GPU."""

    kv_usage: float
    context_tokens: float
    itl_s: float
    tokens_per_s_per_gpu: float


@dataclass(frozen=True, slots=True)
class PrefillCurve:
    """Prefill time of one replica by prompt length: linear between points, non-decreasing."""

    isl: tuple[float, ...]
    seconds: tuple[float, ...]
    repairs: tuple[Repair, ...] = ()

    @property
    def isl_range(self) -> tuple[float, float]:
        """Shortest and longest prompt measured, in tokens."""
        return self.isl[0], self.isl[-1]

    def service_s(self, input_tokens: float) -> float:
        """Seconds to prefill one prompt alone.

        Beyond the longest measured prompt the slope of the last quarter of the range goes on; below the
        shortest, the first slope, but never under half of the first time.
        """
        isl, seconds = self.isl, self.seconds
        if input_tokens <= isl[0]:
            slope = (seconds[1] - seconds[0]) / (isl[1] - isl[0])
            return max(0.5 * seconds[0], seconds[0] - slope * (isl[0] - input_tokens))
        if input_tokens >= isl[-1]:
            return seconds[-1] + self._last_slope * (input_tokens - isl[-1])
        i = bisect_right(isl, input_tokens)
        share = (input_tokens - isl[i - 1]) / (isl[i] - isl[i - 1])
        return seconds[i - 1] + share * (seconds[i] - seconds[i - 1])

    def input_tokens_within(self, service_s: float) -> float:
        """Longest prompt that is prefilled within ``service_s`` (0: none is)."""
        isl, seconds = self.isl, self.seconds
        if service_s >= seconds[-1]:
            return isl[-1] + (service_s - seconds[-1]) / self._last_slope
        if service_s < seconds[0]:
            slope = (seconds[1] - seconds[0]) / (isl[1] - isl[0])
            if service_s < self.service_s(0.0) or slope <= 0:
                return 0.0
            return max(0.0, isl[0] - (seconds[0] - service_s) / slope)
        i = bisect_right(seconds, service_s)
        share = (service_s - seconds[i - 1]) / (seconds[i] - seconds[i - 1])
        return isl[i - 1] + share * (isl[i] - isl[i - 1])

    @property
    def _last_slope(self) -> float:
        start = min(len(self.isl) - 2, (3 * len(self.isl)) // 4)
        rise = self.seconds[-1] - self.seconds[start]
        return max(rise / (self.isl[-1] - self.isl[start]), self.seconds[-1] / self.isl[-1] * 0.25)

    def in_range(self, input_tokens: float) -> bool:
        """Whether ``input_tokens`` lies between measured lengths."""
        return self.isl[0] <= input_tokens <= self.isl[-1]


@dataclass(frozen=True, slots=True)
class DecodeSurface:
    """ITL of one replica by sequences in flight and mean context, bilinear on a monotone grid.

    ``itl`` has one row a context, one value a number of sequences; non-decreasing both ways.
    """

    contexts: tuple[float, ...]
    sequences: tuple[float, ...]
    itl: tuple[tuple[float, ...], ...]
    kv_capacity_tokens: float
    repairs: tuple[Repair, ...] = ()

    def itl_s(self, sequences: float, context_tokens: float) -> float:
        """Seconds per output token with ``sequences`` in flight; non-decreasing in both arguments.

        Fewer than one sequence counts as one; contexts below the shortest measured count as the shortest;
        beyond the grid the last slopes go on.
        """
        row, share = self._row(context_tokens)
        i, along = self._column(sequences)
        return self._value(row, share, i - 1) * (1.0 - along) + self._value(row, share, i) * along

    def sequences_within(self, itl_s: float, context_tokens: float) -> float:
        """Most sequences in flight with ITL <= ``itl_s`` whose KV fits (0: not even one)."""
        row, share = self._row(context_tokens)
        fits = self.kv_capacity_tokens / max(context_tokens, 1.0)
        if itl_s < self._value(row, share, 0):
            return 0.0
        low, high = 0, len(self.sequences) - 1
        while low < high:  # last column with ITL <= target
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._value(row, share, middle) <= itl_s else (low, middle - 1)
        i = min(low + 1, len(self.sequences) - 1)
        left, right = self._value(row, share, i - 1), self._value(row, share, i)
        along = (itl_s - left) / (right - left) if right > left else float("inf")
        n = self.sequences[i - 1] + along * (self.sequences[i] - self.sequences[i - 1])
        return min(fits, n)

    def in_range(self, sequences: float, context_tokens: float) -> bool:
        """Whether the point lies between measured contexts and within the KV cache."""
        inside = self.contexts[0] <= context_tokens <= self.contexts[-1]
        return inside and sequences * context_tokens <= self.kv_capacity_tokens

    def _row(self, context: float) -> tuple[int, float]:
        if len(self.contexts) == 1 or context <= self.contexts[0]:
            return 0, 0.0
        i = min(bisect_left(self.contexts, context), len(self.contexts) - 1)
        return i - 1, (context - self.contexts[i - 1]) / (self.contexts[i] - self.contexts[i - 1])

    def _column(self, sequences: float) -> tuple[int, float]:
        n = max(sequences, self.sequences[0])
        i = min(max(1, bisect_left(self.sequences, n)), len(self.sequences) - 1)
        return i, (n - self.sequences[i - 1]) / (self.sequences[i] - self.sequences[i - 1])

    def _value(self, row: int, share: float, column: int) -> float:
        here = self.itl[row][column]
        return here if share == 0.0 else here + share * (self.itl[row + 1][column] - here)


@dataclass(frozen=True, slots=True)
class Profile:
    """How one replica of a model on a kind of GPU behaves, and where that is known from."""

    name: str
    provenance: Provenance
    gpus_per_replica: int
    prefill_points: tuple[PrefillPoint, ...]
    decode_points: tuple[DecodePoint, ...]
    max_kv_tokens: float
    prefill: PrefillCurve = field(init=False)
    decode: DecodeSurface = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "prefill", prefill_curve(self.prefill_points))
        object.__setattr__(self, "decode", decode_surface(self.decode_points, self.max_kv_tokens))

    @property
    def repairs(self) -> tuple[Repair, ...]:
        """Every point that is read differently from how it was measured."""
        return self.prefill.repairs + self.decode.repairs


def prefill_curve(points: Sequence[PrefillPoint]) -> PrefillCurve:
    """The monotone curve through the points (at least two)."""
    ordered = sorted(points, key=lambda p: p.isl)
    raw = [p.ttft_s for p in ordered]
    smooth = isotonic(raw)
    repairs = tuple(
        Repair(f"prefill time at ISL {p.isl:g}", p.ttft_s, s)
        for p, s in zip(ordered, smooth, strict=True)
        if abs(s - p.ttft_s) > 1e-9
    )
    return PrefillCurve(tuple(p.isl for p in ordered), tuple(smooth), repairs)


def decode_surface(points: Sequence[DecodePoint], max_kv_tokens: float) -> DecodeSurface:
    """The monotone surface through the points.

    The sequences that really shared a step follow from Little's law (throughput × ITL): an engine that
    limits its batch runs fewer than the KV usage offered to it would hold.
    """
    contexts = sorted({p.context_tokens for p in points})
    rows: list[list[tuple[float, float]]] = []
    repairs: list[Repair] = []
    for context in contexts:
        mine = sorted((_sequences(p, max_kv_tokens), p.itl_s) for p in points if p.context_tokens == context)
        smooth = isotonic([itl for _, itl in mine])
        repairs += [
            Repair(f"ITL of {n:.0f} sequences at context {context:g}", itl, s)
            for (n, itl), s in zip(mine, smooth, strict=True)
            if abs(s - itl) > 1e-9
        ]
        rows.append(_deduplicated([(n, s) for (n, _), s in zip(mine, smooth, strict=True)]))
    grid = sorted({1.0, *(n for row in rows for n, _ in row if n > 1.0), max_kv_tokens / contexts[0]})
    table = [[_along(row, n) for n in grid] for row in rows]
    for above, below in zip(table, table[1:], strict=False):
        below[:] = [max(a, b) for a, b in zip(above, below, strict=True)]
    monotone = tuple(tuple(accumulate(row, max)) for row in table)
    return DecodeSurface(tuple(contexts), tuple(grid), monotone, max_kv_tokens, tuple(repairs))


def isotonic(values: Sequence[float]) -> list[float]:
    """Non-decreasing values nearest to ``values`` in squares (pool adjacent violators)."""
    blocks: list[tuple[float, int]] = []  # mean, count
    for value in values:
        blocks.append((value, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, na), (b, nb) = blocks[-2], blocks[-1]
            blocks[-2:] = [((a * na + b * nb) / (na + nb), na + nb)]
    return [mean for mean, count in blocks for _ in range(count)]


def _sequences(point: DecodePoint, max_kv_tokens: float) -> float:
    offered = point.kv_usage * max_kv_tokens / point.context_tokens
    shared = point.tokens_per_s_per_gpu * point.itl_s
    return max(1.0, min(offered, shared) if shared > 0 else offered)


def _deduplicated(row: list[tuple[float, float]]) -> list[tuple[float, float]]:
    kept: list[tuple[float, float]] = []
    for n, itl in row:
        if kept and n - kept[-1][0] < 1e-6:
            kept[-1] = (n, max(itl, kept[-1][1]))
        else:
            kept.append((n, itl))
    return kept


def _along(row: list[tuple[float, float]], n: float) -> float:
    """ITL of one context's points at ``n`` sequences: linear between, the overall slope beyond."""
    if len(row) == 1:
        return row[0][1]
    if n >= row[-1][0]:
        overall = (row[-1][1] - row[0][1]) / (row[-1][0] - row[0][0])
        return row[-1][1] + overall * (n - row[-1][0])
    i = max(1, bisect_right([x for x, _ in row], n))
    (x0, y0), (x1, y1) = row[i - 1], row[i]
    return max(row[0][1], y0 + (y1 - y0) * (n - x0) / (x1 - x0))
