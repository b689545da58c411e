"""Everything one simulated run leaves behind, before anyone makes figures of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from planner.core.policy import Sla
from planner.ports import Step
from planner.simulation.traffic.types import Traffic

Promise = Sla
"""What every policy is judged by."""


@dataclass(slots=True)
class WorkerSpan:
    """The life of one worker, in seconds of the traffic's clock; ``None``: not yet, or never."""

    pool: str
    asked_s: float
    ready_s: float | None = None
    draining_s: float | None = None
    ended_s: float | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One policy on one stretch of traffic.

    ``ttft_s`` and ``itl_s`` have one entry per request; NaN means that the
    request was rejected, lost, timed out or unfinished: missed on every promise.
    ``itl_s`` is 0 for a finished request with OSL 1.
    """

    policy: str
    traffic: Traffic
    promise: Promise
    ttft_s: NDArray[np.float32]
    itl_s: NDArray[np.float32]
    spans: Sequence[WorkerSpan]
    gpus_per_replica: Mapping[str, int]  # by pool
    steps: Sequence[Step]
    seed: int
    wall_seconds: float  # everything
    plant_seconds: float  # inside the engine
    notes: tuple[str, ...] = field(default=())  # e.g. "ISL beyond the profile's range: extrapolated"
