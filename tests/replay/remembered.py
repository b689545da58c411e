"""A Prometheus that remembers a day nobody lived: a plant with a fixed fleet serves known rates, and what its front
door and workers would have exposed at every scrape is written into the server's database.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TextIO

import pytest

from planner import config, wiring
from planner.core.buckets import DYNAMO_BUCKETS
from planner.simulation.cluster import SimulatedCluster
from planner.simulation.engine import Counters
from planner.simulation.simulate import World
from tests.adapters.prometheus.stand import prometheus

FRONT = "dynamo_frontend_"
SPREADS = {
    "input_tokens": "input_sequence_tokens",
    "output_tokens": "output_sequence_tokens",
    "ttft": "time_to_first_token_seconds",
    "itl": "inter_token_latency_seconds",
    "duration": "request_duration_seconds",
}
LABELS = 'instance="front:8000",job="frontend",model="llama"'


@dataclass(frozen=True)
class Day:
    """What was remembered."""

    url: str
    start: float
    end: float
    fleet: Mapping[str, int]
    rates: Path  # the same as a table for simulate
    world: World


@contextmanager
def remembered(folder: Path, rates: Path, start: float, fleet: Mapping[str, int], scrape_s: float,
               away: tuple[float, float] | None = None) -> Iterator[Day]:  # fmt: skip
    """The server, with the traffic of ``rates`` served by ``fleet`` from ``start`` on; ``away`` was not scraped."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool: apt-get install prometheus")
    settings = config.load(config.SimulateSettings, None, {
        "profile": "h200-llama31-8b-fp8-tp1", "sla.ttft": "500ms", "sla.itl": "25ms", "traffic.source": str(rates),
        "traffic.lengths": "azure2023_conv", "traffic.dispersion": 8.0,
    })  # fmt: skip
    world = wiring.world_of(settings, wiring.profile_of(settings))
    text = folder / "day.om"
    with text.open("w") as file:
        _write(file, world, start, fleet, scrape_s, away)
    subprocess.run([promtool, "tsdb", "create-blocks-from", "openmetrics", str(text), str(folder / "data")],
                   check=True, capture_output=True)  # fmt: skip
    with prometheus(folder, "global: {}\n", "--storage.tsdb.retention.time=10y") as url:
        yield Day(url, start, start + world.traffic.duration_s, fleet, rates, world)


def _write(file: TextIO, world: World, start: float, fleet: Mapping[str, int], scrape_s: float,
           away: tuple[float, float] | None) -> None:  # fmt: skip
    """One exposition for every scrape, as OpenMetrics with timestamps."""
    cluster = SimulatedCluster(world.new_plant(), fleet, world.startup)
    for i in range(int(world.traffic.duration_s / scrape_s) + 1):
        at = i * scrape_s
        seen = cluster.observe(at)
        if away is not None and away[0] <= at < away[1]:
            continue
        lines = [f"up{{{LABELS}}} 1", *_front(cluster.plant.counters())]
        for pool, reading in seen.pools.items():
            for number in range(reading.ready):
                own = f'instance="{pool}-{number}",job="{pool}"'
                busy = (reading.running or 0.0) / reading.ready
                lines += [f"up{{{own}}} 1", f"dynamo_component_uptime_seconds{{{own}}} {at}",
                          f'dynamo_component_inflight_requests{{{own},dynamo_endpoint="generate"}} {busy}',
                          f"dynamo_request_queue{{{own}}} {(reading.waiting or 0.0) / reading.ready}"]  # fmt: skip
                if pool == "decode":
                    lines.append(f"dynamo_component_gpu_cache_usage_percent{{{own}}} {reading.kv_usage or 0.0}")
        file.writelines(f"{line} {start + at}\n" for line in lines)
    file.write("# EOF\n")


def _front(counters: Counters) -> Iterator[str]:
    yield f"{FRONT}model_ready{{{LABELS}}} 1"
    yield f"{FRONT}requests_started_total{{{LABELS}}} {counters.started}"
    yield f"{FRONT}requests_total{{{LABELS}}} {counters.finished}"
    yield f"{FRONT}cached_tokens_sum{{{LABELS}}} {counters.cached_tokens}"
    yield f"{FRONT}output_tokens_total{{{LABELS}}} {counters.generated_tokens}"
    for signal, name in SPREADS.items():
        counted = list(accumulate(getattr(counters, signal).tolist()))
        for edge, count in zip(DYNAMO_BUCKETS[signal], counted, strict=True):
            le = "+Inf" if edge == float("inf") else f"{edge:g}"
            yield f'{FRONT}{name}_bucket{{{LABELS},le="{le}"}} {count}'
        yield f"{FRONT}{name}_sum{{{LABELS}}} {getattr(counters, f'{signal}_sum')}"
        yield f"{FRONT}{name}_count{{{LABELS}}} {counted[-1]}"
