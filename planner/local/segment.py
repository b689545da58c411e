"""A stretch of a trace as a small machine can serve it: hours in minutes, shorter, and fewer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from planner.simulation.traffic.load import TrafficSpec, load
from planner.simulation.traffic.types import Traffic

BUSIEST_S = 30.0
"""The rate of a run is set by its busiest stretch of this length."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Which stretch, and how it is made smaller. The shape over time and the mix of lengths stay."""

    trace: str  # shipped traffic, a file or a generator
    minutes: float  # of the run
    speed: float = 1.0  # seconds of the trace that pass in one second
    from_s: float = 0.0  # on the trace's clock
    length_scale: float = 0.25  # of prompts and answers
    tokens_per_s: float = 1_500.0  # output tokens in the busiest stretch
    longest_prompt: int = 8_000
    longest_answer: int = 400
    seed: int = 1


def traffic(segment: Segment) -> Traffic:
    """The requests of the segment.

    Raises:
        TrafficError: the trace cannot be read, or is over before the segment begins.
    """
    first = _drawn(segment, 1.0 / segment.speed)
    return _drawn(segment, segment.tokens_per_s / busiest_tokens_per_s(first) / segment.speed)


def busiest_tokens_per_s(traffic: Traffic) -> float:
    """Output tokens asked for per second in the busiest stretch."""
    stretch = min(BUSIEST_S, traffic.duration_s)
    tokens = np.bincount((traffic.arrivals_s // stretch).astype(int), weights=traffic.output_tokens)
    return float(tokens.max()) / stretch


def _drawn(segment: Segment, scale: float) -> Traffic:
    """The stretch with its rates times ``scale``, then pressed together in time and length."""
    to_s = segment.from_s + segment.minutes * 60.0 * segment.speed
    drawn = load(TrafficSpec(segment.trace, from_s=segment.from_s or None, to_s=to_s, scale=scale, seed=segment.seed))
    return replace(
        drawn,
        arrivals_s=drawn.arrivals_s / segment.speed,
        duration_s=drawn.duration_s / segment.speed,
        input_tokens=_shorter(drawn.input_tokens, segment.length_scale, segment.longest_prompt),
        output_tokens=_shorter(drawn.output_tokens, segment.length_scale, segment.longest_answer),
        block_ids=None,  # blocks do not shrink with their prompts
        block_starts=None,
    )


def _shorter(tokens: np.ndarray, scale: float, longest: int) -> np.ndarray:
    return np.clip(np.round(tokens * scale), 2, longest).astype(np.int32)
