"""The shipped engine against queueing theory: waits it must reproduce, and a wrong service time it must not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tests.simulation.engine.rigs import SPLIT, engine_like, plant, poisson, queue_only

SEEDS = range(1, 13)
LOADS = [0.5, 0.8, 0.95]
SERVICE_S = 1.0  # 1,000 tokens at 1 ms


def waits(rate, lengths, servers, parameters, count):
    """Mean wait of each seed, the first fifth left out: the queue starts empty."""
    means = []
    for seed in SEEDS:
        isl = lengths(np.random.default_rng(seed + 100), count)
        rig = plant(poisson(rate, count, seed), isl, 1, parameters, dict(zip(SPLIT, (servers, 1), strict=True)))
        rig.advance(1e9)
        ttft, _ = rig.outcomes()
        means.append(float((ttft - isl * 1e-3)[count // 5 :].mean()))
    return np.array(means)


def interval(means):
    """99 % Student interval of the mean over seeds."""
    half = stats.t.ppf(0.995, len(means) - 1) * means.std(ddof=1) / math.sqrt(len(means))
    return means.mean() - half, means.mean() + half


def always_1000(rng, count):
    return np.full(count, 1000, np.int32)


def exponential(rng, count):
    return np.maximum(1, rng.exponential(1000, count).round()).astype(np.int32)


def short_or_long(rng, count):
    """Three quarters 400 tokens, a quarter 2,800: mean 1,000, E[s²] = 2.08 s²."""
    return np.where(rng.random(count) < 0.25, 2800, 400).astype(np.int32)


def erlang_c_wait(rho, n):
    """Mean wait of M/M/n in units of the mean service (Erlang 1917)."""
    a = rho * n
    terms = [a**k / math.factorial(k) for k in range(n)]
    last = a**n / math.factorial(n) / (1 - rho)
    return last / (sum(terms) + last) / (n * (1 - rho))


CASES = {
    "M/D/1": (always_1000, 1, lambda rho: rho / (2 * (1 - rho))),
    "M/G/1": (short_or_long, 1, lambda rho: rho * 2.08 / (2 * (1 - rho))),  # Pollaczek and Khinchine
    "M/M/1": (exponential, 1, lambda rho: rho / (1 - rho)),
    "M/M/4": (exponential, 4, lambda rho: erlang_c_wait(rho, 4)),
}


@pytest.mark.parametrize("rho", LOADS)
@pytest.mark.parametrize("name", CASES)
def test_waits_are_those_of_theory(name, rho):
    lengths, servers, theory = CASES[name]
    low, high = interval(waits(rho * servers / SERVICE_S, lengths, servers, queue_only(), 60_000))

    assert low <= theory(rho) <= high


@pytest.mark.parametrize("rho", [0.8, 0.95])
@pytest.mark.parametrize("name", CASES)
def test_a_wrong_service_time_is_found_out(name, rho):
    """The same check must fail when the engine is 5 % slower than it says."""
    lengths, servers, theory = CASES[name]
    slow = queue_only(prefill_scale=1.05)
    low, high = interval(waits(rho * servers / SERVICE_S, lengths, servers, slow, 60_000))

    assert not low <= theory(rho) <= high


def test_littles_law_in_the_decode_pool():
    """Sequences in flight, averaged over time, are rate × residence."""
    arrivals = poisson(20.0, 12_000, 3)
    rig = plant(arrivals, 800, 150, engine_like(), {"prefill": 4, "decode": 2})
    seen = []
    end = float(arrivals[-1])
    for at in np.arange(30.0, end, 0.5):
        rig.advance(at)
        seen.append(rig.in_flight)
    rig.advance(end + 600)
    ttft, itl = rig.outcomes()
    residence = ttft + itl * 149

    assert np.mean(seen) == pytest.approx(20.0 * float(residence.mean()), rel=0.03)
