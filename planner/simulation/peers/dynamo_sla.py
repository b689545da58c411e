"""NVIDIA Dynamo's planner, target ``sla``: a predicted floor every 180 s, the load loop ±1 above it every 5 s.

The floor: requests, ISL and OSL of the next interval by a forecast of each; replicas = demand over what one engine
does within the TTFT (prefill) or ITL (decode), rounded up, at most 8 more or fewer than there are. The load loop:
one more when the next request would miss its target at every engine; one fewer when, with the load of N engines on
N − 1, the queue would take less than 80 % of what the TTFT leaves after the prompt's own time, the KV cache would
hold and the ITL stay under 80 % of its target. A role that cannot be judged keeps what it has.

Shipped with the floor alone (``load`` 0); both together is what the guide has for production and what runs here.
The engine model starts from the pool's profile, as the original does from the results of its profiler, and goes on
learning from the passes of live engines.

What stands for what: see ``dynamo``. A pass of a decode engine is the running batch with the mean token gap since
the last look, that of a prefill engine the prompt under way with its whole prefill time. An aggregated engine's pass
would need the prompt tokens in each step, which the plant does not show: this law steers prefill and decode pools.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from planner.core.policy import Pool, Sla
from planner.core.types import Decision, Observation, PoolReading, Reason, Role, Window
from planner.ports import Decider
from planner.simulation.peers.api import Peer, Site
from planner.simulation.peers.dynamo import (
    LOAD_S,
    Count,
    LoadLoop,
    Pass,
    Passes,
    Work,
    budget_of,
    counted,
    decided,
    ordered,
    passes,
)
from planner.simulation.peers.dynamo_budget import Fleet
from planner.simulation.peers.dynamo_engine import Engine, Limits
from planner.simulation.peers.dynamo_forecast import FORECASTERS, Shape

Figures = tuple[float, float, float, float | None]
"""Requests per second, ISL, OSL, share of prompt tokens found in the prefix cache."""


@dataclass(slots=True)
class Latency:
    """One role's judge: what the next request would meet."""

    engine: Engine
    target_s: float
    safety: float = 0.8
    hit: float | None = None

    def wants(self, role: Role, engines: Passes, count: Count, least: int) -> int | None:
        """One more, one fewer, or ``None``."""
        if not self.engine.regression.ready or count.ready == 0:
            return None
        more = count.ready / (count.ready - 1) if count.ready > 1 else 1.0
        ordered_engines = [engines[name] for name in sorted(engines)]
        now = [found for engine in ordered_engines if (found := self._now(role, engine)) is not None]
        if not now:
            return None
        if all(found > self.target_s for found in now):
            return count.ready + 1
        if (count.ready > 1 or count.pending) and all(self._spare(role, engine, more) for engine in ordered_engines):
            return max(count.ready - 1, least)
        return None

    def _now(self, role: Role, engine: Pass) -> float | None:
        return self.engine.ttft_s(engine, self.hit) if role is Role.PREFILL else self.engine.itl_s(engine)

    def _spare(self, role: Role, engine: Pass, more: float) -> bool:
        """Whether this engine could take its part of one that goes."""
        if role is Role.PREFILL:
            own, with_queue = self.engine.ttft_s(engine, self.hit, 0.0), self.engine.ttft_s(engine, self.hit, more)
            return own is not None and with_queue is not None and (
                with_queue - own < (self.target_s - own) * self.safety
            )  # fmt: skip
        held = int((engine.scheduled.kv_tokens + engine.queued.kv_tokens) * more)
        itl = self.engine.itl_s(engine, more)
        return held < self.engine.limits.cache_tokens and itl is not None and itl < self.target_s * self.safety


