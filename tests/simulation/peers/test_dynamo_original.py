"""Our rendition of Dynamo's planner against the original, decision by decision."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pytest

from planner.core.types import Role
from planner.simulation.peers.dynamo import Count, LoadLoop, Pass, Thresholds, Work, budget_of, ordered
from planner.simulation.peers.dynamo_budget import Budget
from planner.simulation.peers.dynamo_engine import Limits
from planner.simulation.peers.dynamo_forecast import FORECASTERS, Shape
from planner.simulation.peers.dynamo_sla import law_of
from tests.simulation.peers import rigs
from tests.simulation.peers.original import Original, OriginalError, config

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


def _prompt_s(tokens: int) -> float:
    return 0.01 + 2.4e-5 * tokens + 1e-10 * tokens**2 if tokens else 0.0


def _step_s(sequences: int, kv_tokens: int) -> float:
    return 0.005 + 3e-5 * sequences + 8e-8 * kv_tokens if sequences else 0.0


def _busy(rng: random.Random, role: Role, count: int, mood: float) -> dict[str, Pass]:
    """Engines whose passes lie exactly on what the regression can say.

    Which of more than 64 passes the original keeps hangs on the order of a hash map, anew in every planner; here
    every choice gives the same fit.
    """

    def one() -> Pass:
        load = max(0.0, mood + rng.uniform(-0.3, 0.3))
        if role is Role.PREFILL:
            prompt, waiting = rng.choice((0, rng.randint(200, 6000))), rng.randint(0, round(8 * load))
            return Pass(Work(int(prompt > 0), prompt, 0, 0), Work(waiting, 2000 * waiting, 0, 0), _prompt_s(prompt))
        n = round(120 * load)
        kv = sum(rng.randint(300, 1500) for _ in range(n))
        waiting = max(0, n - 110)
        return Pass(Work(0, 0, n, kv), Work(0, 0, waiting, 900 * waiting), _step_s(n, kv))

    return {f"{role.value}{k}": one() for k in range(count)}


@pytest.mark.parametrize(
    ("forecaster", "load", "most"),
    [("constant", True, None), ("constant", True, 9), ("constant", False, None), ("kalman", True, None),
     ("arima", True, None)],
)  # fmt: skip
def test_sla(original: Original, forecaster: str, load: bool, most: int | None) -> None:
    """Eight intervals of 36 looks: the forecasts, what one engine does, the floor, and every decision."""
    site = rigs.site(budget=most)
    roles = (Role.PREFILL, Role.DECODE)
    original.start(
        config(site, optimization_target="sla", enable_load_scaling=load, load_predictor=forecaster),
        {SIDES[role]: ABLE for role in roles},
    )
    ours = law_of(site, dict.fromkeys(roles, Limits(BATCH, 256, CACHE)), load=load)
    prompts = [Pass(Work(1, n, 0, 0), Work(), _prompt_s(n)) for n in range(500, 8001, 500)]
    steps = [Pass(Work(0, 0, n, kv * n), Work(), _step_s(n, kv * n)) for n in range(1, 110, 8) for kv in (500, 1500)]
    original.learn(prefill=prompts, decode=steps)
    for judge, known in zip(ours.judges, (prompts, steps), strict=True):
        judge.engine.learn(known)
    new = FORECASTERS[forecaster]
    shape = Shape(new(), new(), new())
    rng = random.Random(f"{forecaster}{load}{most}")
    counts = {role: Count(2) for role in roles}
    moved, level = 0, 30.0
    for at, moods, luck in _sequence(rng, roles, 8 * 36):
        engines = {role: _busy(rng, role, counts[role].ready, moods[role]) for role in roles}
        traffic = None
        ours.observe(tuple(engines.values()))
        if fresh := at % 180 == 0:
            level = max(1.0, level * rng.uniform(0.6, 1.6))
            hit = rng.choice((None, 0.1, 0.3))
            traffic = {"duration_s": 180.0, "num_req": 180 * level, "isl": rng.uniform(900, 2500),
                       "osl": rng.uniform(80, 200), "kv_hit_rate": hit}  # fmt: skip
            shape.add(180 * level, traffic["isl"], traffic["osl"])
            ahead = shape.ahead()
            known_hit = hit if hit is not None else ours.judges[0].hit
            ours.predict(tuple(counts.values()), (ahead[0] / 180, *ahead[1:], known_hit))
        said = original.tick(at, engines, counts, traffic)
        if fresh:
            assert said["predicted"] == pytest.approx(ahead)
            assert said["rates"] == pytest.approx([j.engine.rate(*ahead[1:], j.target_s, j.hit) for j in ours.judges])
            if load:
                assert tuple(said["floor"]) == ours.loop.floor
        theirs = {role: said[SIDES[role]] for role in roles if said[SIDES[role]] is not None}
        found = ours.decide(at, tuple(engines.values()), tuple(counts.values()), fresh) or {}
        after = {role: found.get(role, counts[role].ready + counts[role].pending) for role in roles}
        assert after == {role: theirs.get(role, counts[role].ready + counts[role].pending) for role in roles}, (
            at,
            counts,
            said,
        )
        moved += bool(theirs)
        counts = {role: _later(counts[role], min(after[role], 12), luck) for role in roles}
    assert moved > 5


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
