"""From cumulative counters to one window: the only way a measurement enters.

A scrape is what Prometheus holds at one moment: counters since some start,
gauges now. Two scrapes make a window. The simulated cluster and the live
source both come through here, so a policy sees the same thing in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from planner.core.histogram import Histogram
from planner.core.types import Observation, PoolReading, Window


@dataclass(frozen=True, slots=True)
class Cumulative:
    """A Prometheus histogram as exposed: cumulative in ``le`` and in time."""

    edges: tuple[float, ...]  # upper bounds, ascending, last is inf
    buckets: tuple[float, ...]  # count of values <= edge, since the process started
    total: float  # sum of values since the process started


@dataclass(frozen=True, slots=True)
class FrontDoor:
    """One frontend instance's counters. ``None``: the series is absent."""

    started: float | None = None
    finished: float | None = None
    cached_tokens: float | None = None
    generated_tokens: float | None = None
    input_tokens: Cumulative | None = None
    output_tokens: Cumulative | None = None
    ttft: Cumulative | None = None
    itl: Cumulative | None = None
    duration: Cumulative | None = None


@dataclass(frozen=True, slots=True)
class Scrape:
    """What was exposed at ``at``: counters by frontend instance, gauges by pool."""

    at: float
    front: Mapping[str, FrontDoor]  # by instance
    pools: Mapping[str, PoolReading]  # gauges; step_seconds is filled in by ``observe``
    steps: Mapping[str, Mapping[str, Cumulative]] = field(default_factory=dict)  # pool → worker → ITL histogram
    problems: tuple[str, ...] = ()