@dataclass(slots=True)
class SlaLaw:
    """Both loops over prefill and decode, told plain figures."""

    judges: tuple[Latency, Latency]
    loop: LoadLoop
    step_limit: int = 8
    load: bool = True

    def observe(self, engines: tuple[Passes, ...]) -> None:
        """Learn from the last passes; before every decision."""
        for judge, seen in zip(self.judges, engines, strict=True):
            judge.engine.observe(seen)

    def predict(self, counts: tuple[Count, ...], ahead: Figures) -> Fleet:
        """The floor for the next interval; also the wish when there is no load loop."""
        rate, isl, osl, hit = ahead
        for judge in self.judges:
            judge.hit = hit if hit is not None else judge.hit
        ready = tuple(count.ready for count in counts)
        each = [judge.engine.rate(isl, osl, judge.target_s, hit) for judge in self.judges]
        budget = self.loop.budget
        wanted = ready
        if all(each):
            wanted = tuple(max(math.ceil(rate / per_s), few) for per_s, few in zip(each, budget.least, strict=True)
                           if per_s)  # fmt: skip
        near = tuple(min(max(n, max(0, now - self.step_limit)), now + self.step_limit)
                     for n, now in zip(wanted, ready, strict=True))  # fmt: skip
        bounded = tuple(map(max, near, budget.least))
        if any(now < few for now, few in zip(ready, budget.least, strict=True)):
            self.loop.floor = budget.clamped(bounded)
        else:
            self.loop.floor = budget.towards(ready, bounded)
        return self.loop.floor

    def decide(
        self, at: float, engines: tuple[Passes, ...], counts: tuple[Count, ...], fresh: bool
    ) -> dict[Role, int] | None:
        """The load loop; without it the floor itself, when it is ``fresh`` and nothing starts."""
        if self.load:
            return self.loop.decide(at, engines, counts)
        if not fresh or any(count.pending for count in counts):
            return None
        ready = tuple(count.ready for count in counts)
        final = self.loop.budget.guarded(ready, self.loop.floor)
        return None if final == ready else dict(zip(self.loop.roles, final, strict=True))


@dataclass(slots=True)
class _Gathered:
    """What the front door counted since the last floor."""

    seconds: float = 0.0
    requests: float = 0.0
    prompts: float = 0.0
    prompt_tokens: float = 0.0
    answers: float = 0.0
    answer_tokens: float = 0.0
    cached_tokens: float | None = None

    def add(self, window: Window) -> None:
        self.seconds += window.seconds
        self.requests += window.started or 0.0
        if window.input_tokens:
            self.prompts += window.input_tokens.count
            self.prompt_tokens += window.input_tokens.total
        if window.output_tokens:
            self.answers += window.output_tokens.count
            self.answer_tokens += window.output_tokens.total
        if window.cached_tokens is not None:
            self.cached_tokens = (self.cached_tokens or 0.0) + window.cached_tokens


@dataclass(slots=True)
class DynamoSla:
    """The law in the loop: reads engines and the front door, at two rhythms."""

    site: Site
    law: SlaLaw
    shape: Shape
    interval_s: float
    batch: int
    gathered: _Gathered = field(default_factory=_Gathered)
    gaps: dict[str, tuple[float, float]] = field(default_factory=dict)
    last_s: float = math.nan

    def step(self, seen: Observation) -> Decision:
        """Learn, predict when an interval is over, and let the load loop judge."""
        pools = ordered(self.site)
        engines = tuple(self._passes(pool, seen.pools[pool.name]) for pool in pools)
        counts = tuple(counted(seen.pools[pool.name]) for pool in pools)
        self.law.observe(engines)
        if seen.window is not None:
            self.gathered.add(seen.window)
        if math.isnan(self.last_s):
            self.last_s = seen.at
        fresh = seen.at - self.last_s >= self.interval_s - 1e-6 and self.gathered.seconds > 0
        if fresh:
            self.last_s = seen.at
            self._predict(counts)
        found = self.law.decide(seen.at, engines, counts, fresh)
        decision = decided(self.site, seen, found, blind=not any(engines))
        return decision if found is None or not fresh else _as(decision, Reason.SIZED)

    def _predict(self, counts: tuple[Count, ...]) -> None:
        past, self.gathered = self.gathered, _Gathered()
        isl = past.prompt_tokens / past.prompts if past.prompts else math.nan
        osl = past.answer_tokens / past.answers if past.answers else math.nan
        hit = past.cached_tokens / past.prompt_tokens if past.cached_tokens and past.prompt_tokens else None
        self.shape.add(past.requests, isl, osl)
        requests, isl, osl = self.shape.ahead()
        self.law.predict(counts, (requests / past.seconds, isl, osl, hit))

    def _passes(self, pool: Pool, reading: PoolReading) -> dict[str, Pass]:
        step_s = {}
        for w in reading.workers:
            name = f"{pool.name}/{w.name}"
            gaps, seconds = self.gaps.get(name, (0.0, 0.0))
            if w.gaps > gaps:
                step_s[w.name] = (w.gaps_s - seconds) / (w.gaps - gaps)
            self.gaps[name] = (w.gaps, w.gaps_s)
        return passes(reading, pool.role, pool.profile.max_kv_tokens, step_s, self.batch)


