"""Kubernetes' HorizontalPodAutoscaler v2 on what vLLM exposes, one object per pool.

Source: kubernetes/kubernetes ``pkg/controller/podautoscaler/{horizontal,replica_calculator}.go``, v1.35: look every
15 s, tolerance 10 %, ``behavior`` as shipped. Kubernetes ships no target for these metrics; the guides say:

* ``hpa``: queued requests per pod 5 (vLLM production-stack's default trigger; the autoscaling best practices of
  GKE say 3 to 5), and, as the queue of a decode worker stays empty until its cache is full, requests worked on per
  pod 250 (llm-d's guide to HPA with EPP metrics). The larger answer counts. Each role has an HPA of its own, so a
  tuned target for requests worked on is given by role: a prefill worker takes one or few at a time.
* ``hpa-kv``: KV cache in use 80 % (llm-d's decode trigger), and the queue as above, since a prefill worker's cache
  empties with every hand-over.

A metric of pods sees every pod: those that are up and not ready to be scraped count as idle on the way up and as
exactly on target on the way down. All metrics are as fresh as the look; a real scrape is up to 15 s old.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from planner.core.policy import Pool
from planner.core.types import Role
from planner.ports import Decider
from planner.simulation.peers.api import Peer, Site
from planner.simulation.peers.behavior import SHIPPED, Behavior, Direction, Pace
from planner.simulation.peers.objects import Answer, Look, OnePerPool, bounded, held
from planner.simulation.peers.signals import kv_sum, waiting

Metric = Callable[[Look], int | None]
"""Replicas that one metric asks for; ``None``: it could not be read."""
SYNC_S = 15.0
TOLERANCE = 0.1


class Horizontal:
    """An HPA: the most that any metric asks for, at the pace of its ``behavior``.

    A metric that cannot be read blocks the way down, not the way up; without any the spec stays.
    """

    def __init__(self, pool: Pool, metrics: Sequence[Metric], behavior: Behavior = SHIPPED) -> None:
        self._pool, self._metrics = pool, metrics
        self._pace = Pace(behavior, pool)

    def look(self, look: Look) -> Answer:
        inside = bounded(self._pool, look.current)
        if inside != look.current:
            return self._scaled(look, Answer(inside, inside))
        asked = [metric(look) for metric in self._metrics]
        known = [replicas for replicas in asked if replicas is not None]
        if not known or (len(known) < len(asked) and max(known) < look.current):
            return held(self._pool, look)
        wanted = max(known)
        return self._scaled(look, Answer(wanted, self._pace.allowed(look.at, look.current, wanted)))

    def _scaled(self, look: Look, answer: Answer) -> Answer:
        self._pace.changed(look.at, look.current, answer.replicas)
        return answer


def of_pods(look: Look, total: float | None, target: float, tolerance: float = TOLERANCE) -> int | None:
    """A ``Pods`` metric with an average to keep: ⌈pods × average / target⌉, where it is off by more than the tolerance.

    ``total`` is over the ready pods. The pods that do not answer yet are brought in as idle or as on target, and
    may turn the answer neither into the other direction nor beyond the current replicas.
    """
    if total is None or look.ready == 0:
        return None
    ratio = total / look.ready / target
    if look.unready == 0:
        return look.current if _near(ratio, tolerance) else _up(ratio * look.ready)
    assumed = look.unready * target if ratio < 1 else 0.0
    whole = (total + assumed) / look.current / target
    if _near(whole, tolerance) or (whole > 1) != (ratio > 1):
        return look.current
    replicas = _up(whole * look.current)
    return replicas if (replicas > look.current) == (whole > 1) else look.current


def of_the_whole(look: Look, total: float, target: float, tolerance: float = TOLERANCE) -> int:
    """An ``External`` metric with an average value: ⌈total / target⌉; ready or not plays no part."""
    return look.current if _near(total / (target * max(1, look.current)), tolerance) else _up(total / target)


def _near(ratio: float, tolerance: float) -> bool:
    return 1 - tolerance <= ratio <= 1 + tolerance


def _up(replicas: float) -> int:
    return math.ceil(replicas - 1e-9)  # Kubernetes counts in thousandths; 3.0000000000000004 is three


def _queue(knobs: Mapping[str, float]) -> Metric:
    return lambda look: of_pods(look, waiting(look.reading), knobs["waiting"], knobs["tolerance"])


def _running(pool: Pool, knobs: Mapping[str, float]) -> Metric:
    target = knobs["prefill_running" if pool.role is Role.PREFILL else "running"]
    return lambda look: of_pods(look, look.reading.running, target, knobs["tolerance"])


def _kv(knobs: Mapping[str, float]) -> Metric:
    return lambda look: of_pods(look, kv_sum(look.reading), knobs["kv_usage"], knobs["tolerance"])


def _behavior(knobs: Mapping[str, float]) -> Behavior:
    return Behavior(SHIPPED.up, Direction(knobs["down_window_s"], SHIPPED.down.rules))


def _on_requests(site: Site, knobs: Mapping[str, float]) -> Decider:
    return OnePerPool(site, lambda pool: Horizontal(pool, (_queue(knobs), _running(pool, knobs)), _behavior(knobs)))


def _on_cache(site: Site, knobs: Mapping[str, float]) -> Decider:
    return OnePerPool(site, lambda pool: Horizontal(pool, (_queue(knobs), _kv(knobs)), _behavior(knobs)))


_COMMON = {"waiting": 5.0, "tolerance": TOLERANCE, "down_window_s": 300.0}
_QUEUES = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)

HPA = Peer(
    name="hpa",
    source="kubernetes v1.35 pkg/controller/podautoscaler; targets: production-stack helm, llm-d README.hpa-epp.md",
    tick_s=SYNC_S,
    make=_on_requests,
    defaults={**_COMMON, "running": 250.0, "prefill_running": 250.0},
    searched={
        "waiting": _QUEUES,
        "running": (32.0, 64.0, 100.0, 150.0, 200.0, 250.0),
        "prefill_running": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 250.0),
    },
)
HPA_KV = Peer(
    name="hpa-kv",
    source="kubernetes v1.35 pkg/controller/podautoscaler; targets: production-stack helm, llm-d keda-epp-token-aware",
    tick_s=SYNC_S,
    make=_on_cache,
    defaults={**_COMMON, "kv_usage": 0.8},
    searched={"waiting": _QUEUES, "kv_usage": (0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8)},
)
