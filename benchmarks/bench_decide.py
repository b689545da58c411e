"""CPU time of a full decision and of a fast look, without fits (targets: 2 ms and 0.2 ms)."""

from __future__ import annotations

import statistics
import time

from planner import config, wiring
from planner.commands._runs import built, start_of
from planner.config import SimulateSettings
from planner.core.planner import Planner
from planner.core.types import Decision, Observation, Reason
from planner.simulation.simulate import simulate


class Timed:
    """A planner that notes how long each step takes."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self.full: list[float] = []
        self.fast: list[float] = []

    def step(self, seen: Observation) -> Decision:
        started = time.thread_time()
        decision = self._planner.step(seen)
        taken = time.thread_time() - started
        (self.full if decision.reason in (Reason.SIZED, Reason.INFEASIBLE) else self.fast).append(taken)
        return decision


def main() -> None:
    for scenario in ("demo", "aggregated"):
        settings = config.load(SimulateSettings, config.find(scenario), {})
        profile, world = built(settings)
        timed = Timed(Planner(wiring.policy_of(settings, profile)))
        simulate(world, "slo", timed, start_of(settings, world))
        for name, taken in (("full decision", timed.full), ("fast look", timed.fast)):
            ordered = sorted(taken)
            print(f"{scenario:12s} {name:14s} median {1e3 * statistics.median(ordered):.3f} ms, "
                  f"p99 {1e3 * ordered[int(0.99 * len(ordered))]:.3f} ms ({len(ordered):,} steps)")  # fmt: skip


if __name__ == "__main__":
    main()
