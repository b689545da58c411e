"""What holds for every registered peer: bounds, robustness, and that it scales at all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.core.buckets import DYNAMO_BUCKETS
from planner.core.histogram import Histogram
from planner.core.policy import Pool
from planner.core.types import Observation, PoolReading, Window
from planner.simulation.peers import PEERS, Site
from tests.simulation.peers import rigs

NAMES = sorted(PEERS)
MODES = {"disaggregated": ("prefill", "decode"), "aggregated": ("aggregated",)}
CASES = [(name, mode) for name in NAMES for mode in PEERS[name].modes]

counts = st.one_of(st.none(), st.just(0.0), st.floats(0, 1e5))
shares = st.one_of(st.none(), st.floats(0, 1))


def histograms(signal: str) -> st.SearchStrategy[Histogram | None]:
    """What a front door may have counted of one signal: nothing, or something in each bucket."""
    edges = DYNAMO_BUCKETS[signal]
    full = st.lists(st.integers(0, 500), min_size=len(edges), max_size=len(edges)).map(
        lambda n: Histogram(edges, tuple(map(float, n)), sum(map(float, n)) * edges[len(edges) // 2])
    )
    return st.one_of(st.none(), st.just(Histogram(edges, (0.0,) * len(edges), 0.0)), full)


windows = st.one_of(
    st.none(),
    st.builds(
        Window,
        st.just(15.0),
        started=counts,
        finished=counts,
        input_tokens=histograms("input_tokens"),
        output_tokens=histograms("output_tokens"),
        cached_tokens=counts,
        generated_tokens=counts,
        ttft=histograms("ttft"),
        itl=histograms("itl"),
        duration=histograms("duration"),
    ),
)


@st.composite
def readings(draw: st.DrawFn) -> PoolReading:
    """A pool of up to fifteen, some of it starting; any gauge may be absent."""
    ready, starting = draw(st.integers(0, 12)), draw(st.integers(0, 3))
    workers = tuple(rigs.worker(str(k), draw(st.floats(0, 1)), draw(st.floats(0, 50))) for k in range(min(ready, 2)))
    return PoolReading(ready + starting, ready, (1.0,) * starting, running=draw(counts), waiting=draw(counts),
                       pending_tokens=draw(counts), kv_usage=draw(shares), kv_usage_max=draw(shares),
                       workers=draw(st.sampled_from([(), workers])))  # fmt: skip


@pytest.mark.parametrize(("name", "mode"), CASES)
@settings(max_examples=25)
@given(data=st.data())
def test_no_world_takes_a_peer_out_of_its_bounds(name: str, mode: str, data: st.DataObject) -> None:
    """Neither absent gauges nor empty pools nor an absurd load may end a run or exceed what the operator allows."""
    bounds = {pool: sorted((data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9)))) for pool in MODES[mode]}
    plain = rigs.site(*MODES[mode])
    pools = tuple(replace(p, min_replicas=bounds[p.name][0], max_replicas=bounds[p.name][1]) for p in plain.pools)
    peer = PEERS[name]
    decider = peer.decider(Site(pools, plain.sla))
    for k in range(data.draw(st.integers(1, 6))):
        seen = {pool: data.draw(readings()) for pool in MODES[mode]}
        decision = decider.step(Observation(k * peer.tick_s, seen, data.draw(windows)))

        assert all(_inside(pool, decision.replicas[pool.name]) for pool in pools)


def _inside(pool: Pool, replicas: int) -> bool:
    return pool.min_replicas <= replicas <= pool.max_replicas


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_a_peer_grows_under_overload_and_shrinks_when_idle(name: str, mode: str) -> None:
    """A law that never moves would be a static fleet under another's name.

    An aggregated worker that chokes on prompts with short answers uses 9 % of its cache while thousands wait, so
    APA's shipped target of half a cache is blind there: it is given one of a twentieth.
    """
    knobs = {"kv_usage": 0.05} if (name, mode) == ("apa", "aggregated") else {}
    run = rigs.over_and_idle(PEERS[name], MODES[mode], knobs=knobs)
    total = [sum(rigs.fleets(run, pool)[k] for pool in MODES[mode]) for k in range(len(run.steps))]

    assert max(total) > len(MODES[mode])
    assert total[-1] < max(total)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_searched_is_a_knob_and_its_shipped_value_is_no_stranger(name: str) -> None:
    """The tuned variant may end where the default stands: search must be able to say that it was right."""
    peer = PEERS[name]

    assert set(peer.searched) <= set(peer.defaults)
    for knob, values in peer.searched.items():
        assert len(set(values)) == len(values) > 1
        assert peer.defaults[knob] in values


def test_a_knob_that_a_law_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="hpa has no knob wating; it has"):
        PEERS["hpa"].decider(rigs.site(), {"wating": 1.0})
