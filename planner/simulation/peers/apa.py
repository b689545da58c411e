"""AIBrix's application-specific pod autoscaler (APA), one ``PodAutoscaler`` per role.

Source: vllm-project/aibrix v0.7.0 and ``main`` of 2026-08, ``pkg/controller/podautoscaler/algorithm/apa.go`` (the
ratio), ``autoscaler.go`` (the guard for pending replicas), ``podautoscaler_controller.go`` (cooldown); targets of
``samples/autoscaling/apa.yaml`` (KV cache in use 50 %) and, for prefill, ``stormservice-pool.yaml`` (10 queued).

The cooldown is as its code has it: on the way down the *lowest* recommendation of the last 300 s counts, so it
hastens what it was meant to delay. The knob ``cooldown_keeps_highest`` = 1 is what its documentation says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from planner.core.policy import Pool
from planner.core.types import Role
from planner.ports import Decider
from planner.simulation.peers.api import Peer, Site
from planner.simulation.peers.objects import Answer, Look, OnePerPool, bounded, held
from planner.simulation.peers.signals import kv_sum, waiting
from planner.simulation.peers.windows import Recent

RESYNC_S = 10.0


class PodAutoscaler:
    """The average per pod over the observation window, against its target."""

    def __init__(self, pool: Pool, knobs: Mapping[str, float]) -> None:
        self._pool, self._knobs = pool, knobs
        self._target = knobs["prefill_queue" if pool.role is Role.PREFILL else "kv_usage"]
        self._seen: Recent[float] = Recent(knobs["observe_window_s"])
        self._advice: Recent[int] = Recent(max(knobs["down_cooldown_s"], 0.0))

    def look(self, look: Look) -> Answer:
        total = waiting(look.reading) if self._pool.role is Role.PREFILL else kv_sum(look.reading)
        if total is None or look.ready == 0:
            return held(self._pool, look)
        self._seen.add(look.at, total / look.ready)
        seen = self._seen.within(look.at, self._knobs["observe_window_s"])
        average = sum(seen) / len(seen)
        advised = self._guarded(look, average, self._advised(look.current, average / self._target))
        wanted = self._cooled(look, advised)
        return Answer(wanted, bounded(self._pool, wanted))

    def _advised(self, current: int, ratio: float) -> int:
        """Current × ratio outside the tolerances, at most ``up_rate`` times and at least 1 / ``down_rate``."""
        knobs, asked = self._knobs, math.ceil(current * ratio - 1e-9)
        if ratio > 1 + knobs["up_tolerance"]:
            return min(asked, math.ceil(knobs["up_rate"] * current))
        if ratio < 1 - knobs["down_tolerance"]:
            return max(asked, math.floor(current / knobs["down_rate"]))
        return current

    def _guarded(self, look: Look, average: float, advised: int) -> int:
        """With replicas pending: they count as idle on the way up and as on target on the way down."""
        if look.unready == 0 or advised == look.current:
            return advised
        if advised > look.current:
            return min(max(math.ceil(average * look.ready / self._target - 1e-9), look.current), advised)
        met = math.ceil(average * look.ready / self._target + look.unready - 1e-9)
        return max(min(met, look.current), advised)

    def _cooled(self, look: Look, advised: int) -> int:
        self._advice.add(look.at, advised)
        recent = self._advice.within(look.at, self._knobs["down_cooldown_s"])
        if advised >= look.current or not recent:
            return advised
        return min(max(recent), look.current) if self._knobs["cooldown_keeps_highest"] else min(recent)


def _make(site: Site, knobs: Mapping[str, float]) -> Decider:
    return OnePerPool(site, lambda pool: PodAutoscaler(pool, knobs))


APA = Peer(
    name="apa",
    source="vllm-project/aibrix 015a2e5 pkg/controller/podautoscaler; targets: samples/autoscaling",
    tick_s=RESYNC_S,
    make=_make,
    defaults={
        "kv_usage": 0.5,
        "prefill_queue": 10.0,
        "observe_window_s": 180.0,
        "up_tolerance": 0.1,
        "down_tolerance": 0.1,
        "up_rate": 2.0,
        "down_rate": 2.0,
        "down_cooldown_s": 300.0,
        "cooldown_keeps_highest": 0.0,
    },
    searched={
        "kv_usage": (0.1, 0.15, 0.2, 0.3, 0.4, 0.5),
        "prefill_queue": (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 10.0),
        "cooldown_keeps_highest": (0.0, 1.0),
    },
)
