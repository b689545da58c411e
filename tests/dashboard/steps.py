"""Logged steps as a planner writes them, made by hand: what is asserted about them can be computed in the head."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from planner.adapters.decision_log import About, AboutPool, DecisionLog
from planner.core.histogram import Histogram
from planner.core.policy import Sla
from planner.core.types import Decision, DemandForecast, Expected, Observation, PoolReading, Reason, Role, Window
from planner.ports import Step

INF = float("inf")
EDGES = (0.1, 0.2, 0.4, 0.8, INF)
ABOUT = About(
    name="chat",
    law="slo",
    sla=Sla(ttft_s=0.4, itl_s=0.025, goal=0.9),
    interval_s=60.0,
    pools={"prefill": AboutPool(Role.PREFILL, 1, 1, 50, 120.0), "decode": AboutPool(Role.DECODE, 2, 1, 50, 120.0)},
    profile="h200-llama31-8b-fp8-tp1",
    mode="disaggregated",
    settings={},
)


def window(started: float = 10.0, ttft: tuple[float, ...] = (10.0, 0.0, 0.0, 0.0, 0.0), seconds: float = 5.0) -> Window:
    """Five seconds at the front door."""
    n = sum(ttft)
    return Window(
        seconds,
        started=started,
        finished=n,
        input_tokens=Histogram((1000.0, 2000.0, INF), (0.0, n, 0.0), 1500.0 * n),
        output_tokens=Histogram((100.0, 300.0, INF), (0.0, n, 0.0), 200.0 * n),
        ttft=Histogram(EDGES, ttft, 0.08 * n),
        itl=Histogram((0.02, 0.05, INF), (200.0 * n, 0.0, 0.0), 2.0 * n),
    )


def step(at: float, seen: Window | None = None, *, replicas: dict[str, int] | None = None,
         workers: tuple[tuple[float, float], ...] = ((0.01, 900.0), (0.03, 100.0)), reason: Reason = Reason.SIZED,
         problems: tuple[str, ...] = (), error: str = "", forecast: bool = True) -> Step:  # fmt: skip
    """One look and one decision; ``seen`` is blind when ``None``."""
    fleet = replicas or {"prefill": 2, "decode": 3}
    pools = {name: PoolReading(n, n, worker_steps=workers if name == "decode" else ()) for name, n in fleet.items()}
    said = DemandForecast(180.0, 2.0, 1.5, 2.6, 1500.0, 200.0) if forecast else None
    decision = Decision(at, fleet, fleet, reason, forecast=said, expected=Expected(0.12, 0.011, 0.97))
    return Step(Observation(at, pools, seen, problems), decision, error)


def steps(count: int, start: float = 0.0, every_s: float = 5.0) -> Iterator[Step]:
    """A quiet planner: a first look that has nothing to compare with, then ``count`` windows."""
    yield step(start, None, reason=Reason.HELD_BLIND, forecast=False)
    for k in range(1, count + 1):
        due = k % 12 == 0
        yield step(start + k * every_s, window(seconds=every_s), forecast=due,
                   reason=Reason.SIZED if due else Reason.HELD_BETWEEN)  # fmt: skip


def write(path: Path, of: Iterable[Step], about: About | None = ABOUT) -> Path:
    """A log file with these steps."""
    with DecisionLog(path, about) as log:
        for one in of:
            log.record(one.seen, one.decision, one.error)
    return path
