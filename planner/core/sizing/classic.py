"""The classic law, exact: the SLA planner as NVIDIA Dynamo 0.4-0.9 computes it.

    prefill = ceil(requests · isl / interval · min(1, p_correction) / prefill_speed(isl) / gpus)
    decode  = ceil(requests · osl / interval / best_speed(itl / d_correction, isl + osl / 2) / gpus)

The baseline, not the product: the TTFT target never enters, utilisation is
sized to 1, an unreachable ITL reads the first grid column, and rounding may
exceed the GPU budget. ``tests/reference`` holds it to recorded cases.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from planner.core.policy import Pool
from planner.core.profiles import Profile
from planner.core.sizing.classic_interpolation import tables
from planner.core.types import Role


def pair(pools: Iterable[Pool]) -> tuple[Pool, Pool]:
    """The two pools that the law sizes, prefill and decode.

    Raises:
        ValueError: the deployment has others.
    """
    roles = {pool.role: pool for pool in pools}
    if set(roles) != {Role.PREFILL, Role.DECODE}:
        raise ValueError("the classic law sizes one prefill and one decode pool; use --law slo for aggregated pools")
    return roles[Role.PREFILL], roles[Role.DECODE]


def size(
    profile: Profile,
    *,
    requests: float,
    isl: float,
    osl: float,
    interval_s: float,
    itl_s: float,
    prefill_correction: float = 1.0,
    decode_correction: float = 1.0,
    prefill_gpus: int = 1,
    decode_gpus: int = 1,
    min_endpoint: int = 1,
    budget: int | None = None,
    prefill_speed: float | None = None,
    decode_speed: float | None = None,
) -> tuple[int, int]:
    """(prefill, decode) replicas for ``requests`` in the next interval.

    The speeds (tokens per second and GPU) come from the profile unless they are given.
    """
    if prefill_speed is None:
        prefill_speed = tables(profile).prefill(isl)[1]
    if decode_speed is None:
        target = itl_s / decode_correction if decode_correction > 0 else itl_s
        decode_speed = tables(profile).best_speed(target, isl + osl / 2)[0]
    prefill = math.ceil(requests * isl / interval_s * min(1.0, prefill_correction) / prefill_speed / prefill_gpus)
    decode = math.ceil(requests * osl / interval_s / decode_speed / decode_gpus)
    prefill, decode = max(min_endpoint, prefill), max(min_endpoint, decode)
    total = prefill * prefill_gpus + decode * decode_gpus
    if budget is not None and total > budget:
        prefill = max(min_endpoint, round(prefill * budget / total))
        decode = max(min_endpoint, round((budget - prefill * prefill_gpus) / decode_gpus))
    return prefill, decode


def corrections(
    profile: Profile,
    *,
    observed_ttft_s: float,
    observed_itl_s: float,
    requests: float,
    isl: float,
    osl: float,
    duration_s: float,
    decode_replicas: int,
    interval_s: float,
) -> tuple[float, float]:
    """(prefill, decode) corrections: observed latency over the profile's, queueing and all.

    Raises:
        ZeroDivisionError: there is no decode replica.
    """
    known = tables(profile)
    concurrency = requests / decode_replicas * duration_s / interval_s
    return (
        observed_ttft_s / known.prefill(isl)[0],
        observed_itl_s / known.decode(concurrency, isl + osl / 2)[0],
    )
