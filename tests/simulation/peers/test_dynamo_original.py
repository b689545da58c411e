"""Our rendition of Dynamo's planner against the original, decision by decision."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pytest

from planner.core.types import Role
from planner.simulation.peers.dynamo import Count, LoadLoop, Pass, Thresholds, Work, budget_of, ordered
from planner.simulation.peers.dynamo_budget import Budget
from planner.simulation.peers.dynamo_original import Original, OriginalError, config
from tests.simulation.peers import rigs

CACHE, CONTEXT, BATCH = 100_000, 8192, 8192
SIDES = {Role.PREFILL: "prefill", Role.DECODE: "decode", Role.AGGREGATED: "decode"}
ABLE = {
    "num_gpu": 1,
    "context_length": CONTEXT,
    "max_kv_tokens": CACHE,
    "max_num_batched_tokens": BATCH,
    "max_num_seqs": 256,
}


@pytest.fixture(scope="module")
def original() -> Iterator[Original]:
    """The original, in one process for all."""
    try:
        with Original() as running:
            running.call("compute_tolerance", [1, 2])
            yield running
    except OriginalError as problem:
        pytest.skip(str(problem))


def _engines(rng: random.Random, role: Role, count: int, mood: float) -> dict[str, Pass]:
    """As many engines, busy by ``mood`` (0 … 1.2) give or take."""

    def one() -> Pass:
        load = max(0.0, mood + rng.uniform(-0.3, 0.3))
        if role is Role.PREFILL:
            tokens = rng.choice((0, round(load * CONTEXT)))
            return Pass(Work(1, 900, 0, 0), Work(int(tokens > 0), tokens, 0, 0), 0.03)
        kv, waiting = min(CACHE, round(load * CACHE)), max(0, round((load - 0.9) * CACHE))
        queued = (
            Work(1, waiting, 0, 0) if role is Role.AGGREGATED and waiting else Work(0, 0, int(waiting > 0), waiting)
        )
        return Pass(Work(0, 0, kv // 1000, kv), queued, 0.01 + 1e-7 * kv)

    return {f"{role.value}{k}": one() for k in range(count)}


def _sequence(
    rng: random.Random, roles: Sequence[Role], steps: int
) -> Iterator[tuple[float, dict[Role, float], float]]:
    """Moments of a run, how busy each role is at each, and a number to start replicas by."""
    moods = dict.fromkeys(roles, 0.5)
    for k in range(1, steps + 1):
        for role in roles:
            moods[role] = min(1.2, max(0.0, moods[role] + rng.uniform(-0.35, 0.35)))
        yield 5.0 * k, dict(moods), rng.random()


@pytest.mark.parametrize("target", ["throughput", "latency"])
@pytest.mark.parametrize("pools", [("prefill", "decode"), ("aggregated",)], ids=len)
@pytest.mark.parametrize("most", [None, 7])
def test_thresholds(original: Original, target: str, pools: tuple[str, ...], most: int | None) -> None:
    """Six hundred looks: random loads, replicas that take a few looks to start, a blind look now and then."""
    site = rigs.site(*pools, budget=most)
    roles = tuple(p.role for p in ordered(site))
    original.start(config(site, optimization_target=target), {SIDES[role]: ABLE for role in roles})
    limits = {"throughput": ((1.0, 0.1), (1.0, 0.6)), "latency": ((0.1, 0.0), (0.4, 0.1))}[target]
    ours = LoadLoop(roles, budget_of(site), (Thresholds(CONTEXT, CACHE, *limits),) * len(roles))
    rng = random.Random(f"{target}{pools}{most}")
    counts = {role: Count(2) for role in roles}
    moved = 0
    for at, moods, luck in _sequence(rng, roles, 600):
        engines = {role: _engines(rng, role, counts[role].ready, moods[role]) for role in roles}
        if luck < 0.03:
            engines[roles[0]] = {}
        said = original.tick(at, engines, counts)
        theirs = {role: said[SIDES[role]] for role in roles if said[SIDES[role]] is not None}
        found = ours.decide(at, tuple(engines.values()), tuple(counts.values())) or {}
        after = {role: found.get(role, counts[role].ready + counts[role].pending) for role in roles}
        assert after == {role: theirs.get(role, counts[role].ready + counts[role].pending) for role in roles}, (
            at,
            counts,
            engines,
            said,
        )
        moved += bool(theirs)
        counts = {role: _later(counts[role], min(after[role], 12), luck) for role in roles}
    assert moved > 15


def _later(count: Count, wanted: int, luck: float) -> Count:
    """The pool at the next look: what starts is ready with some luck."""
    ready = min(count.ready, wanted)
    pending = wanted - ready
    if pending and luck > 0.7:
        return Count(wanted)
    return Count(ready, pending)


def test_budget(original: Original) -> None:
    """Clamps, guards and the nearest fleet that fits, over random fleets."""
    rng = random.Random(3)
    for _ in range(1500):
        gpus, least = (rng.randint(1, 4), rng.randint(1, 4)), (rng.randint(1, 3), rng.randint(1, 3))
        budget = Budget(gpus, least, rng.randint(4, 40))
        current, proposed = ((rng.randint(0, 9), rng.randint(0, 9)) for _ in range(2))
        limits = (*gpus, -1, budget.most, *least)
        assert list(budget.clamped(proposed)) == original.call("proportional_clamp_pair", *proposed, *limits)
        assert list(budget.towards(current, proposed)) == original.call(
            "fit_directional_budget_pair", *current, *proposed, *limits
        )
        assert (
            list(budget.guarded(current, proposed))
            == (original.call("guard_disagg_scaling_budget", *current, *proposed, *limits)[:2])
        )
        one = Budget(gpus[:1], least[:1], budget.most)
        limits = (gpus[0], -1, budget.most, least[0])
        assert one.clamped(proposed[:1])[0] == original.call("proportional_clamp_single", proposed[0], *limits)
        assert (
            one.guarded(current[:1], proposed[:1])[0]
            == original.call("guard_single_scaling_budget", current[0], proposed[0], *limits)[0]
        )
