"""NVIDIA Dynamo's planner, targets ``throughput`` (its default) and ``latency``: thresholds, ±1 every 5 s.

Up by one when any engine is above its threshold, down by one when all are below the lower one and the load of N
engines on N − 1 would not be above the upper one at once. A prefill engine is judged by its queued prompt tokens
over the model's context length, a decode or aggregated engine by the tokens that its running and evicted requests
(aggregated: and queued prompts) hold over its KV cache. Both roles decide together within the GPU budget. While
replicas start nothing grows; they are called off when the same smaller fleet has been wanted for a whole interval.

The thresholds of these two targets cannot be set, those of the target ``load`` can; the searched values stand for it.

What stands for what: ``WorkerReading`` for the engine's forward-pass metrics, the latest of each engine; the pool's
profile for the size of its KV cache. The plant does not tell an evicted request from one that never got in: what
waits at a decode worker counts as evicted, without which the threshold of 100 % could never be passed. Pods that drain
are not seen; the original waits for them to end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from planner.core.policy import Pool
from planner.core.types import Decision, Observation, PoolReading, Reason, Role
from planner.ports import Decider
from planner.simulation.peers.answer import answer
from planner.simulation.peers.api import Peer, Site
from planner.simulation.peers.dynamo_budget import Budget, Fleet

LOAD_S = 5.0
CONTEXT_TOKENS = 131_072.0
"""Of Llama 3.1, whose profile is shipped."""


@dataclass(frozen=True, slots=True)
class Work:
    """Requests of one kind, and their tokens."""

    prompts: int = 0
    prompt_tokens: int = 0
    sequences: int = 0
    kv_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Pass:
    """One forward pass of one engine: what was in it, what waited, how long it took (0: the engine was idle)."""

    scheduled: Work = field(default_factory=Work)
    queued: Work = field(default_factory=Work)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Count:
    """Replicas of one pool: serving, and starting."""

    ready: int
    pending: int = 0


Passes = Mapping[str, Pass]
"""By engine."""


class Judge(Protocol):
    """What tells one role how many replicas it should have."""

    def wants(self, role: Role, engines: Passes, count: Count, least: int) -> int | None:
        """Replicas, or ``None`` when nothing is to be changed or can be said."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The static thresholds, as shares of the context length and of the KV cache."""

    context_tokens: float
    cache_tokens: float
    prefill: tuple[float, float]  # up from, down below
    decode: tuple[float, float]  # up above, down below

    def wants(self, role: Role, engines: Passes, count: Count, least: int) -> int | None:
        """One more, one fewer, as many as now (one fewer would be too few), or no opinion."""
        if not engines or count.ready == 0:
            return None
        values = [self._load(role, engine) for engine in engines.values()]
        up, down = self.prefill if role is Role.PREFILL else self.decode
        if max(values) > up or (role is Role.PREFILL and max(values) >= up):
            return count.ready + 1
        idle = max(values) < down or (role is Role.PREFILL and down == 0.0 and max(values) == 0.0)
        if not idle or (count.ready == 1 and not count.pending):
            return None
        fewer = max(count.ready - 1, least)
        if 0 < fewer < count.ready and max(values) * count.ready / fewer >= up:
            return count.ready
        return fewer

    def _load(self, role: Role, engine: Pass) -> float:
        if role is Role.PREFILL:
            return engine.queued.prompt_tokens / self.context_tokens
        prompts = engine.queued.prompt_tokens if role is Role.AGGREGATED else 0
        return (engine.scheduled.kv_tokens + engine.queued.kv_tokens + prompts) / self.cache_tokens


