"""llm-d's autoscaling with KEDA: on latencies against their targets (``keda-slo``), on tokens (``keda-tokens``).

Source: llm-d/llm-d ``guides/workload-autoscaling/README.slo-aware.md`` and ``keda-epp-token-aware/`` of 2026-08.
KEDA's formulas become external metrics with an average value, of which its HPA makes replicas: tolerance, windows
and rules are the HPA's, the ``behavior`` is the guide's. The HPA's own tolerance of 10 % lies over the formula.

``keda-slo`` ships for one aggregated pool. For two pools its guide only says that TTFT would drive prefill and
TPOT decode; so it is done here, one ScaledObject for each, every other constant as shipped. Its fallback signal is
used (measured latencies; the predicted ones need the router's trained model). TPOT is measured per token gap here,
not per request. The 90th percentile is read between the edges of the front door's buckets.

``keda-tokens`` asks for the prompt tokens per second of one worker, which its guide has measured by sending prompts;
here the profile answers, for a prompt of one chunk. Its threshold of 1.5 s of prefill work per replica is for a TTFT
target of about 2 s: three quarters of the target. An aggregated pool has both triggers, and the larger answer counts.

A query without a result is 0 (``or vector(0)``), Prometheus out of reach is an error, on which the HPA holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from planner.core.histogram import Histogram, joined
from planner.core.policy import Pool, Sla
from planner.core.types import Role
from planner.ports import Decider
from planner.simulation.peers.api import Peer, Site
from planner.simulation.peers.behavior import Behavior, Direction, Rule
from planner.simulation.peers.hpa import Horizontal, Metric, of_the_whole
from planner.simulation.peers.objects import Look, OnePerPool
from planner.simulation.peers.signals import kv_sum, quantile
from planner.simulation.peers.windows import Recent

POLL_S = 15.0
RATE_S, SMOOTH_S = 60.0, 45.0
"""Rates are taken over a minute, the signal is averaged over three evaluations."""


class Saturation:
    """Replicas for the worst latency against its target.

    s = mean over 45 s of min(P90 latency / target, clamp). Above ``up``: n + ⌈n (s c / up − 1)⌉, where c = ready / n
    credits the replicas that are still starting, and never asks for fewer than n (the guide: a pool may shed only
    when the signal itself has headroom); below ``down``: n − ⌊n (1 − s / down)⌋; n in between.
    """

    def __init__(self, targets_s: Mapping[str, float], knobs: Mapping[str, float]) -> None:
        self._targets_s, self._knobs = targets_s, knobs
        self._windows: Recent[Mapping[str, Histogram | None]] = Recent(RATE_S)
        self._signal: Recent[float] = Recent(SMOOTH_S)

    def __call__(self, look: Look) -> int | None:
        if look.window is not None:
            self._windows.add(look.at, {"ttft": look.window.ttft, "itl": look.window.itl})
        if look.blind:
            return None
        self._signal.add(look.at, min(self._worst(look.at), self._knobs["clamp"]))
        seen = self._signal.within(look.at, SMOOTH_S)
        return of_the_whole(look, self._desired(sum(seen) / len(seen), look), 1.0)

    def _worst(self, at: float) -> float:
        """The largest of the latencies over their targets; 0 without traffic."""
        recent = self._windows.within(at, RATE_S)
        merged = {name: joined(*(window[name] for window in recent)) for name in self._targets_s}
        tails = {name: quantile(h, self._knobs["quantile"]) for name, h in merged.items() if h is not None}
        return max((tail / self._targets_s[name] for name, tail in tails.items() if tail is not None), default=0.0)

    def _desired(self, s: float, look: Look) -> int:
        n, up, down = look.current, self._knobs["up"], self._knobs["down"]
        if s > up:
            credit = look.ready / n if 0 < look.ready < n else 1.0
            return n + max(0, math.ceil(n * (s * credit / up - 1) - 1e-9))
        return n - math.floor(n * (1 - s / down) + 1e-9) if s < down else n


SLO_BEHAVIOR = Behavior(
    up=Direction(30.0, (Rule(60.0, percent=100.0), Rule(60.0, pods=4))),
    down=Direction(180.0, (Rule(120.0, pods=1),)),
)


def _targets_s(role: Role, sla: Sla) -> dict[str, float]:
    both = {"ttft": sla.ttft_s, "itl": sla.itl_s}
    only = {Role.PREFILL: "ttft", Role.DECODE: "itl"}.get(role)
    return both if only is None else {only: both[only]}


def _on_latency(site: Site, knobs: Mapping[str, float]) -> Decider:
    def scaled(pool: Pool) -> Horizontal:
        return Horizontal(pool, (Saturation(_targets_s(pool.role, site.sla), knobs),), SLO_BEHAVIOR)

    return OnePerPool(site, scaled)


KEDA_SLO = Peer(
    name="keda-slo",
    source="llm-d/llm-d d38c9f0 guides/workload-autoscaling/README.slo-aware.md",
    tick_s=POLL_S,
    make=_on_latency,
    defaults={"up": 0.55, "down": 0.4, "clamp": 2.0, "quantile": 0.9},
    searched={
        "up": (0.4, 0.55, 0.7, 0.85, 1.0),
        "down": (0.2, 0.3, 0.4),
        "quantile": (0.9, 0.95, 0.99),
    },
)


def _prefill_work(pool: Pool, sla: Sla, knobs: Mapping[str, float]) -> Metric:
    """Prompt tokens inside the pool, in seconds of one worker, against the seconds that a replica may have."""
    per_s = pool.chunk_tokens / pool.profile.prefill.service_s(pool.chunk_tokens)
    share = knobs["backlog_share"] * sla.ttft_s
    return lambda look: None if look.blind else of_the_whole(look, (look.reading.pending_tokens or 0.0) / per_s, share)


def _cache(knobs: Mapping[str, float]) -> Metric:
    return lambda look: None if look.blind else of_the_whole(look, kv_sum(look.reading) or 0.0, knobs["kv_usage"])


def _on_tokens(site: Site, knobs: Mapping[str, float]) -> Decider:
    pods = knobs["up_pods"]
    behavior = Behavior(Direction(0.0, (Rule(180.0, pods=pods),)), Direction(300.0, (Rule(300.0, pods=1),)))

    def scaled(pool: Pool) -> Horizontal:
        triggers = {Role.PREFILL: (_prefill_work(pool, site.sla, knobs),), Role.DECODE: (_cache(knobs),)}
        both = (_prefill_work(pool, site.sla, knobs), _cache(knobs))
        return Horizontal(pool, triggers.get(pool.role, both), behavior)

    return OnePerPool(site, scaled)


KEDA_TOKENS = Peer(
    name="keda-tokens",
    source="llm-d/llm-d 56cb121 guides/workload-autoscaling/keda-epp-token-aware",
    tick_s=POLL_S,
    make=_on_tokens,
    defaults={"backlog_share": 0.75, "kv_usage": 0.8, "up_pods": 1.0},
    searched={
        "backlog_share": (0.1, 0.2, 0.35, 0.5, 0.75),
        "kv_usage": (0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8),
        "up_pods": (1.0, 4.0, 16.0),
    },
)
