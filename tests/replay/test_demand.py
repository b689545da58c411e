"""Requests drawn out of what was measured: as many as were counted, as long as buckets say, as bursty as learnt."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.core.buckets import DYNAMO_BUCKETS
from planner.core.histogram import Histogram
from planner.core.types import Observation, PoolReading, Window
from planner.replay.demand import Demand, bucket_lengths, demand_of, shape_of
from planner.replay.joined import joined, serving_hours
from planner.replay.past import past_of
from planner.simulation.report.figures import summarise
from planner.simulation.run import Promise, Run, WorkerSpan
from planner.simulation.traffic.types import Traffic

EDGES = DYNAMO_BUCKETS["input_tokens"]
MINUTE = 60.0


def histogram(lengths: np.ndarray) -> Histogram:  # type: ignore[type-arg]
    counts = np.bincount(np.searchsorted(EDGES, lengths, side="left"), minlength=len(EDGES))
    return Histogram(EDGES, tuple(float(c) for c in counts), float(lengths.sum()))


@given(st.lists(st.integers(1, 60_000), min_size=1, max_size=200))
def test_lengths_keep_their_buckets_and_their_mean(values: list[int]) -> None:
    """What is drawn must look to the planner as what was measured did: same buckets, same mean."""
    lengths = np.array(values)
    made = bucket_lengths(histogram(lengths))
    drawn = made.draw(20_000, np.random.default_rng(1))

    assert set(np.searchsorted(EDGES, drawn)) <= set(np.searchsorted(EDGES, lengths))
    reach = (made.lows * made.shares).sum(), (made.highs * made.shares).sum()
    assert made.mean == pytest.approx(float(np.clip(lengths.mean(), *reach)), rel=0.02, abs=1.0)
    assert drawn.mean() == pytest.approx(made.mean, rel=0.05, abs=1.0)


def test_a_histogram_of_one_bucket_still_has_its_mean() -> None:
    """Engines that expose a sum and a count only."""
    made = bucket_lengths(Histogram((float("inf"),), (50.0,), 50.0 * 700.0))

    assert made.mean == pytest.approx(700.0, rel=0.01)


def test_lengths_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="no lengths"):
        bucket_lengths(Histogram(EDGES, (0.0,) * len(EDGES), 0.0))


def demand(counts: list[float], shape: float | None = None, cached: float | None = None) -> Demand:
    """Minutes with that many requests each; prompts grow tenfold in the second hour."""
    looks = [Observation(0.0, {}, None)]
    for i, count in enumerate(counts, 1):
        size = 300.0 if i <= 60 else 3000.0
        lengths = Histogram(EDGES, tuple(count if a < size <= b else 0.0 for a, b in
                                         zip((0.0, *EDGES), EDGES, strict=False)), count * size)  # fmt: skip
        window = Window(MINUTE, count, input_tokens=lengths, output_tokens=lengths,
                        cached_tokens=None if cached is None else cached * lengths.total)  # fmt: skip
        looks.append(Observation(i * MINUTE, {"decode": PoolReading(1, 1)}, window))
    return demand_of(past_of(looks, 0.0, len(counts) * MINUTE, MINUTE), shape)


def test_every_bin_gets_the_requests_that_were_counted_in_it() -> None:
    counts = [float(c) for c in np.random.default_rng(3).integers(0, 400, 90)]
    made = demand(counts, shape=2.0)
    traffic = made.traffic(made.past.stretches[0], seed=1)
    drawn = np.bincount((traffic.arrivals_s // MINUTE).astype(int), minlength=len(counts))

    assert drawn.tolist() == counts
    assert (np.diff(traffic.arrivals_s) >= 0).all()


def test_the_same_seed_draws_the_same_and_another_other_requests() -> None:
    made = demand([200.0] * 30, shape=3.0)
    a, b, c = (made.traffic(made.past.stretches[0], seed) for seed in (1, 1, 2))

    assert np.array_equal(a.arrivals_s, b.arrivals_s)
    assert np.array_equal(a.input_tokens, b.input_tokens)
    assert not np.array_equal(a.arrivals_s, c.arrivals_s)


def test_lengths_change_from_hour_to_hour() -> None:
    made = demand([100.0] * 120)
    traffic = made.traffic(made.past.stretches[0], seed=1)
    first = traffic.arrivals_s < 3600.0

    assert traffic.input_tokens[first].mean() == pytest.approx(300.0, rel=0.05)
    assert traffic.input_tokens[~first].mean() == pytest.approx(3000.0, rel=0.05)


def test_what_the_prefix_cache_took_is_not_prefilled_again() -> None:
    made = demand([100.0] * 30, cached=0.25)
    traffic = made.traffic(made.past.stretches[0], seed=1)

    assert traffic.input_tokens.mean() == pytest.approx(225.0, rel=0.05)
    assert traffic.output_tokens.mean() == pytest.approx(300.0, rel=0.05)
    assert any("prefix cache took 25.0%" in note for note in made.notes)


@pytest.mark.parametrize("shape", [4.0, 15.0])
def test_burstiness_is_learnt_and_drawn_again(shape: float) -> None:
    """Counts per 5 s with a Gamma factor on every second: what is learnt from them is the shape that made them."""
    random = np.random.default_rng(5)
    samples = []
    for _ in range(12):
        seconds = random.poisson(40.0 * random.standard_gamma(shape, 500) / shape)
        counts = seconds.reshape(-1, 5).sum(axis=1)
        samples.append([Observation(5.0 * i, {}, Window(5.0, float(c))) for i, c in enumerate(counts)])
    found = shape_of(samples)
    assert found is not None
    made = demand([2400.0] * 60, shape=found)
    drawn = np.bincount(made.traffic(made.past.stretches[0], 1).arrivals_s.astype(int), minlength=3600)

    assert found == pytest.approx(shape, rel=0.25)
    assert drawn.var() / drawn.mean() == pytest.approx(1.0 + 40.0 / shape, rel=0.3)


def test_poisson_arrivals_are_drawn_as_such() -> None:
    random = np.random.default_rng(5)
    samples = [
        [Observation(5.0 * i, {}, Window(5.0, float(c))) for i, c in enumerate(random.poisson(200.0, 100))]
        for _ in range(12)
    ]
    found = shape_of(samples)

    assert found is None or 1.0 + 40.0 / found < 1.3


def run(duration_s: float, arrivals: list[float], spans: list[WorkerSpan], epoch_s: float = 0.0) -> Run:
    n = len(arrivals)
    ones = np.ones(n, np.int32)
    traffic = Traffic("x", np.array(arrivals), ones * 10, ones * 5, duration_s, epoch_s)
    return Run("slo", traffic, Promise(0.5, 0.025), np.full(n, 0.1, np.float32), np.full(n, 0.01, np.float32), spans,
               {"decode": 2}, [], 1, 1.0, 0.5)  # fmt: skip


def test_stretches_add_up_to_one_run() -> None:
    """The hour between them costs nothing and holds no request: shares, GPU-hours and means are of what was run."""
    first = run(
        1800.0, [1.0, 100.0], [WorkerSpan("decode", 0.0, 0.0), WorkerSpan("decode", 900.0, 1000.0, None, 2000.0)]
    )
    second = run(1800.0, [5.0], [WorkerSpan("decode", 0.0, 0.0)], epoch_s=5400.0)
    whole = joined([first, second])
    summary = summarise(whole)

    assert whole.traffic.duration_s == 3600.0
    assert whole.traffic.arrivals_s.tolist() == [1.0, 100.0, 1805.0]
    assert summary.gpu_hours == pytest.approx(2 * (1800 + 900 + 1800) / 3600)
    assert summary.pools["decode"].mean == pytest.approx(1.25)
    assert serving_hours(whole) == pytest.approx(2 * (1800 + 800 + 1800) / 3600)


def test_one_stretch_is_the_run_itself() -> None:
    alone = run(60.0, [1.0], [])

    assert joined([alone]) is alone
