"""The plant as a cluster: the loop's source, target and clock in one, on virtual time.

A worker is asked for, starts for a while, serves, drains and ends; each of
these moments is kept, since GPU-hours are counted from asking to ending. The
policy sees only what a scrape shows, through the code that reads Prometheus.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from planner.core.observe import Scrape, observe
from planner.core.types import Decision, Observation, PoolReading
from planner.simulation.engine import Plant
from planner.simulation.exposition import pool_gauges, scrape
from planner.simulation.run import WorkerSpan


@dataclass(frozen=True, slots=True)
class Startup:
    """How long a worker takes from being asked for to serving.

    ``spread`` is the standard deviation of the log (0: always ``mean_s``). The draw of the k-th worker of
    a pool depends on the seed, the pool and k alone, so all policies meet the same start-ups.
    """

    mean_s: float = 120.0
    spread: float = 0.0
    seed: int = 1

    def draw_s(self, pool: str, number: int) -> float:
        """Start-up time in seconds of the ``number``-th worker of ``pool``."""
        if self.spread <= 0:
            return self.mean_s
        key = (self.seed, *pool.encode(), number)
        normal = np.random.default_rng(key).standard_normal()
        return float(self.mean_s * np.exp(self.spread * normal - 0.5 * self.spread**2))


@dataclass(frozen=True, slots=True)
class Failures:
    """Workers that die: each after an exponential time with mean ``mean_s`` of serving (``None``: never).

    Like start-ups, the draw depends on the seed, the pool and the worker's number alone.
    """

    mean_s: float | None = None
    seed: int = 1

    def draw_s(self, pool: str, number: int) -> float:
        """Seconds the ``number``-th worker of ``pool`` serves before it dies."""
        if self.mean_s is None:
            return float("inf")
        return float(np.random.default_rng((self.seed, 7, *pool.encode(), number)).exponential(self.mean_s))


@dataclass(slots=True)
class _Worker:
    span: WorkerSpan
    ready_s: float  # when it is going to serve
    lifetime_s: float = float("inf")  # of serving, until it dies
    number: int | None = None  # in the plant, once it serves


@dataclass(slots=True)
class _Fleet:
    """The workers of one pool, oldest first."""

    starting: list[_Worker] = field(default_factory=list)
    serving: list[_Worker] = field(default_factory=list)
    draining: list[_Worker] = field(default_factory=list)
    asked: int = 0  # ever
    startups_s: list[float] = field(default_factory=list)  # since the last scrape

    @property
    def requested(self) -> int:
        return len(self.starting) + len(self.serving)


class SimulatedCluster:
    """``MetricsSource`` and ``ScaleTarget`` over a plant; time is the traffic's clock plus ``epoch_s``."""

    def __init__(
        self,
        plant: Plant,
        initial: Mapping[str, int],
        startup: Startup,
        epoch_s: float = 0.0,
        failures: Failures | None = None,
    ) -> None:
        self.plant = plant
        self.spans: list[WorkerSpan] = []
        self.plant_seconds = 0.0  # wall time spent inside the engine
        self._startup, self._epoch_s = startup, epoch_s
        self._failures = failures or Failures()
        self._fleets = {pool: _Fleet() for pool in initial}
        self._before: Scrape | None = None
        for pool, count in initial.items():
            for _ in range(count):
                self._ask(pool, 0.0, 0.0)
        self._advance(0.0)

    def observe(self, at: float) -> Observation:
        """Let the plant run up to ``at`` and look at what it exposes."""
        self._advance(at - self._epoch_s)
        now = self._scrape(at)
        seen = observe(self._before, now)
        self._before = now
        return seen

    def apply(self, decision: Decision) -> None:
        """Ask for more workers, or cancel those that start and drain the newest."""
        now = decision.at - self._epoch_s
        for pool, wanted in decision.replicas.items():
            fleet = self._fleets[pool]
            while fleet.requested < wanted:
                self._ask(pool, now, self._startup.draw_s(pool, fleet.asked))
            while fleet.requested > wanted:
                self._release(fleet, now)
        self._advance(now)

    def finish(self, at_s: float) -> None:
        """Let what is in flight come to its end with the fleet as it is, up to ``at_s`` of the traffic's clock."""
        self._advance(at_s)

    def _ask(self, pool: str, now: float, startup_s: float) -> None:
        fleet = self._fleets[pool]
        span = WorkerSpan(pool, asked_s=now)
        self.spans.append(span)
        fleet.starting.append(_Worker(span, now + startup_s, self._failures.draw_s(pool, fleet.asked)))
        fleet.asked += 1

    def _release(self, fleet: _Fleet, now: float) -> None:
        """Take one worker out: the one that would have been ready last, or the newest that serves."""
        if fleet.starting:
            worker = max(fleet.starting, key=lambda w: w.ready_s)
            fleet.starting.remove(worker)
            worker.span.ended_s = now
            return
        worker = fleet.serving.pop()
        worker.span.draining_s = now
        assert worker.number is not None
        self.plant.drain(worker.number)
        fleet.draining.append(worker)

    def _advance(self, until: float) -> None:
        """Run the plant, stopping wherever a worker becomes ready or dies."""
        while True:
            soonest = min((at for at in self._moments() if at <= until), default=None)
            if soonest is None:
                break
            self._run(soonest)
            for pool, fleet in self._fleets.items():
                for worker in [w for w in fleet.starting if w.ready_s <= soonest]:
                    self._serve(pool, worker, soonest)
                for worker in [w for w in fleet.serving if self._death_s(w) <= soonest]:
                    self._die(fleet, worker, soonest)
        self._run(until)
        for fleet in self._fleets.values():
            self._bury(fleet)

    def _run(self, until: float) -> None:
        started = time.perf_counter()
        self.plant.advance(max(until, self.plant.now))
        self.plant_seconds += time.perf_counter() - started

    def _moments(self) -> list[float]:
        fleets = self._fleets.values()
        deaths = [self._death_s(w) for fleet in fleets for w in fleet.serving] if self._failures.mean_s else []
        return [w.ready_s for fleet in fleets for w in fleet.starting] + deaths

    def _death_s(self, worker: _Worker) -> float:
        return worker.ready_s + worker.lifetime_s

    def _die(self, fleet: _Fleet, worker: _Worker, at: float) -> None:
        """The process ends at once; what replaces it is asked for by whoever keeps the replica count."""
        assert worker.number is not None
        fleet.serving.remove(worker)
        self.plant.kill(worker.number)
        worker.span.ended_s = at

    def _serve(self, pool: str, worker: _Worker, at: float) -> None:
        fleet = self._fleets[pool]
        fleet.starting.remove(worker)
        fleet.serving.append(worker)
        worker.number = self.plant.add(pool)
        worker.span.ready_s = at
        if at > worker.span.asked_s:
            fleet.startups_s.append(at - worker.span.asked_s)

    def _bury(self, fleet: _Fleet) -> None:
        for worker in list(fleet.draining):
            assert worker.number is not None
            ended = self.plant.ended_s(worker.number)
            if ended is not None:
                worker.span.ended_s = ended
                fleet.draining.remove(worker)

    def _scrape(self, at: float) -> Scrape:
        now = at - self._epoch_s
        pools: dict[str, PoolReading] = {}
        workers = {}
        for pool, fleet in self._fleets.items():
            numbers = {w.number for w in fleet.serving if w.number is not None}
            reading = PoolReading(
                requested=fleet.requested,
                ready=len(fleet.serving),
                starting_s=tuple(now - w.span.asked_s for w in fleet.starting),
                startups_s=tuple(fleet.startups_s),
            )
            pools[pool], workers[pool] = pool_gauges(self.plant, pool, numbers, reading)
            fleet.startups_s.clear()
        return scrape(at, self.plant.counters(), pools, workers)


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
