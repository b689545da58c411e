"""llm-d's Workload Variant Autoscaler: saturation as percentages (V1) and as tokens (V2), carried out by an HPA.

Every 60 s the engine looks at each replica's peaks of the last minute and publishes ``wva_desired_replicas``; an
HPA reads that every 15 s and applies it, with the behaviour of the project's chart: the least demanding (on the way
down: the most demanding) recommendation of 240 s, at most 10 pods in 150 s, and the tolerance of 10 %, by which a
step from 11 to 12 is never taken: V1, which leaves a change alone that is not done, is stuck there.

The pools are one variant each: a cheapest one to grow and a dearest one to shrink are the same. V1 knows no roles
and would mix prefill with decode; each pool is judged alone here, as V2 does by role and as two pools deployed as
two models would be. A metric that is missing leaves the last recommendation standing (the safety net), or what is
requested when there was none.

What stands for what: ``WorkerReading`` for the replica's gauges (``kv_usage`` for ``vllm:kv_cache_usage_perc``,
``waiting`` for ``vllm:num_requests_waiting``), the pool's profile for the size of the KV cache, the front door's means
for the engines' mean prompt and output lengths. The plant's prefill workers take one prompt at a time, an engine a
batch of them: what fits into a batch counts as in the cache, not as waiting. The queue of llm-d's scheduler is empty:
here requests wait at workers.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median

from planner.core.policy import Pool
from planner.core.types import Decision, Observation, Role, WorkerReading
from planner.ports import Decider
from planner.simulation.peers.api import Peer, Site
from planner.simulation.peers.behavior import Behavior, Direction, Rule
from planner.simulation.peers.hpa import Horizontal, Metric, of_the_whole
from planner.simulation.peers.objects import Look, Spec, bounded
from planner.simulation.peers.windows import Recent

ENGINE_S = 60.0
SYNC_S = 15.0
BATCH_TOKENS = 8192.0
"""Prompt tokens of one step, vLLM's argument where none is given."""
LEARNT = 10
"""Observed compute-bound capacities that are averaged."""


@dataclass(frozen=True, slots=True)
class Peak:
    """The highest of one replica over the last minute."""

    kv_usage: float
    waiting: float


def saturation(peaks: Iterable[Peak], knobs: Mapping[str, float]) -> int:
    """V1: +1, 0 or −1 replicas.

    A replica below both thresholds is not saturated and has a spare of each. Up when the mean spare of those
    replicas (0 when there are none) is below a trigger; down when there are two of them or more and the spare
    would still reach both triggers with their load on one fewer.
    """
    full_kv, full_queue = knobs["kv_threshold"], knobs["queue_threshold"]
    fit = [p for p in peaks if p.kv_usage < full_kv and p.waiting < full_queue]
    n = len(fit)
    spare_kv = sum(full_kv - p.kv_usage for p in fit) / n if n else 0.0
    spare_queue = sum(full_queue - p.waiting for p in fit) / n if n else 0.0
    if spare_kv < knobs["kv_spare_trigger"] or spare_queue < knobs["queue_spare_trigger"]:
        return 1
    if n < 2:
        return 0
    more = n / (n - 1)
    left_kv, left_queue = full_kv - (full_kv - spare_kv) * more, full_queue - (full_queue - spare_queue) * more
    return -1 if left_kv >= knobs["kv_spare_trigger"] and left_queue >= knobs["queue_spare_trigger"] else 0


