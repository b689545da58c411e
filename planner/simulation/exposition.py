"""What the simulated stack exposes, in the shape a scrape of the real one has.

Bucket edges are those of NVIDIA Dynamo's frontend: a policy in simulation sees
no finer than one in a cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from planner.core.buckets import DYNAMO_BUCKETS
from planner.core.observe import ByWorker, Cumulative, FrontDoor, Scrape
from planner.core.types import PoolReading, WorkerReading
from planner.simulation.engine import Counters, Plant
from planner.simulation.engine.plant import WorkerGauges

FRONTEND = "frontend-0"


def scrape(at: float, counters: Counters, pools: Mapping[str, PoolReading],
           steps: ByWorker, request_itl: ByWorker) -> Scrape:  # fmt: skip
    """The plant's counters as one frontend's exposition, its workers' beside it."""
    front = FrontDoor(
        started=float(counters.started),
        finished=float(counters.finished),
        cached_tokens=counters.cached_tokens,
        generated_tokens=counters.generated_tokens,
        input_tokens=cumulative("input_tokens", counters.input_tokens, counters.input_tokens_sum),
        output_tokens=cumulative("output_tokens", counters.output_tokens, counters.output_tokens_sum),
        ttft=cumulative("ttft", counters.ttft, counters.ttft_sum),
        itl=cumulative("itl", counters.itl, counters.itl_sum),
        duration=cumulative("duration", counters.duration, counters.duration_sum),
    )
    return Scrape(at, {FRONTEND: front}, pools, steps, request_itl=request_itl)


def cumulative(signal: str, counts: NDArray[np.float64], total: float) -> Cumulative:
    """Counts per bucket as Prometheus exposes them."""
    return Cumulative(DYNAMO_BUCKETS[signal], tuple(accumulate(counts.tolist())), total)


def pool_gauges(
    plant: Plant, pool: str, serving: set[int], reading: PoolReading
) -> tuple[PoolReading, dict[str, Cumulative], dict[str, Cumulative]]:
    """A pool's gauges and its workers' ITL, by token gap and (aggregated) by request, as their own ``/metrics`` show.

    Draining workers are scraped until they end; what they do counts as running, not as ready.
    """
    workers = plant.gauges(pool)
    prompts = plant.prefilling(pool)
    usage = [w.kv_usage for number, w in workers.items() if number in serving]
    filled = replace(
        reading,
        running=float(sum(w.running for w in workers.values())),
        waiting=float(sum(w.waiting for w in workers.values())),
        pending_tokens=float(sum(w.pending_tokens for w in workers.values())),
        kv_usage=sum(usage) / len(usage) if usage else None,
        kv_usage_max=max(usage, default=None),
        backlog=tuple(float(w.waiting) for number, w in workers.items() if number in serving),
        workers=tuple(
            _worker(number, w, *prompts.get(number, (0.0, 0.0))) for number, w in workers.items() if number in serving
        ),
    )
    speaking = {str(number): w for number, w in workers.items() if w.itl_sum > 0}
    steps = {name: cumulative("itl", w.itl, w.itl_sum) for name, w in speaking.items()}
    if plant.parameters.pool(pool).role != "aggregated":
        return filled, steps, {}
    own = {name: cumulative("request_itl", w.request_itl, w.request_itl_sum) for name, w in speaking.items()}
    return filled, steps, own


def _worker(number: int, gauges: WorkerGauges, prompt_tokens: float, prompt_s: float) -> WorkerReading:
    return WorkerReading(
        name=str(number),
        running=float(gauges.running),
        waiting=float(gauges.waiting),
        waiting_tokens=gauges.waiting_tokens,
        kv_usage=gauges.kv_usage,
        gaps=float(gauges.itl.sum()),
        gaps_s=gauges.itl_sum,
        prompt_tokens=prompt_tokens,
        prompt_s=prompt_s,
    )
