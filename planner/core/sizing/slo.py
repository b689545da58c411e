"""The ``slo`` law: the fewest replicas whose expected misses are worth their price.

Each promise is sized for by itself, and a pool gets the most that any of its promises asks for. A joint
promise of both latencies is one.

Two forms of one question. *Within a share*: the smallest fleet whose expected
misses stay within a miss budget, the same part of it for every pool, so that
each pool's answer is monotone by construction. *At a price*: each pool adds
replicas while one more saves misses worth more than it costs; a common price
for all pools and all hours is the joint optimum over both (the Lagrangian of
"fewest GPU-seconds with a given number of misses").
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from planner.core import tuning
from planner.core.load import Load
from planner.core.policy import Pool, Promise, Sla
from planner.core.sizing.aggregated import AggregatedModel
from planner.core.sizing.decode import DecodeModel
from planner.core.sizing.model import PoolModel
from planner.core.sizing.prefill import PrefillModel
from planner.core.types import Expected, Role

MOST = 1_000_000
"""No pool is ever sized beyond this; an SLA out of reach ends here at the latest."""

PRECISION = 0.02
"""Of the fractional replicas at which a price is taken: it is averaged over hours anyway."""

MODELS: Mapping[Role, type[PrefillModel | DecodeModel | AggregatedModel]] = {
    Role.PREFILL: PrefillModel,
    Role.DECODE: DecodeModel,
    Role.AGGREGATED: AggregatedModel,
}


@dataclass(frozen=True, slots=True)
class Sizing:
    """Replicas by pool and what the model expects of them."""

    replicas: Mapping[str, int]
    expected: Expected
    unreachable: tuple[str, ...] = ()  # sentences: what no fleet can keep, and the best that can be had


def models(pools: tuple[Pool, ...], sla: Sla, load: Load, slowness: Mapping[str, float]) -> dict[str, PoolModel]:
    """The model of every pool under one load, asked about both latencies.

    ``slowness`` is observed over profiled time, by pool: 1 where it is not given, the profile is right.
    """
    return {pool.name: MODELS[pool.role].of(pool, sla, load, slowness.get(pool.name, 1.0)) for pool in pools}


def by_promise(sla: Sla, parts: Mapping[str, PoolModel]) -> dict[Promise, dict[str, PoolModel]]:
    """The models asked about each promise: those of the pools that have a part in it."""
    return {
        promise: {name: part.about(promise) for name, part in parts.items() if part.pool.role in promise.roles}
        for promise in sla.promises
    }


def most(pools: Sequence[Pool], fleets: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """As many in each pool as any of the fleets has there."""
    wanted = dict.fromkeys((pool.name for pool in pools), 0)
    for fleet in fleets:
        wanted |= {name: max(wanted[name], n) for name, n in fleet.items()}
    return wanted


def fewest(pools: tuple[Pool, ...], sla: Sla, parts: Mapping[str, PoolModel]) -> dict[str, int]:
    """Smallest replicas that keep every promise, what a promise allows split evenly over its pools."""
    asked = by_promise(sla, parts)
    return most(pools, (within_share(those(pools, own), own, promise.measure.allowance)
                        for promise, own in asked.items()))  # fmt: skip


def those(pools: Iterable[Pool], parts: Mapping[str, PoolModel]) -> tuple[Pool, ...]:
    """The pools that have a model among ``parts``."""
    return tuple(pool for pool in pools if pool.name in parts)


def within_share(pools: tuple[Pool, ...], parts: Mapping[str, PoolModel], share: float) -> dict[str, int]:
    """Smallest replicas whose expected misses stay within ``share`` of requests, split evenly over the pools."""
    each = share / len(pools)
    return {pool.name: smallest(parts[pool.name], each) for pool in pools}


def at_price(pools: tuple[Pool, ...], parts: Mapping[str, PoolModel], price: float, cap: float) -> dict[str, int]:
    """Replicas while one more is worth it at ``price`` GPU-seconds (times what a GPU costs) per missed request.

    Never fewer than what keeps expected misses of each pool within ``cap``.
    """
    fleet = {}
    for pool in pools:
        missed_per_s, n = parts[pool.name].missed_per_s, smallest(parts[pool.name], cap)
        while n < MOST and (missed_per_s(n) - missed_per_s(n + 1)) * price > pool.price:
            n += 1
        fleet[pool.name] = n
    return fleet


def shadow_price(pools: tuple[Pool, ...], parts: Mapping[str, PoolModel], share: float) -> float | None:
    """GPU-seconds, times what a GPU costs, that one more kept request would take where misses are just ``share``.

    Geometric mean over the pools; ``None`` without load, or where all misses end within a fraction of a
    replica. A derivative at a fractional number of replicas, so that rounding does not make it jump.
    """
    logs = []
    for pool in pools:
        model = parts[pool.name]
        if model.load.mean_rate <= tuning.LEAST_RATE:
            return None
        n = _fractional(model, share / len(pools))
        step = max(0.02 * n, 1e-3)
        saved = (model.missed_per_s(n - 0.5 * step) - model.missed_per_s(n + 0.5 * step)) / step
        if saved > 0:
            logs.append(math.log(pool.price / saved))
    return math.exp(sum(logs) / len(logs)) if logs else None


def smallest(model: PoolModel, share: float) -> int:
    """Smallest whole number of replicas with expected misses <= ``share`` of the requests (0 without load).

    Requests that no fleet can serve in time do not count against it: more replicas would not help them.
    """
    rate = model.load.mean_rate
    if rate <= tuning.LEAST_RATE:
        return 0
    allowed = share * rate
    low, high = 0, max(1, math.ceil(model.busy(rate)))
    while high < MOST and not model.keeps_within(high, allowed):
        low, high = high, min(MOST, high + max(1, high // 4))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if model.keeps_within(middle, allowed) else (middle, high)
    return high


def expect(pools: tuple[Pool, ...], parts: Mapping[str, PoolModel], load: Load, fleet: Mapping[str, float]) -> Expected:
    """TTFT, ITL and attainment the model expects of ``fleet`` under ``load``."""
    rate = load.mean_rate
    if rate <= tuning.LEAST_RATE:
        return Expected(None, None, None)
    missed = sum(parts[pool.name].missed_per_s(max(fleet[pool.name], 0.5)) for pool in pools) / rate
    missed += max(parts[pool.name].hopeless for pool in pools)
    ttft = [parts[p.name].ttft_s(fleet[p.name], rate) for p in pools if p.role != "decode"]
    itl = [parts[p.name].itl_s(fleet[p.name], rate) for p in pools if p.role != "prefill"]
    return Expected(
        ttft_s=max((t for t in ttft if t is not None), default=None),
        itl_s=max((t for t in itl if t is not None), default=None),
        attainment=max(0.0, 1.0 - missed),
    )


def within_reach(promise: Promise, parts: Mapping[str, PoolModel], load: Load, fleet: Mapping[str, int]) -> bool:
    """Whether the model expects ``fleet`` to keep a promise; ``parts`` are the models asked about it."""
    taken = sum(part.missed_per_s(max(fleet[name], 0.5)) for name, part in parts.items())
    hopeless = max((part.hopeless for part in parts.values()), default=0.0)
    return taken <= (promise.measure.allowance - hopeless + 1e-6) * load.mean_rate


def unreachable(parts: Mapping[str, PoolModel]) -> tuple[str, ...]:
    """What no fleet can keep, one sentence a pool."""
    said = []
    for name, model in parts.items():
        if model.reachable is not None:
            what, target, best = model.reachable
            said.append(
                f"{name}: {what} {target * 1e3:.4g} ms is out of reach of any fleet; best reachable {best * 1e3:.4g} ms"
            )
    return tuple(said)


def size(pools: tuple[Pool, ...], sla: Sla, load: Load, slowness: Mapping[str, float] | None = None) -> Sizing:
    """The one-shot question: replicas for this load and this promise, before any limit."""
    parts = models(pools, sla, load, slowness or {})
    fleet = fewest(pools, sla, parts)
    beyond = [said for own in by_promise(sla, parts).values() for said in unreachable(own)]
    return Sizing(fleet, expect(pools, parts, load, fleet), tuple(beyond))


def _fractional(model: PoolModel, share: float) -> float:
    """Replicas, fractional, where expected misses come down to ``share``."""
    rate = model.load.mean_rate
    allowed = share * rate
    low, high = 0.0, max(1.0, model.busy(rate))
    while high < MOST and not model.keeps_within(high, allowed):
        low, high = high, 1.3 * high
    while high - low > PRECISION * high:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if model.keeps_within(middle, allowed) else (middle, high)
    return min(high, float(MOST))