@dataclass(slots=True)
class Tokens:
    """V2: demand and capacity in tokens of KV cache, and what it has learnt of the capacity.

    Of a replica's capacity the memory allows ``kv_threshold`` of its cache, the compute what was in use whenever
    the queue was long (the mean of the last ten times, by output length). The derivation from the engine's
    arguments (``max_batched_tokens``, ``max_sequences``) stands in until that has been seen.
    """

    knobs: Mapping[str, float]
    learnt: dict[str, deque[float]] = field(default_factory=dict)

    def capacity(self, cache: float, peak: Peak, isl: float, osl: float) -> float:
        """Tokens that one replica can hold and keep up with."""
        by_memory = math.floor(cache * self.knobs["kv_threshold"])
        return min(by_memory, self._by_compute(cache, peak, isl, osl) or by_memory)

    def _by_compute(self, cache: float, peak: Peak, isl: float, osl: float) -> float:
        kind = "short" if osl < 100 else "medium" if osl < 500 else "long"
        in_use = math.floor(peak.kv_usage * cache)
        seen = self.learnt.setdefault(kind, deque(maxlen=LEARNT))
        if peak.waiting >= self.knobs["queue_threshold"] and in_use > 0:
            seen.append(in_use)
            return in_use
        if seen:
            return math.floor(sum(seen) / len(seen))
        if osl <= 0:
            return 0.0
        steady = min(self.knobs["max_batched_tokens"] * osl / (isl + osl), self.knobs["max_sequences"])
        return math.floor(steady * (isl + osl / 2))

    def target(
        self, role: Role, cache: float, peaks: Iterable[Peak], requested: int, ready: int, isl: float, osl: float
    ) -> int:
        """Replicas for the demand: rounded up on the way up, down on the way down, never the last."""
        peaks = tuple(peaks)
        each = median([self.capacity(cache, peak, isl, osl) for peak in peaks])
        if each <= 0:
            return requested
        tokens = isl if role is Role.PREFILL else isl + osl
        demand = sum(math.floor(peak.kv_usage * cache) + peak.waiting * tokens for peak in peaks)
        missing = demand / self.knobs["up_threshold"] - requested * each
        spare = ready * each - demand / self.knobs["down_boundary"]
        if missing > 0:
            return requested + math.ceil(missing / each)
        if spare > 0:
            return max(min(1, requested), requested - math.floor(spare / each))
        return requested


def _look(worker: WorkerReading, pool: Pool) -> Peak:
    if pool.role is not Role.PREFILL or not worker.waiting:
        return Peak(max(worker.kv_usage, worker.prompt_tokens / pool.profile.max_kv_tokens), worker.waiting)
    together = max(0.0, min(worker.waiting_tokens, BATCH_TOKENS - worker.prompt_tokens))
    share = together / worker.waiting_tokens if worker.waiting_tokens else 0.0
    usage = max(worker.kv_usage, (worker.prompt_tokens + together) / pool.profile.max_kv_tokens)
    return Peak(usage, worker.waiting * (1.0 - share))


Judge = Callable[[Pool, Look, tuple[Peak, ...], float, float, int], int]
"""(pool, what its HPA sees, peaks, mean ISL, mean OSL, replicas it published last) → replicas to publish."""


class Wva:
    """The engine's cadence and windows around either law, and an HPA for each pool on what it publishes."""

    def __init__(self, site: Site, judge: Judge, knobs: Mapping[str, float]) -> None:
        self._pools, self._judge = {pool.name: pool for pool in site.pools}, judge
        self._spec = Spec(site)
        self._published: dict[str, int] = {}
        self._hpas = {pool.name: Horizontal(pool, (self._metric(pool, knobs),), chart(knobs)) for pool in site.pools}
        self._seen: dict[str, dict[str, Recent[Peak]]] = {}
        self._lengths = (0.0, 0.0)
        self._last_s = -math.inf

    def step(self, seen: Observation) -> Decision:
        """Keep the peaks; judge anew when a minute is over; let the HPAs act."""
        looks = self._spec.looks(seen)
        self._look(seen)
        if seen.at - self._last_s >= ENGINE_S - 1e-6:
            self._last_s = seen.at
            for name, look in looks.items():
                peaks = self._peaks(name, seen.at)
                if peaks:
                    last = self._published.get(name, look.current)
                    found = self._judge(self._pools[name], look, peaks, *self._lengths, last)
                    self._published[name] = bounded(self._pools[name], found)
        return self._spec.decided(seen, {name: self._hpas[name].look(look) for name, look in looks.items()})

    def _metric(self, pool: Pool, knobs: Mapping[str, float]) -> Metric:
        """``wva_desired_replicas``, an external metric of which one replica is to have one."""
        published = self._published

        def asked(look: Look) -> int | None:
            n = published.get(pool.name)
            return None if n is None else of_the_whole(look, n, 1.0, knobs["tolerance"])

        return asked

    def _look(self, seen: Observation) -> None:
        window = seen.window
        if window and window.input_tokens and window.output_tokens:
            isl, osl = window.input_tokens.mean, window.output_tokens.mean
            self._lengths = (isl if isl is not None else self._lengths[0], osl if osl is not None else self._lengths[1])
        for name, reading in seen.pools.items():
            known = self._seen.get(name, {})
            kept = {worker.name: known.get(worker.name) or Recent(ENGINE_S) for worker in reading.workers}
            for worker in reading.workers:
                kept[worker.name].add(seen.at, _look(worker, self._pools[name]))
            self._seen[name] = kept

    def _peaks(self, pool: str, at: float) -> tuple[Peak, ...]:
        minutes = [past.within(at, ENGINE_S) for past in self._seen[pool].values()]
        return tuple(Peak(max(p.kv_usage for p in past), max(p.waiting for p in past)) for past in minutes)


