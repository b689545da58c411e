"""History is read before the first look: the planner is alive meanwhile, can be stopped, and begins in time."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from planner import config
from planner.adapters.clocks import WallClock
from planner.config.live import LiveSettings
from planner.core.types import Decision, Observation
from planner.live.service import Parts, Service, service_of
from planner.ports import SourceError
from tests.core.worlds import seen

GIVEN = {"profile": "h200-llama31-8b-fp8-tp1", "sla.ttft": "500ms", "sla.itl": "25ms",
         "prometheus.url": "http://nowhere:9090", "server.listen": "127.0.0.1:0",
         "tick": "100ms", "prometheus.scrape": "100ms"}  # fmt: skip


class Leaping(WallClock):
    """A clock that a test moves ahead."""

    ahead_s = 0.0

    def now(self) -> float:
        return super().now() + self.ahead_s


class World:
    """A source that sees nothing, a target that keeps what it is told; the clock is stopped at the first look."""

    def __init__(self, clock: WallClock) -> None:
        self.clock = clock
        self.decisions: list[Decision] = []

    def observe(self, at: float) -> Observation:
        self.clock.stop()
        raise SourceError("away")

    def apply(self, decision: Decision) -> None:
        self.decisions.append(decision)


def served(history: Callable[[Leaping, Service], Iterator[Observation]], **given: object) -> tuple[Service, World]:
    """A service that has learnt from ``history`` and looked once, unless it was stopped before."""
    clock = Leaping()
    world = World(clock)
    settings = config.load(LiveSettings, None, {**GIVEN, **given})
    service: Service
    service = service_of(settings, Parts(world, world, lambda start, end: history(clock, service)), clock)
    service.run()
    return service, world


def status(address: str) -> int:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code


def test_a_planner_that_learns_is_alive_and_not_ready() -> None:
    """A probe that restarts it after half a minute would have it learn for ever."""
    told: list[tuple[int, int]] = []

    def history(clock: Leaping, service: Service) -> Iterator[Observation]:
        clock.ahead_s += 90.0  # one stretch took so long
        told.append((status(f"{service.address}/healthz"), status(f"{service.address}/readyz")))
        yield seen(0.0, 50.0)

    served(history)

    assert told == [(200, 503)]


def test_a_planner_that_learns_can_be_stopped(tmp_path: Path) -> None:
    """What it has learnt so far is not a memory to go on from: the next start reads history anew."""
    read = 0

    def history(clock: Leaping, service: Service) -> Iterator[Observation]:
        nonlocal read
        for i in range(1000):
            read += 1
            if i == 30:
                clock.stop()
            yield seen(5.0 * i, 50.0)

    service, world = served(history, state=str(tmp_path / "state.json"))

    assert read == 31
    assert world.decisions == []
    assert service.planner.state.at is None
    assert not (tmp_path / "state.json").exists()


def test_history_that_takes_too_long_is_left_out() -> None:
    """A slow Prometheus must not keep a fleet without a planner; what was read until then is known."""

    def history(clock: Leaping, service: Service) -> Iterator[Observation]:
        for i in range(10_000):
            clock.ahead_s += 1.0
            yield seen(5.0 * i, 50.0)

    service, world = served(history, warmup_timeout="40s")

    assert len(world.decisions) == 1  # the loop began
    assert 40 <= len(service.planner.state.memory.ticks) <= 42


def test_history_that_breaks_off_asks_for_nothing() -> None:
    """What would have been asked for an hour ago is not what anybody asked for."""

    def history(clock: Leaping, service: Service) -> Iterator[Observation]:
        for i in range(100):
            yield seen(5.0 * i, 50.0)
        raise SourceError("gone in the middle")

    service, _ = served(history)

    assert service.planner.state.asked is None
    assert service.planner.state.memory.ticks
