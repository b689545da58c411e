"""What makes the figures of a profile unusable or unbelievable, in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any, TypeGuard

from planner.core.profile_build import LEAST_DECODE, LEAST_PREFILL
from planner.core.profiles import DecodePoint, PrefillPoint, sequences_of

SLOWEST_TTFT_S = 5.0
"""No engine needs longer for its shortest profiled prompt; a larger number is in milliseconds."""
SLOWEST_ITL_S = 1.0
"""No engine needs longer for one token of its emptiest batch."""
OFF = 100.0
"""Times and throughputs that contradict each other by this factor are not in the units they should be in."""


def rows(data: Any, keys: Sequence[str], what: str, problems: list[str]) -> list[tuple[float, ...]]:
    """The well-formed points of a list of objects; what is wrong with the others joins ``problems``."""
    if not isinstance(data, list):
        problems.append(f"{what} is {_shown(data)}; it must be a list of points with {', '.join(keys)}")
        return []
    good = []
    for i, row in enumerate(data):
        found = list(_row_problems(row, keys, f"{what}[{i}]"))
        problems += found
        if not found:
            good.append(tuple(float(row[key]) for key in keys))
    return good


def doubts(
    prefill: Sequence[PrefillPoint], decode: Sequence[DecodePoint], max_kv_tokens: float | None, gpus: Mapping[str, int]
) -> Iterator[str]:
    """What is wrong with numbers that are well-formed: too few, contradictory, or in another unit."""
    yield from _prefill_doubts(prefill, gpus.get("prefill", 1))
    yield from _decode_doubts(decode, max_kv_tokens, gpus.get("decode", 1))


def _row_problems(row: Any, keys: Sequence[str], where: str) -> Iterator[str]:
    if not isinstance(row, Mapping):
        yield f"{where} is {_shown(row)}; it must be an object with {', '.join(keys)}"
        return
    yield from (f"{where}: unknown key {key!r}; known are {', '.join(keys)}" for key in row if key not in keys)
    for key in keys:
        value = row.get(key)
        if key not in row:
            yield f"{where}: missing {key!r}"
        elif not is_number(value) or value < 0:
            yield f"{where}.{key} is {_shown(value)}; it must be a number of at least 0"
        elif value == 0 and not key.startswith("tokens_per_s"):
            yield f"{where}.{key} is 0; it must be above 0"


def is_number(value: Any) -> TypeGuard[float]:
    """A finite number; truth values are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _prefill_doubts(points: Sequence[PrefillPoint], gpus: int) -> Iterator[str]:
    lengths = [p.isl for p in points]
    twice = sorted({isl for isl in lengths if lengths.count(isl) > 1})
    if len(set(lengths)) < LEAST_PREFILL:
        yield f"prefill has {len(set(lengths))} prompt lengths; at least {LEAST_PREFILL} are needed"
    yield from (f"prefill: ISL {isl:g} is there {lengths.count(isl)} times; give each length once" for isl in twice)
    if not points:
        return
    implied = [p.tokens_per_s_per_gpu * gpus * p.ttft_s / p.isl for p in points if p.tokens_per_s_per_gpu]
    yield from _unit_doubts("prefill.ttft_s", min(p.ttft_s for p in points), SLOWEST_TTFT_S, implied)


def _decode_doubts(points: Sequence[DecodePoint], max_kv_tokens: float | None, gpus: int) -> Iterator[str]:
    if len(points) < LEAST_DECODE:
        yield f"decode has {len(points)} points; at least {LEAST_DECODE} are needed"
    elif len({p.context_tokens for p in points}) < 2:
        yield "decode has a single context length; at least 2 are needed to tell what context costs"
    elif max_kv_tokens and len({f"{sequences_of(p, max_kv_tokens, gpus):.6g}" for p in points}) < 2:
        yield "decode has a single batch size; at least 2 are needed to tell what a sequence costs"
    if not points:
        return
    fullest = max(p.kv_usage for p in points)
    if fullest > 1.5:
        yield f"decode.kv_usage reaches {fullest:g}: a share from 0 to 1 is expected, this looks like percent"
    implied = [_implied(p, max_kv_tokens, gpus) for p in points if p.tokens_per_s_per_gpu and max_kv_tokens]
    yield from _unit_doubts("decode.itl_s", min(p.itl_s for p in points), SLOWEST_ITL_S, implied)


def _unit_doubts(figure: str, quickest: float, slowest: float, implied: Sequence[float]) -> Iterator[str]:
    """Whether times are in seconds; ``implied``: each over what throughput makes of it, near 1 in matching units."""
    off = median(implied) if implied else 1.0
    if quickest > slowest or off > OFF:
        yield f"{figure} starts at {quickest:g}: seconds are expected, this looks like milliseconds"
    elif off < 1 / OFF:
        yield (
            f"{figure} starts at {quickest:g}, {1 / off:.0f} times quicker than its throughput says: "
            "is it in seconds, or divided by 1000 once too often?"
        )


def _implied(point: DecodePoint, max_kv_tokens: float | None, gpus: int) -> float:
    """Sequences that throughput × ITL make, over those that the KV usage holds: near 1 in matching units."""
    offered = max(1.0, point.kv_usage * (max_kv_tokens or 0.0) / point.context_tokens)
    return point.tokens_per_s_per_gpu * gpus * point.itl_s / offered


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
