"""One policy on one stretch of traffic: the one loop, on virtual time, over the plant."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from planner import loop
from planner.core.buckets import DYNAMO_BUCKETS
from planner.core.types import Decision, Observation
from planner.ports import Decider, DecisionSink, Step
from planner.simulation.cluster import SimulatedCluster, VirtualClock
from planner.simulation.engine import Plant, PlantParameters
from planner.simulation.run import Promise, Run
from planner.simulation.supply import Failures, GpuSupply, Startup
from planner.simulation.traffic.types import Traffic

GRACE_S = 600.0
"""What is unfinished so long after the end of the window counts as missed."""
Progress = Callable[[float], None]
"""Told the share of the window that has been simulated, 0 … 1."""


@dataclass(frozen=True, slots=True)
class World:
    """Everything that is the same for all policies that are compared."""

    traffic: Traffic
    promise: Promise
    plant: PlantParameters
    pools: Sequence[str]
    gpus_per_replica: Mapping[str, int]
    startup: Startup = field(default_factory=Startup)
    failures: Failures = field(default_factory=Failures)
    supply: GpuSupply = field(default_factory=GpuSupply)
    scrape_s: float = 5.0
    seed: int = 1
    notes: tuple[str, ...] = ()

    def new_plant(self) -> Plant:
        """The plant before anyone arrived."""
        t = self.traffic
        return Plant(
            t.arrivals_s,
            t.input_tokens,
            t.output_tokens,
            self.plant,
            self.pools,
            DYNAMO_BUCKETS,
            t.block_ids,
            t.block_starts,
        )

    def new_cluster(self, initial: Mapping[str, int]) -> SimulatedCluster:
        """The cluster that a policy sees, with ``initial`` replicas ready at the start."""
        return SimulatedCluster(
            self.new_plant(),
            initial,
            self.startup,
            self.traffic.epoch_s,
            self.failures,
            self.supply,
            self.gpus_per_replica,
        )

    def ended(self, policy: str, cluster: SimulatedCluster, steps: Sequence[Step], started: float) -> Run:
        """What a run leaves behind once all that is under way has been served; ``started``: ``time.perf_counter``."""
        cluster.finish(self.traffic.duration_s + GRACE_S)
        ttft, itl = cluster.plant.outcomes()
        return Run(
            policy=policy,
            traffic=self.traffic,
            promise=self.promise,
            ttft_s=ttft,
            itl_s=itl,
            spans=cluster.spans,
            gpus_per_replica=self.gpus_per_replica,
            steps=steps,
            seed=self.seed,
            wall_seconds=time.perf_counter() - started,
            plant_seconds=cluster.plant_seconds,
            notes=(*self.traffic.notes, *self.notes),
        )


@dataclass(slots=True)
class _Recorder:
    """A sink that keeps every step and tells how far the run is."""

    world: World
    progress: Progress | None
    steps: list[Step] = field(default_factory=list)

    def record(self, seen: Observation, decision: Decision, error: str = "") -> None:
        self.steps.append(Step(seen, decision, error))
        if self.progress is not None and len(self.steps) % 50 == 0:
            self.progress(min(1.0, (seen.at - self.world.traffic.epoch_s) / self.world.traffic.duration_s))


def simulate(
    world: World,
    policy: str,
    planner: Decider,
    initial: Mapping[str, int],
    sinks: Sequence[DecisionSink] = (),
    progress: Progress | None = None,
) -> Run:
    """Run ``planner`` from ``initial`` replicas (ready at the start) through the traffic of ``world``."""
    started = time.perf_counter()
    traffic = world.traffic
    cluster = world.new_cluster(initial)
    clock = VirtualClock(traffic.epoch_s, traffic.epoch_s + traffic.duration_s)
    recorder = _Recorder(world, progress)
    loop.run(cluster, planner, cluster, clock, world.scrape_s, [recorder, *sinks])
    run = world.ended(policy, cluster, recorder.steps, started)
    if progress is not None:
        progress(1.0)
    return run
