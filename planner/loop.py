"""The one loop. The controller and the simulator both run it, unchanged.

Time, I/O and recovery meet here and nowhere else: one failed call is a step
that says so, never the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from planner.core.types import Decision, Observation, PoolReading, Reason
from planner.ports import Clock, Decider, DecisionSink, MetricsSource, ScaleTarget, SourceError, TargetError

Fleet = Callable[[], Mapping[str, PoolReading]]
"""What the platform says of its replicas when nobody can say anything of the traffic."""


def run(
    source: MetricsSource,
    planner: Decider,
    target: ScaleTarget,
    clock: Clock,
    tick_s: float,
    sinks: Sequence[DecisionSink] = (),
    fleet: Fleet | None = None,
) -> None:
    """Observe, decide, apply whenever it is ``due``, until the clock says stop.

    When the source fails, the planner gets an observation without a window and decides on that. Its
    replicas are what ``fleet`` says (``SourceError`` if it cannot), or else what was last asked for.
    """
    known: Mapping[str, PoolReading] = {}
    for at in due(clock, tick_s):
        seen, error = _look(source, at, known, fleet)
        decision = decided(planner, seen)
        refused = _apply(target, decision)
        for sink in sinks:
            sink.record(seen, decision, "; ".join(filter(None, (error, refused))))
        known = _believed(seen.pools, {} if refused else decision.replicas)


def due(clock: Clock, tick_s: float) -> Iterator[float]:
    """Wait for every multiple of ``tick_s`` since the epoch, until the clock says stop; seconds on the clock.

    A slow step skips the due times it overran: steps never bunch up and the grid never drifts.
    """
    slot = math.ceil(clock.now() / tick_s - 1e-9)
    while clock.sleep_until(slot * tick_s):
        yield slot * tick_s
        slot = max(slot + 1, math.ceil(clock.now() / tick_s - 1e-9))


def decided(planner: Decider, seen: Observation) -> Decision:
    """The planner's answer; before the first sight of the fleet there is nothing to hold, so nothing is asked for."""
    return planner.step(seen) if seen.pools else Decision(seen.at, {}, {}, Reason.HELD_BLIND, notes=seen.problems)


def _look(
    source: MetricsSource, at: float, known: Mapping[str, PoolReading], fleet: Fleet | None
) -> tuple[Observation, str]:
    """What can be seen at ``at``, and what stood in the way."""
    try:
        return source.observe(at), ""
    except SourceError as problem:
        blind = str(problem)
    if fleet is not None:
        try:
            known = fleet()
        except SourceError as problem:
            blind = f"{blind}; {problem}"
    return Observation(at, known, None, (blind,)), blind


def _apply(target: ScaleTarget, decision: Decision) -> str:
    try:
        target.apply(decision)
    except TargetError as problem:
        return str(problem)
    return ""


def _believed(pools: Mapping[str, PoolReading], asked: Mapping[str, int]) -> dict[str, PoolReading]:
    """What a blind step may still go by: replicas asked for and ready; gauges of the past are no measurement."""
    return {
        name: PoolReading(asked.get(name, reading.requested), reading.ready,
                          requested_known=reading.requested_known or name in asked)
        for name, reading in pools.items()
    }  # fmt: skip