@dataclass(slots=True)
class LoadLoop:
    """From the roles' wishes to one fleet: floors, budget, and patience while replicas start.

    ``floor`` is what the slow, predictive loop found to be the least, where there is one.
    """

    roles: tuple[Role, ...]
    budget: Budget
    judges: tuple[Judge, ...]
    floor: Fleet = ()
    smaller: tuple[dict[Role, int], tuple[Count, ...]] | None = None  # wanted of what was there, while some started
    smaller_s: float = 0.0  # since when

    def decide(self, at: float, engines: tuple[Passes, ...], counts: tuple[Count, ...]) -> dict[Role, int] | None:
        """Replicas of the roles that change; ``None``: leave everything as it is."""
        starting = any(count.pending for count in counts)
        ready = tuple(count.ready for count in counts)
        wishes = self._wishes(engines, counts)
        if starting:
            return self._call_off(at, wishes, counts)
        self.smaller = None
        if wishes is None:
            final = ready
        else:
            wanted = tuple(now if wish is None else wish for now, wish in zip(ready, wishes, strict=True))
            final = self._allowed(ready, wanted)
        least = self.budget.least
        if final == ready and self.budget.fits(ready) and all(n >= few for n, few in zip(ready, least, strict=True)):
            return None
        final = self.budget.clamped(tuple(map(max, final, least)))
        return None if final == ready else dict(zip(self.roles, final, strict=True))

    def _wishes(self, engines: tuple[Passes, ...], counts: tuple[Count, ...]) -> tuple[int | None, ...] | None:
        """``None``: nothing is known of any role, or not of as many engines as there are."""
        if not any(engines):
            return None
        if any(seen and len(seen) != count.ready for seen, count in zip(engines, counts, strict=True)):
            return None
        parts = zip(self.judges, self.roles, engines, counts, self.budget.least, strict=True)
        return tuple(judge.wants(role, seen, count, least) if seen else None
                     for judge, role, seen, count, least in parts)  # fmt: skip

    def _allowed(self, ready: Fleet, wanted: Fleet) -> Fleet:
        lifted = tuple(map(max, wanted, self.floor)) if self.floor else wanted
        least = self.budget.least
        bounded = tuple(map(max, lifted, least))
        if len(ready) > 1 and any(now < few for now, few in zip(ready, least, strict=True)):
            return self.budget.clamped(bounded)
        if len(ready) > 1 and lifted != wanted:
            bounded = self.budget.towards(ready, bounded)
        return self.budget.guarded(ready, bounded)

    def _call_off(
        self, at: float, wishes: tuple[int | None, ...] | None, counts: tuple[Count, ...]
    ) -> dict[Role, int] | None:
        """While replicas start only a smaller fleet is listened to, when it is wanted twice running."""
        smaller: dict[Role, int] = {}
        rows = zip(self.roles, wishes or (None,) * len(counts), counts, self.floor or self.budget.least,
                   self.budget.least, strict=True)  # fmt: skip
        for role, wish, count, floor, least in rows:
            if wish is None or wish > count.ready:
                continue
            wish = max(wish, floor, least)
            if wish <= count.ready and wish < count.ready + count.pending:
                smaller[role] = wish
        after = [smaller.get(role, c.ready + c.pending) for role, c in zip(self.roles, counts, strict=True)]
        if not smaller or not self.budget.fits(after):
            self.smaller = None
            return None
        if self.smaller != (smaller, counts):
            self.smaller, self.smaller_s = (smaller, counts), at
            return None
        return smaller if at - self.smaller_s >= LOAD_S else None


def passes(
    reading: PoolReading, role: Role, cache: float, step_s: Mapping[str, float], batch: float
) -> dict[str, Pass]:
    """Every engine's last forward pass, of ``batch`` prompt tokens at most; ``step_s`` is the ITL of each."""
    found = {}
    for w in reading.workers:
        waiting, tokens = round(w.waiting), round(w.waiting_tokens)
        if role is Role.PREFILL:
            part = min(1.0, batch / w.prompt_tokens) if w.prompt_tokens else 0.0
            prompt = round(w.prompt_tokens * part)
            scheduled = Work(prompts=int(prompt > 0), prompt_tokens=prompt)
            found[w.name] = Pass(scheduled, Work(prompts=waiting, prompt_tokens=tokens), w.prompt_s * part)
            continue
        scheduled = Work(sequences=round(w.running), kv_tokens=round(w.kv_usage * cache))
        if role is Role.DECODE:
            queued = Work(sequences=waiting, kv_tokens=tokens)
        else:
            queued = Work(prompts=waiting, prompt_tokens=tokens)
        found[w.name] = Pass(scheduled, queued, step_s.get(w.name, 0.0))
    return found


