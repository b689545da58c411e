"""Degenerate plants and small traffic for tests of the engine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner.core.buckets import DYNAMO_BUCKETS
from planner.simulation.engine import Plant, PlantParameters, StepFit

SPLIT, TOGETHER = ("prefill", "decode"), ("aggregated",)
INSTANT = StepFit(1e-7, 0.0, 0.0)
H200 = StepFit(0.0044, 3.8e-5, 3.0e-8)


def queue_only(seconds_per_token: float = 1e-3, **more: object) -> PlantParameters:
    """A plant that is nothing but its prefill queue: service proportional to ISL, decode and transfer at once."""
    given: dict[str, object] = {
        "prefill_isl": (32.0, 32_000.0),
        "prefill_s": (32 * seconds_per_token, 32_000 * seconds_per_token),
        "step": INSTANT,
        "kv_capacity_tokens": 1e12,
        "transfer_base_s": 0.0,
        "transfer_per_token_s": 0.0,
        "max_sequences": 4096,
        **more,
    }
    return PlantParameters(**given)  # type: ignore[arg-type]


def engine_like(**more: object) -> PlantParameters:
    """Roughly an 8B model on an H200."""
    given: dict[str, object] = {
        "prefill_isl": (100.0, 4000.0, 16_000.0),
        "prefill_s": (0.02, 0.09, 0.37),
        "step": H200,
        "kv_capacity_tokens": 945_000.0,
        **more,
    }
    return PlantParameters(**given)  # type: ignore[arg-type]


def plant(arrivals: NDArray[np.float64], isl: object, osl: object, parameters: PlantParameters, fleet: dict[str, int],
          **blocks: object) -> Plant:  # fmt: skip
    """A plant with a ready fleet; lengths may be one number for all."""
    n = len(arrivals)
    made = Plant(
        np.asarray(arrivals, float),
        np.broadcast_to(np.asarray(isl, np.int32), n).copy(),
        np.broadcast_to(np.asarray(osl, np.int32), n).copy(),
        parameters,
        tuple(fleet),
        DYNAMO_BUCKETS,
        **blocks,  # type: ignore[arg-type]
    )
    for pool, count in fleet.items():
        made.add_many(pool, count)
    return made


def poisson(rate: float, count: int, seed: int) -> NDArray[np.float64]:
    """Arrival times of a Poisson process."""
    return np.cumsum(np.random.default_rng(seed).exponential(1.0 / rate, count))


def chat(rate: float, seconds: float, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32]]:
    """Arrivals and lengths like a chat service's."""
    rng = np.random.default_rng(seed)
    arrivals = poisson(rate, max(1, int(rate * seconds)), seed + 1)
    isl = np.clip(rng.lognormal(6.6, 0.8, len(arrivals)), 1, 12_000).astype(np.int32)
    osl = np.clip(rng.lognormal(4.8, 0.9, len(arrivals)), 1, 1500).astype(np.int32)
    return arrivals, isl, osl
