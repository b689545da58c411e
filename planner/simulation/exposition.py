"""What the simulated stack exposes, in the shape a scrape of the real one has.

Bucket edges are those of NVIDIA Dynamo's frontend: a policy in simulation sees
no finer than one in a cluster.
"""

from __future__ import annotations

from collections.abc import Mapping

from planner.core.buckets import DYNAMO_BUCKETS
from planner.core.observe import Cumulative, FrontDoor, Scrape
from planner.core.types import PoolReading
from planner.simulation.engine import Counters


def scrape(at: float, counters: Counters, pools: Mapping[str, PoolReading],
           workers: Mapping[str, Mapping[str, Cumulative]]) -> Scrape:  # fmt: skip
    """The plant's counters as one frontend's exposition, its workers' beside it."""
    front = FrontDoor(
        started=float(counters.started),
        finished=float(counters.finished),
        cached_tokens=float(counters.cached_tokens),
        generated_tokens=float(counters.generated_tokens),
        input_tokens=cumulative("input_tokens", counters.input_tokens, counters.input_tokens_sum),
        output_tokens=cumulative("output_tokens", counters.output_tokens, counters.output_tokens_sum),
        ttft=cumulative("ttft", counters.ttft, counters.ttft_sum),
        itl=cumulative("itl", counters.itl, counters.itl_sum),
        duration=cumulative("duration", counters.duration, counters.duration_sum),
    )
    return Scrape(at, {"frontend-0": front}, pools, workers)