def _as(decision: Decision, reason: Reason) -> Decision:
    return Decision(decision.at, decision.replicas, decision.wanted, reason, decision.adjustments)


def benchmarks(pool: Pool) -> list[Pass]:
    """The profile's points as forward passes: a prompt alone, or a batch at its context."""
    if pool.role is Role.PREFILL:
        return [Pass(Work(prompts=1, prompt_tokens=int(p.isl)), seconds=p.ttft_s) for p in pool.profile.prefill_points]
    rows = []
    for p in pool.profile.decode_points:
        kv = round(p.kv_usage * pool.profile.max_kv_tokens)
        batch = max(1, round(kv / p.context_tokens))
        rows.append(Pass(Work(sequences=batch, kv_tokens=kv), seconds=p.itl_s))
    return rows


def law_of(site: Site, limits: Mapping[Role, Limits], safety: float = 0.8, load: bool = True) -> SlaLaw:
    """The law for a site with one prefill and one decode pool, knowing nothing of their engines yet."""
    roles = tuple(p.role for p in ordered(site))
    prefill, decode = (Engine(role, limits[role]) for role in roles)
    judges = (Latency(prefill, site.sla.ttft_s, safety), Latency(decode, site.sla.itl_s, safety))
    return SlaLaw(judges, LoadLoop(roles, budget_of(site), judges, floor=(1, 1)), load=load)


def _maker(forecaster: str) -> Peer:
    def make(site: Site, knobs: Mapping[str, float]) -> Decider:
        sla = Sla(site.sla.ttft_s * knobs["targets"], site.sla.itl_s * knobs["targets"])
        tight = Site(site.pools, sla, site.budget_gpus)
        pools = ordered(site)
        batch, together = int(knobs["batch_tokens"]), int(knobs["sequences"])
        limits = {p.role: Limits(batch, together, int(p.profile.max_kv_tokens)) for p in pools}
        law = law_of(tight, limits, knobs["safety"] / 100, knobs["load"] > 0)
        for judge, pool in zip(law.judges, pools, strict=True):
            judge.engine.learn(benchmarks(pool))
        new = FORECASTERS[forecaster]
        return DynamoSla(site, law, Shape(new(), new(), new()), knobs["interval_s"], batch)

    return Peer(
        name="dynamo-sla" if forecaster == "arima" else f"dynamo-sla+{forecaster}",
        source="NVIDIA Dynamo ai-dynamo 1.6.1, dynamo/planner/core/{throughput,load}_scaling.py, "
        f"optimization_target: sla, load_predictor: {forecaster}",
        tick_s=LOAD_S,
        make=make,
        defaults={
            "targets": 1.0,  # times the promised TTFT and ITL: what an operator writes into ttft_ms and itl_ms
            "interval_s": 180.0,
            "load": 1.0,
            "safety": 80.0,
            "batch_tokens": 8192.0,  # vLLM's arguments where none are given
            "sequences": 1024.0,
        },
        searched={"targets": (0.4, 0.6, 0.8, 1.0), "interval_s": (60.0, 120.0, 180.0), "load": (0.0, 1.0)},
        modes=("disaggregated",),
    )


SLA_ARIMA, SLA_CONSTANT, SLA_KALMAN, SLA_PROPHET = map(_maker, ("arima", "constant", "kalman", "prophet"))