def _percent(site: Site, knobs: Mapping[str, float]) -> Decider:
    def judge(pool: Pool, look: Look, peaks: tuple[Peak, ...], isl: float, osl: float, last: int) -> int:
        if last != look.current or look.unready:  # a change under way is let be
            return last
        return max(min(1, look.current), look.current + saturation(peaks, knobs))

    return Wva(site, judge, knobs)


def _token(site: Site, knobs: Mapping[str, float]) -> Decider:
    laws = {pool.name: Tokens(knobs) for pool in site.pools}

    def judge(pool: Pool, look: Look, peaks: tuple[Peak, ...], isl: float, osl: float, last: int) -> int:
        return laws[pool.name].target(
            pool.role, pool.profile.max_kv_tokens, peaks, look.current, look.reading.ready, isl, osl
        )

    return Wva(site, judge, knobs)


def chart(knobs: Mapping[str, float]) -> Behavior:
    """The project's chart: 10 pods in 150 s either way, after a window."""
    pace = (Rule(150.0, pods=10),)
    return Behavior(Direction(knobs["up_stabilization_s"], pace), Direction(knobs["down_stabilization_s"], pace))


_CHART = {"up_stabilization_s": 240.0, "down_stabilization_s": 240.0, "tolerance": 0.1}
V1 = Peer(
    name="wva-v1",
    source="llm-d workload-variant-autoscaler 0.5, internal/saturation/analyzer.go; its chart's HPA",
    tick_s=SYNC_S,
    make=_percent,
    defaults={
        "kv_threshold": 0.80,
        "queue_threshold": 5.0,
        "kv_spare_trigger": 0.10,
        "queue_spare_trigger": 3.0,
        **_CHART,
    },
    searched={
        "kv_spare_trigger": (0.1, 0.2, 0.3, 0.4, 0.5),
        "up_stabilization_s": (0.0, 60.0, 120.0, 240.0),
        "tolerance": (0.0, 0.1),
    },
)
V2 = Peer(
    name="wva",
    source="llm-d workload-variant-autoscaler 0.9, internal/engines/analyzers/saturation_v2; its chart's HPA",
    tick_s=SYNC_S,
    make=_token,
    defaults={
        "kv_threshold": 0.80,
        "queue_threshold": 5.0,
        "up_threshold": 0.85,
        "down_boundary": 0.70,
        "max_batched_tokens": BATCH_TOKENS,
        "max_sequences": 256.0,  # also vLLM's
        **_CHART,
    },
    searched={
        "kv_threshold": (0.2, 0.4, 0.6, 0.8),
        "up_threshold": (0.5, 0.6, 0.7, 0.85),
        "up_stabilization_s": (0.0, 60.0, 120.0, 240.0),
    },
)