def counted(reading: PoolReading) -> Count:
    """Serving and starting replicas."""
    return Count(reading.ready, max(0, reading.requested - reading.ready))


def ordered(site: Site) -> tuple[Pool, ...]:
    """One aggregated pool, or prefill and then decode.

    Raises:
        ValueError: the site is neither.
    """
    by_role = {pool.role: pool for pool in site.pools}
    wanted = (Role.AGGREGATED,) if len(site.pools) == 1 else (Role.PREFILL, Role.DECODE)
    if len(site.pools) > 2 or set(by_role) != set(wanted):
        raise ValueError("Dynamo's planner steers one aggregated pool, or one prefill and one decode pool")
    return tuple(by_role[role] for role in wanted)


def budget_of(site: Site) -> Budget:
    """The site's GPUs, and the fewest replicas of its pools."""
    pools = ordered(site)
    return Budget(tuple(p.gpus for p in pools), tuple(p.min_replicas for p in pools), site.budget_gpus)


@dataclass(slots=True)
class Dynamo:
    """The load loop alone."""

    site: Site
    loop: LoadLoop

    def step(self, seen: Observation) -> Decision:
        """Judge the engines as they are now."""
        pools = ordered(self.site)
        engines = tuple(passes(seen.pools[p.name], p.role, p.profile.max_kv_tokens, {}, math.inf) for p in pools)
        found = self.loop.decide(seen.at, engines, tuple(counted(seen.pools[p.name]) for p in pools))
        return decided(self.site, seen, found, blind=not any(engines))


def decided(site: Site, seen: Observation, found: Mapping[Role, int] | None, blind: bool) -> Decision:
    """The decision that the loop's answer is."""
    if found is None:
        return answer(site, seen, {}, Reason.HELD_BLIND if blind else Reason.HELD_BETWEEN)
    return answer(site, seen, {p.name: found[p.role] for p in site.pools if p.role in found})


def _make(site: Site, knobs: Mapping[str, float]) -> Decider:
    judges = tuple(
        Thresholds(
            context_tokens=knobs["context_tokens"],
            cache_tokens=pool.profile.max_kv_tokens,
            prefill=(knobs["prefill_up"], knobs["prefill_down"]),
            decode=(knobs["decode_up"], knobs["decode_down"]),
        )
        for pool in ordered(site)
    )
    return Dynamo(site, LoadLoop(tuple(p.role for p in ordered(site)), budget_of(site), judges))


SOURCE = "NVIDIA Dynamo ai-dynamo 1.6.1, dynamo/planner/core/load_scaling.py"
THROUGHPUT = Peer(
    name="dynamo",
    source=f"{SOURCE}, optimization_target: throughput",
    tick_s=LOAD_S,
    make=_make,
    defaults={
        "prefill_up": 1.0,
        "prefill_down": 0.1,
        "decode_up": 1.0,
        "decode_down": 0.6,
        "context_tokens": CONTEXT_TOKENS,
    },
    searched={
        "prefill_up": (0.02, 0.05, 0.1, 0.25, 0.5, 1.0),
        "decode_up": (0.2, 0.4, 0.6, 0.8, 1.0),
        "decode_down": (0.1, 0.2, 0.4, 0.6),
    },
)
LATENCY = Peer(
    name="dynamo-latency",
    source=f"{SOURCE}, optimization_target: latency",
    tick_s=LOAD_S,
    make=_make,
    defaults={
        "prefill_up": 0.1,
        "prefill_down": 0.0,
        "decode_up": 0.4,
        "decode_down": 0.1,
        "context_tokens": CONTEXT_TOKENS,
    },
    searched={
        "context_tokens": (8192.0, 16_384.0, 32_768.0, 131_072.0),
        "decode_up": (0.1, 0.2, 0.3, 0.4),
        "decode_down": (0.05, 0.1, 0.2),
    },
)
