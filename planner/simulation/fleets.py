"""Fixed fleets found by trying them: the start that everybody gets, and the best static one in hindsight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from planner.core.policy import Promise, What
from planner.simulation import promises
from planner.simulation.engine import Plant
from planner.simulation.promises import Outcomes
from planner.simulation.simulate import GRACE_S, World

HEAD_S = 300.0
"""The start is judged by the first five minutes."""
MOST = 4096
"""No pool is tried beyond this."""

LATENCIES = {"prefill": (What.TTFT,), "decode": (What.ITL,), "aggregated": (What.TTFT, What.ITL)}
"""What the workers of each pool are answerable for."""
Fleet = dict[str, int]


def initial_fleet(world: World, least: Mapping[str, int], most: Mapping[str, int] | None = None) -> Fleet:
    """The smallest ready fleet that keeps the goal over the first five minutes, within the bounds."""
    found = smallest_fleet(beginning(world, HEAD_S))
    bounded = {pool: max(least.get(pool, 1), n) for pool, n in found.items()}
    return {pool: min(n, (most or {}).get(pool, MOST)) for pool, n in bounded.items()}


def smallest_fleet(world: World, tried: Callable[[Fleet, float], None] | None = None) -> Fleet:
    """The cheapest fixed fleet that keeps the goal on the whole traffic, found by search in hindsight.

    Each pool alone is bisected with the others large; the joint promise then needs a little more, which is
    tried in order of GPUs. When no fleet keeps the goal, the one that comes within 0.1 points of the best
    (of a mean, within 0.1 %).
    """
    big = {pool: enough(world, pool) for pool in world.pools}
    best = outcomes(world, big)
    goals = {
        promise: min(promises.required(world.promise, promise), score - 1e-3)
        for promise, score in _scores(world, "aggregated", best).items()
    }
    floor = {pool: _bisected(world, pool, big, goals) for pool in world.pools}
    for fleet in _by_cost(floor, world.gpus_per_replica):
        found = outcomes(world, fleet)
        if tried is not None:
            tried(fleet, float(found.within(world.promise, LATENCIES["aggregated"]).mean()))
        if _keeps(world, "aggregated", found, goals):
            return fleet
    return big


def share_kept(world: World, fleet: Mapping[str, int]) -> tuple[Mapping[str, float], float]:
    """(share kept of each pool's own promise, share that kept both) with a fixed ready fleet."""
    found = outcomes(world, fleet)
    own = {pool: float(found.within(world.promise, LATENCIES[pool]).mean()) for pool in world.pools}
    return own, float(found.within(world.promise, LATENCIES["aggregated"]).mean())


def outcomes(world: World, fleet: Mapping[str, int]) -> Outcomes:
    """What becomes of every request with a fixed ready fleet."""
    ttft, itl = _served(world, fleet).outcomes()
    return Outcomes(ttft, itl, world.traffic.output_tokens > 1)


def _scores(world: World, pool: str, found: Outcomes) -> dict[Promise, float]:
    """How well the latencies that a pool's workers are answerable for did, by promise."""
    own = {promise: [what for what in promise.latencies if what in LATENCIES[pool]]
           for promise in world.promise.promises}  # fmt: skip
    return {promise: promises.score(world.promise, promise, latencies, found)
            for promise, latencies in own.items() if latencies}  # fmt: skip


def _keeps(world: World, pool: str, found: Outcomes, goals: Mapping[Promise, float]) -> bool:
    return all(score >= goals[promise] for promise, score in _scores(world, pool, found).items())


def _served(world: World, fleet: Mapping[str, int]) -> Plant:
    plant = world.new_plant()
    for pool, count in fleet.items():
        plant.add_many(pool, count)
    plant.advance(world.traffic.duration_s + GRACE_S)
    return plant


def beginning(world: World, end_s: float) -> World:
    """The world whose traffic ends after ``end_s``."""
    traffic = world.traffic
    end = min(end_s, traffic.duration_s)
    count = max(1, int(np.searchsorted(traffic.arrivals_s, end)))
    starts = None if traffic.block_starts is None else traffic.block_starts[: count + 1]
    head = replace(
        traffic,
        arrivals_s=traffic.arrivals_s[:count],
        input_tokens=traffic.input_tokens[:count],
        output_tokens=traffic.output_tokens[:count],
        block_ids=None if traffic.block_ids is None or starts is None else traffic.block_ids[: starts[-1]],
        block_starts=starts,
        duration_s=end,
    )
    return replace(world, traffic=head)


def enough(world: World, pool: str) -> int:
    """More replicas than any pool can need: one for every request that could be there at once, at most."""
    traffic = world.traffic
    per_minute = np.bincount((traffic.arrivals_s // 60.0).astype(np.int64))
    peak = float(per_minute.max()) / 60.0
    isl, osl = float(traffic.input_tokens.mean()), float(traffic.output_tokens.mean())
    plant = world.plant
    busy = peak * isl * plant.prefill_scale * plant.prefill_s[-1] / plant.prefill_isl[-1]
    decoding = peak * osl * world.promise.itl_s / _held(world, isl + osl)
    needed = {"prefill": busy, "decode": decoding, "aggregated": busy + decoding}[pool]
    return int(min(MOST, max(8.0, 2.0 * needed + 4.0)))


def _held(world: World, context: float) -> float:
    """Sequences of ``context`` tokens that one worker can decode within the ITL target; never below one."""
    plant, step = world.plant, world.plant.step
    slope = plant.decode_scale * plant.decode_slope_scale * (step.per_sequence_s + step.per_kv_token_s * context)
    within = (world.promise.itl_s - plant.decode_scale * step.base_s) / slope
    return max(1.0, min(within, plant.kv_capacity_tokens / context, plant.max_sequences))


def _bisected(world: World, pool: str, big: Fleet, goals: Mapping[Promise, float]) -> int:
    low, high = 0, big[pool]  # low fails, high keeps
    while high - low > 1:
        middle = (low + high) // 2
        found = outcomes(world, {**big, pool: middle})
        low, high = (low, middle) if _keeps(world, pool, found, goals) else (middle, high)
    return high


def _by_cost(floor: Fleet, gpus: Mapping[str, int]) -> list[Fleet]:
    """Fleets at and a little above ``floor``, cheapest first."""
    pools = list(floor)
    steps = [[0]] if not pools else [[i] for i in range(9)]
    for _ in pools[1:]:
        steps = [[*s, i] for s in steps for i in range(9)]
    fleets = [{pool: floor[pool] + extra for pool, extra in zip(pools, step, strict=True)} for step in steps]
    return sorted(fleets, key=lambda fleet: sum(n * gpus[pool] for pool, n in fleet.items()))
