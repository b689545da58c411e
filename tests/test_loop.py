"""The loop keeps deciding when the world around it fails, and never decides on what it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from planner import loop
from planner.core.types import Decision, Observation, PoolReading, Reason, Window
from planner.ports import SourceError, TargetError

TICK = 5.0


@dataclass
class SteppedClock:
    """Virtual time that ends; ``delays`` are added by the work of each step."""

    at: float = 0.0
    until: float = 30.0

    def now(self) -> float:
        return self.at

    def sleep_until(self, at: float) -> bool:
        self.at = max(self.at, at)
        return at <= self.until


@dataclass
class World:
    """Source, target and sink in one; fails on the steps it is told to."""

    clock: SteppedClock
    blind: Sequence[int] = ()
    refusing: Sequence[int] = ()
    slow: Callable[[int], float] = lambda step: 0.0
    requested: int = 1
    steps: list[tuple[Observation, Decision, str]] = field(default_factory=list)
    applied: list[int] = field(default_factory=list)

    def observe(self, at: float) -> Observation:
        if len(self.steps) in self.blind:
            raise SourceError("metrics are away")
        return Observation(at, {"decode": PoolReading(self.requested, 1, running=7.0)}, Window(TICK))

    def apply(self, decision: Decision) -> None:
        self.clock.at += self.slow(len(self.steps))
        if len(self.steps) in self.refusing:
            raise TargetError("conflict")
        if decision.replicas:
            self.requested = decision.replicas["decode"]
        self.applied.append(self.requested)

    def record(self, seen: Observation, decision: Decision, error: str = "") -> None:
        self.steps.append((seen, decision, error))


class OneMore:
    """Asks for one replica more than was asked for whenever it sees traffic; holds when blind."""

    def step(self, seen: Observation) -> Decision:
        more = 0 if seen.window is None else 1
        replicas = {name: reading.requested + more for name, reading in seen.pools.items()}
        return Decision(seen.at, replicas, replicas, Reason.SIZED if more else Reason.HELD_BLIND)


def run(world: World) -> list[float]:
    loop.run(world, OneMore(), world, world.clock, TICK, [world])
    return [seen.at for seen, _, _ in world.steps]


def test_steps_are_due_on_the_grid_of_the_epoch() -> None:
    """A replay that starts elsewhere must decide at the same moments."""
    assert run(World(SteppedClock(at=12.3, until=30.0))) == [15.0, 20.0, 25.0, 30.0]


def test_a_start_on_the_grid_begins_at_once() -> None:
    assert run(World(SteppedClock(at=10.0, until=20.0))) == [10.0, 15.0, 20.0]


@pytest.mark.parametrize(("took", "dues"), [(4.9, [0, 5, 10, 15]), (5.0, [0, 5, 10, 15]), (5.1, [0, 10, 15])])
def test_a_slow_step_skips_what_it_overran(took: float, dues: list[float]) -> None:
    """Steps that bunch up would decide twice on the same scrape."""
    world = World(SteppedClock(until=15.0), slow=lambda step: took if step == 0 else 0.0)

    assert run(world) == dues


def test_blindness_is_a_logged_decision() -> None:
    world = World(SteppedClock(until=20.0), blind=[2])
    run(world)
    seen, decision, error = world.steps[2]

    assert seen.window is None
    assert decision.reason is Reason.HELD_BLIND
    assert error == "metrics are away"
    assert seen.problems == ("metrics are away",)


def test_a_blind_step_holds_what_was_asked_for_last() -> None:
    """The step before asked for one more; the reading from before that must not take it back."""
    world = World(SteppedClock(until=20.0), blind=[2, 3])
    run(world)

    assert world.applied == [2, 3, 3, 3, 4]


def test_what_was_asked_for_is_known_once_it_was_asked_for() -> None:
    """A source that counts who serves does not know it; the loop does, unless it was refused or asked for nothing."""
    up = {name: PoolReading(3, 3, requested_known=False) for name in ("decode", "prefill")}

    assert loop._believed(up, {"decode": 7}) == {"decode": PoolReading(7, 3), "prefill": up["prefill"]}


def test_gauges_do_not_outlive_their_scrape() -> None:
    """An old queue length shown as new would trigger the fast path for ever."""
    world = World(SteppedClock(until=5.0), blind=[1])
    run(world)

    assert world.steps[0][0].pools["decode"].running == 7.0
    assert world.steps[1][0].pools["decode"].running is None


def test_blind_from_the_start_asks_for_nothing() -> None:
    """A controller that restarts during an outage must not shrink a fleet it has never seen to its minimum."""
    world = World(SteppedClock(until=10.0), blind=[0, 1], requested=9)
    run(world)

    assert [dict(decision.replicas) for _, decision, _ in world.steps] == [{}, {}, {"decode": 10}]
    assert world.steps[0][1].reason is Reason.HELD_BLIND


def test_the_platform_is_asked_for_its_fleet_when_metrics_are_away() -> None:
    world = World(SteppedClock(until=0.0), blind=[0])
    loop.run(world, OneMore(), world, world.clock, TICK, [world], lambda: {"decode": PoolReading(4, 3)})

    assert dict(world.steps[0][1].replicas) == {"decode": 4}


def test_a_fleet_that_cannot_be_read_either_is_told_too() -> None:
    def away() -> dict[str, PoolReading]:
        raise SourceError("the API server is away")

    world = World(SteppedClock(until=0.0), blind=[0])
    loop.run(world, OneMore(), world, world.clock, TICK, [world], away)

    assert world.steps[0][2] == "metrics are away; the API server is away"


def test_a_refused_decision_is_recorded_and_decided_afresh() -> None:
    world = World(SteppedClock(until=10.0), refusing=[0])
    run(world)

    assert world.steps[0][2] == "conflict"
    assert world.applied == [2, 3]  # not applied twice, not given up


def test_a_refused_decision_is_not_believed_when_blind() -> None:
    world = World(SteppedClock(until=5.0), refusing=[0], blind=[1])
    run(world)

    assert world.steps[1][0].pools["decode"].requested == 1


def test_a_bug_ends_the_run() -> None:
    """Only the two named errors are the world's; everything else must be seen."""

    class Broken(OneMore):
        def step(self, seen: Observation) -> Decision:
            raise ZeroDivisionError

    world = World(SteppedClock())
    with pytest.raises(ZeroDivisionError):
        loop.run(world, Broken(), world, world.clock, TICK)
