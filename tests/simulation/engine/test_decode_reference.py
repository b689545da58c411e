"""Closed form against a simulator that really takes every step."""

from __future__ import annotations

import numpy as np
import pytest

from tests.simulation.engine.rigs import chat, engine_like, plant, poisson


def step_by_step(joins, isl, osl, step):
    """One decode worker, one step at a time; returns first and last token times."""
    first, last = np.full(len(joins), np.nan), np.full(len(joins), np.nan)
    order = list(np.argsort(joins, kind="stable"))
    active: dict[int, int] = {}
    now = 0.0
    while order or active:
        if not active:
            now = max(now, joins[order[0]])
        while order and joins[order[0]] <= now:
            active[order.pop(0)] = 0
        kv = sum(isl[r] + done for r, done in active.items())
        now += step.base_s + step.per_sequence_s * len(active) + step.per_kv_token_s * kv
        for r in list(active):
            active[r] += 1
            if active[r] == 1:
                first[r] = now
            if active[r] == osl[r]:
                last[r] = now
                del active[r]
    return first, last


@pytest.mark.parametrize("rate", [2.0, 15.0, 35.0])
def test_decode_agrees_with_every_step_taken(rate):
    """Mean ITL within 1 % of the mean step of the reference, single requests within a few percent."""
    arrivals, isl, osl = chat(rate, 60.0, 5)
    parameters = engine_like(prefill_s=(1e-6, 2e-6, 3e-6), transfer_base_s=0.0, transfer_per_token_s=0.0)
    rig = plant(arrivals, isl, osl, parameters, {"prefill": 50, "decode": 1})
    rig.advance(1e6)
    ttft, itl = rig.outcomes()
    first, last = step_by_step(arrivals, isl, osl, parameters.step)
    longer = osl > 1
    expected = (last - first)[longer] / (osl[longer] - 1)

    assert itl[longer].mean() == pytest.approx(expected.mean(), rel=0.01)
    assert np.abs(itl[longer] / expected - 1.0).mean() < 0.02
    # the reference starts a step with whoever is there; the engine counts a joiner from the next step on
    assert ttft.mean() == pytest.approx((first - arrivals).mean(), abs=0.35 * float(expected.mean()))


def test_a_lone_request_takes_prefill_transfer_and_its_steps():
    """ISL 4,000: 90 ms; transfer 2 ms + 4,000 × 2.6 µs; steps of 4.4 ms + 38 µs + KV × 30 ns."""
    rig = plant(np.array([1.0]), 4000, 3, engine_like(), {"prefill": 1, "decode": 1})
    rig.advance(100.0)
    ttft, itl = rig.outcomes()
    step = 0.0044 + 3.8e-5 + 3.0e-8 * 4000

    assert ttft[0] == pytest.approx(0.09 + 0.002 + 4000 * 2.6e-6 + step, abs=1e-5)
    assert itl[0] == pytest.approx(step, rel=1e-3)


def test_an_aggregated_prompt_takes_its_chunks():
    """5,000 tokens in chunks of 2,048: three steps that carry the prefill, nobody else decoding."""
    rig = plant(np.array([0.0]), 5000, 2, engine_like(), {"aggregated": 1})
    rig.advance(100.0)
    ttft, _ = rig.outcomes()

    assert ttft[0] == pytest.approx(0.09 + (0.37 - 0.09) / 12, rel=1e-3)  # the prefill time alone


def test_prompts_slow_the_tokens_of_others_in_an_aggregated_worker():
    """A request decoding alone, then beside a stream of prompts: its ITL grows by their share of the time."""
    quiet = plant(np.array([0.0]), 100, 400, engine_like(), {"aggregated": 1})
    busy = plant(np.concatenate([[0.0], poisson(8.0, 20, 1)]), [100] + [1000] * 20, [400] + [1] * 20, engine_like(),
                 {"aggregated": 1})  # fmt: skip
    for rig in (quiet, busy):
        rig.advance(100.0)

    assert busy.outcomes()[1][0] > 1.2 * quiet.outcomes()[1][0]
