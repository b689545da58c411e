"""The plant as a cluster: the loop's source, target and clock in one, on virtual time.

A worker is asked for, gets its GPUs (at once, where there are some), starts
for a while, serves, drains and ends. GPU-hours are counted from having GPUs to
ending. The policy sees only what a scrape shows, through the code that reads
Prometheus; there a worker without GPUs looks like one that starts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from planner.core.observe import Scrape, observe
from planner.core.types import Decision, Observation, PoolReading
from planner.simulation.engine import Plant
from planner.simulation.exposition import pool_gauges, scrape
from planner.simulation.run import WorkerSpan
from planner.simulation.supply import Failures, GpuSupply, Startup


@dataclass(slots=True)
class _Worker:
    pool: str
    asked_s: float
    startup_s: float  # from having its GPUs to serving; infinite: never
    lifetime_s: float  # of serving, until it dies
    span: WorkerSpan | None = None  # once it has its GPUs
    ready_s: float = math.inf  # when it is going to serve
    number: int | None = None  # in the plant, once it serves


@dataclass(slots=True)
class _Fleet:
    """The workers of one pool, each list in the order of asking."""

    pending: list[_Worker] = field(default_factory=list)  # without GPUs
    starting: list[_Worker] = field(default_factory=list)
    serving: list[_Worker] = field(default_factory=list)
    draining: list[_Worker] = field(default_factory=list)
    asked: int = 0  # ever
    startups_s: list[float] = field(default_factory=list)  # since the last scrape

    @property
    def requested(self) -> int:
        return len(self.pending) + len(self.starting) + len(self.serving)

    @property
    def holding(self) -> int:
        """Workers that have their GPUs."""
        return len(self.starting) + len(self.serving) + len(self.draining)


class SimulatedCluster:
    """``MetricsSource`` and ``ScaleTarget`` over a plant; time is the traffic's clock plus ``epoch_s``.

    It keeps the number of workers that was asked for, as a Deployment does: one that dies is replaced at
    once, and a worker for which there are no GPUs stays pending until there are, or until it is taken back.
    """

    def __init__(
        self,
        plant: Plant,
        initial: Mapping[str, int],
        startup: Startup,
        epoch_s: float = 0.0,
        failures: Failures | None = None,
        supply: GpuSupply | None = None,
        gpus_per_replica: Mapping[str, int] | None = None,
    ) -> None:
        self.plant = plant
        self.spans: list[WorkerSpan] = []
        self.plant_seconds = 0.0  # wall time spent inside the engine
        self._startup, self._epoch_s = startup, epoch_s
        self._failures, self._supply = failures or Failures(), supply or GpuSupply()
        self._gpus = gpus_per_replica or dict.fromkeys(initial, 1)
        self._fleets = {pool: _Fleet() for pool in initial}
        self._before: Scrape | None = None
        for pool, fleet in self._fleets.items():
            for _ in range(initial[pool]):  # there before the run begins, whatever the supply
                worker = self._ask(pool, 0.0, 0.0)
                self._take(fleet, worker, 0.0)
        self._advance(0.0)

    def observe(self, at: float) -> Observation:
        """Let the plant run up to ``at`` and look at what it exposes."""
        self._advance(at - self._epoch_s)
        now = self._scrape(at)
        seen = observe(self._before, now)
        self._before = now
        return seen

    def apply(self, decision: Decision) -> None:
        """Ask for more workers, or take back those that do not serve yet and drain the newest."""
        now = decision.at - self._epoch_s
        for pool, wanted in decision.replicas.items():
            fleet = self._fleets[pool]
            while fleet.requested < wanted:
                self._ask(pool, now, self._startup.draw_s(pool, fleet.asked))
            while fleet.requested > wanted:
                self._release(fleet, now)
        self._grant(now)
        self._advance(now)

    def finish(self, at_s: float) -> None:
        """Let what is in flight come to its end with the fleet as it is, up to ``at_s`` of the traffic's clock."""
        self._advance(at_s)

    def _ask(self, pool: str, now: float, startup_s: float) -> _Worker:
        fleet = self._fleets[pool]
        worker = _Worker(pool, now, startup_s, self._failures.draw_s(pool, fleet.asked))
        fleet.pending.append(worker)
        fleet.asked += 1
        return worker

    def _grant(self, now: float) -> None:
        """Give GPUs to those that wait for them, oldest first; whoever fits need not wait for one that does not."""
        waiting = [worker for fleet in self._fleets.values() for worker in fleet.pending]
        if not waiting:
            return
        used = sum(fleet.holding * self._gpus[pool] for pool, fleet in self._fleets.items())
        for worker in sorted(waiting, key=lambda w: w.asked_s):
            if self._supply.gives(now, used, self._gpus[worker.pool]):
                used += self._gpus[worker.pool]
                self._take(self._fleets[worker.pool], worker, now)

    def _take(self, fleet: _Fleet, worker: _Worker, now: float) -> None:
        """From here on it is paid for."""
        fleet.pending.remove(worker)
        fleet.starting.append(worker)
        worker.span = WorkerSpan(worker.pool, asked_s=now)
        worker.ready_s = now + worker.startup_s
        self.spans.append(worker.span)

    def _release(self, fleet: _Fleet, now: float) -> None:
        """Take one worker out: without GPUs before starting before serving, of each kind the newest."""
        if fleet.pending:
            fleet.pending.pop()
            return
        worker = (fleet.starting or fleet.serving).pop()
        assert worker.span is not None
        if worker.number is None:
            worker.span.ended_s = now
            return
        worker.span.draining_s = now
        self.plant.drain(worker.number)
        fleet.draining.append(worker)

    def _advance(self, until: float) -> None:
        """Run the plant, stopping wherever a worker becomes ready or dies, or GPUs are to be had again."""
        while True:
            soonest = min((at for at in self._moments() if at <= until), default=None)
            if soonest is None:
                break
            self._run(soonest)
            for pool, fleet in self._fleets.items():
                for worker in [w for w in fleet.starting if w.ready_s <= soonest]:
                    self._serve(fleet, worker, soonest)
                for worker in [w for w in fleet.serving if self._death_s(w) <= soonest]:
                    self._die(fleet, worker, soonest)
                    self._ask(pool, soonest, self._startup.draw_s(pool, fleet.asked))
            self._grant(soonest)
        self._run(until)
        for fleet in self._fleets.values():
            self._bury(fleet)
        self._grant(until)

    def _run(self, until: float) -> None:
        started = time.perf_counter()
        self.plant.advance(max(until, self.plant.now))
        self.plant_seconds += time.perf_counter() - started

    def _moments(self) -> list[float]:
        fleets = self._fleets.values()
        moments = [w.ready_s for fleet in fleets for w in fleet.starting]
        if self._failures.mean_s:
            moments += [self._death_s(w) for fleet in fleets for w in fleet.serving]
        if any(fleet.pending for fleet in fleets):
            opens = self._supply.open_at(self.plant.now)
            moments += [opens] if opens > self.plant.now else []
        return moments

    def _death_s(self, worker: _Worker) -> float:
        return worker.ready_s + worker.lifetime_s

    def _die(self, fleet: _Fleet, worker: _Worker, at: float) -> None:
        """The process ends at once, and its GPUs are free for whoever waits longest."""
        assert worker.number is not None
        assert worker.span is not None
        fleet.serving.remove(worker)
        self.plant.kill(worker.number)
        worker.span.ended_s = at

    def _serve(self, fleet: _Fleet, worker: _Worker, at: float) -> None:
        assert worker.span is not None
        fleet.starting.remove(worker)
        fleet.serving.append(worker)
        worker.number = self.plant.add(worker.pool)
        worker.span.ready_s = at
        if at > worker.asked_s:
            fleet.startups_s.append(at - worker.asked_s)

    def _bury(self, fleet: _Fleet) -> None:
        for worker in list(fleet.draining):
            assert worker.number is not None
            assert worker.span is not None
            ended = self.plant.ended_s(worker.number)
            if ended is not None:
                worker.span.ended_s = ended
                fleet.draining.remove(worker)

    def _scrape(self, at: float) -> Scrape:
        now = at - self._epoch_s
        pools: dict[str, PoolReading] = {}
        steps, request_itl = {}, {}
        for pool, fleet in self._fleets.items():
            numbers = {w.number for w in fleet.serving if w.number is not None}
            reading = PoolReading(
                requested=fleet.requested,
                ready=len(fleet.serving),
                starting_s=tuple(now - w.asked_s for w in (*fleet.starting, *fleet.pending)),
                startups_s=tuple(fleet.startups_s),
            )
            pools[pool], steps[pool], request_itl[pool] = pool_gauges(self.plant, pool, numbers, reading)
            fleet.startups_s.clear()
        return scrape(at, self.plant.counters(), pools, steps, request_itl)


class VirtualClock:
    """Time that jumps straight to whatever it is asked to wait for, until the traffic ends."""

    def __init__(self, start: float, until: float) -> None:
        self._now, self._until = start, until

    def now(self) -> float:
        """Seconds since the epoch of the traffic's clock."""
        return self._now

    def sleep_until(self, at: float) -> bool:
        """Jump to ``at``; ``False`` once it lies beyond the end."""
        self._now = max(self._now, at)
        return at <= self._until
