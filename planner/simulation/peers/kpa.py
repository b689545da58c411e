"""Knative's pod autoscaler (KPA) on concurrency, one revision per pool.

Source: knative/serving ``pkg/autoscaler/scaling/autoscaler.go`` and ``config/core/configmaps/autoscaler.yaml``, v1.19.
A pod's concurrency is what is inside it, worked on or queued. The queue-proxy reports the mean of each second; here
the gauges of every look (2 s) are averaged, which is noisier and not biased. Scaling to zero is off: the bounds of
the pool are ``min-scale`` and ``max-scale``, so the activator is never in the path.

The shipped target is 70 in flight per pod (100, of which 70 %). A tuned one is given by role, as each pool is a
revision of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from planner.core.policy import Pool
from planner.core.types import Role
from planner.ports import Decider
from planner.simulation.peers.api import Peer, Site
from planner.simulation.peers.objects import Answer, Look, OnePerPool, bounded, held
from planner.simulation.peers.signals import in_flight
from planner.simulation.peers.windows import Recent

TICK_S = 2.0


class Revision:
    """Stable and panic window over one pool.

    The mean concurrency of either window over the target is what it asks for, kept between ready / ``down_rate``
    and ready × ``up_rate``. Panic begins when the panic window, unlimited, asks for ``panic_threshold`` × ready, and
    lasts until that has not been so for a stable window; meanwhile the larger of the two counts and nothing is
    given up. It starts in panic at what it finds, when that is more than one.
    """

    def __init__(self, pool: Pool, target: float, knobs: Mapping[str, float]) -> None:
        self._pool, self._target, self._knobs = pool, target, knobs
        self._stable_s = knobs["stable_window_s"]
        self._panic_s = self._stable_s * knobs["panic_window_percent"] / 100
        self._seen: Recent[float] = Recent(self._stable_s)
        self._panicked_at: float | None = None
        self._most = 0  # replicas of this panic
        self._started = False

    def look(self, look: Look) -> Answer:
        if not self._started:
            self._started = True
            self._panicked_at, self._most = (look.at, look.ready) if look.ready > 1 else (None, 0)
        now = in_flight(look.reading)
        if now is not None:
            self._seen.add(look.at, now)
        stable, panic = (self._seen.within(look.at, s) for s in (self._stable_s, self._panic_s))
        if not stable or not panic:
            return held(self._pool, look)
        ready = max(1, look.ready)
        urgent = self._pods(panic)
        wanted = self._in_panic(look.at, urgent / ready, self._limited(self._pods(stable), ready),
                                self._limited(urgent, ready))  # fmt: skip
        return Answer(wanted, bounded(self._pool, wanted))

    def _pods(self, seen: list[float]) -> int:
        return math.ceil(sum(seen) / len(seen) / self._target - 1e-9)

    def _limited(self, pods: int, ready: int) -> int:
        most, least = math.ceil(self._knobs["up_rate"] * ready), math.floor(ready / self._knobs["down_rate"])
        return min(max(pods, least), most)

    def _in_panic(self, at: float, pressure: float, stable: int, panic: int) -> int:
        if pressure >= self._knobs["panic_threshold_percent"] / 100:
            self._panicked_at = at
        elif self._panicked_at is not None and at - self._panicked_at > self._stable_s:
            self._panicked_at, self._most = None, 0
        if self._panicked_at is None:
            return stable
        self._most = max(self._most, stable, panic)
        return self._most


def _make(site: Site, knobs: Mapping[str, float]) -> Decider:
    def revision(pool: Pool) -> Revision:
        concurrency = knobs["prefill_concurrency" if pool.role is Role.PREFILL else "concurrency"]
        return Revision(pool, concurrency * knobs["target_percent"] / 100, knobs)

    return OnePerPool(site, revision)


KPA = Peer(
    name="kpa",
    source="knative/serving v1.19 pkg/autoscaler/scaling/autoscaler.go, config/core/configmaps/autoscaler.yaml",
    tick_s=TICK_S,
    make=_make,
    defaults={
        "concurrency": 100.0,
        "prefill_concurrency": 100.0,
        "target_percent": 70.0,
        "stable_window_s": 60.0,
        "panic_window_percent": 10.0,
        "panic_threshold_percent": 200.0,
        "up_rate": 1000.0,
        "down_rate": 2.0,
    },
    searched={
        "concurrency": (30.0, 60.0, 100.0, 150.0, 200.0, 300.0),
        "prefill_concurrency": (0.5, 1.0, 1.5, 3.0, 6.0, 12.0, 100.0),
        "stable_window_s": (60.0, 180.0, 300.0, 600.0),
    },
)
