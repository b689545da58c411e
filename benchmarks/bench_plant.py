"""Speed of the plant on one core: requests per second on a day-like load, and its memory."""

from __future__ import annotations

import resource
import time

from planner import config
from planner.commands._runs import built
from planner.config import SimulateSettings
from planner.core.buckets import DYNAMO_BUCKETS
from planner.simulation.engine import Plant


def main() -> None:
    for mode, fleet in (("disaggregated", {"prefill": 13, "decode": 5}), ("aggregated", {"aggregated": 18})):
        settings = config.load(
            SimulateSettings,
            config.find("conv-day"),
            {"traffic.from": "2d", "traffic.to": "52h", "mode": mode},
        )
        _profile, world = built(settings)
        traffic = world.traffic
        for _ in range(2):  # the first may compile
            plant = Plant(
                traffic.arrivals_s,
                traffic.input_tokens,
                traffic.output_tokens,
                world.plant,
                world.pools,
                DYNAMO_BUCKETS,
            )
            for pool, count in fleet.items():
                plant.add_many(pool, count)
            started = time.perf_counter()
            at = 0.0
            while at < traffic.duration_s:
                at += 5.0
                plant.advance(at)
            seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{mode:14s} {traffic.requests:>10,} requests in {seconds:6.2f} s: {traffic.requests / seconds:>10,.0f} "
              f"requests/s, peak memory {peak:.2f} GiB")  # fmt: skip


if __name__ == "__main__":
    main()
