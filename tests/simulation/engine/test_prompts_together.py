"""Steps that carry prompts, against a simulator that takes every step and every chunk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from tests.simulation.engine.rigs import chat, engine_like, plant

LINEAR = {"prefill_isl": (1.0, 30_000.0), "prefill_s": (0.0201, 3.02)}  # 20 ms + 0.1 ms a token


@dataclass
class Sequence:
    number: int
    left: int  # prompt tokens still to be taken
    made: int = 0


def step_by_step(arrivals, isl, osl, parameters, together):
    """One worker with a scheduler like vLLM's: decoding sequences first, then prompts up to the token budget."""
    first, last = np.full(len(arrivals), np.nan), np.full(len(arrivals), np.nan)
    queue, running, now, coming = [], [], 0.0, 0
    while np.isnan(last).any():
        if not running and not queue:
            now = max(now, arrivals[coming])
        while coming < len(arrivals) and arrivals[coming] <= now:
            queue.append(Sequence(coming, int(isl[coming])))
            coming += 1
        decoding = [s for s in running if s.left == 0]
        room, starts, tokens, done = parameters.chunk_tokens - len(decoding), 0, 0, []
        for s in [s for s in running if s.left > 0] + queue[:]:
            if room <= 0:
                break
            if s in queue:
                queue.remove(s)
                running.append(s)
                starts += 1
            taken = min(room, s.left)
            s.left, room, tokens = s.left - taken, room - taken, tokens + taken
            done += [s] if s.left == 0 else []
        if tokens:
            now += 1e-4 * tokens + 0.02 * (1 if together else starts)
        if decoding:
            kv = sum(isl[s.number] + s.made for s in decoding)
            step = parameters.step
            now += step.base_s + step.per_sequence_s * len(decoding) + step.per_kv_token_s * kv
        for s in decoding + done:
            s.made += 1
            if s.made == 1:
                first[s.number] = now
            if s.made == osl[s.number]:
                last[s.number] = now
                running.remove(s)
    return first - arrivals, (last - first) / np.maximum(1, osl - 1)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("rate", [1.0, 4.0, 6.5])
def test_an_aggregated_worker_agrees_with_every_step_taken(rate, together):
    """From idle to overload: mean and 95th percentile of TTFT and ITL within 2 % of the reference."""
    arrivals, isl, osl = chat(rate, 120.0, 7)
    parameters = engine_like(prompts_together=together, chunk_tokens=2048, **LINEAR)
    rig = plant(arrivals, isl, osl, parameters, {"aggregated": 1})
    rig.advance(1e6)
    expected_ttft, expected_itl = step_by_step(arrivals, isl, osl, parameters, together)
    ttft, itl = rig.outcomes()

    for seen, expected in ((ttft, expected_ttft), (itl[osl > 1], expected_itl[osl > 1])):
        assert seen.mean() == pytest.approx(expected.mean(), rel=0.02)
        assert np.percentile(seen, 95) == pytest.approx(np.percentile(expected, 95), rel=0.02)


@pytest.mark.parametrize("rate", [2.0, 7.0, 12.0])
def test_a_prefill_worker_that_batches_agrees_with_every_step_taken(rate):
    """Nobody decodes: a step is its prompts alone, and its fixed time is shared by all of them."""
    arrivals, isl, _ = chat(rate, 120.0, 8)
    more = {"transfer_base_s": 0.0, "transfer_per_token_s": 0.0, "chunk_tokens": 8192, **LINEAR}
    parameters = engine_like(prompts_together=True, **more)
    rig = plant(arrivals, isl, 1, parameters, {"prefill": 1, "decode": 40})
    rig.advance(1e6)
    expected, _ = step_by_step(arrivals, isl, np.ones(len(isl)), parameters, True)
    one_step = 0.0044 + 3.8e-5 + 3e-8 * isl  # in decode, alone or nearly so

    np.testing.assert_allclose(rig.outcomes()[0], expected + one_step, rtol=0.01, atol=0.006)


def test_sharing_the_fixed_time_of_a_step_carries_more_load():
    """Ten short prompts at once: one by one ten times 20 + 5 ms; together 25 ms for the first, 20 + 45 for the rest."""
    more = {"transfer_base_s": 0.0, "transfer_per_token_s": 0.0, **LINEAR}
    alone, shared = (
        plant(np.zeros(10), 50, 1, engine_like(prompts_together=together, **more), {"prefill": 1, "decode": 10})
        for together in (False, True)
    )
    for rig in (alone, shared):
        rig.advance(100.0)
    step = 0.0044 + 3.8e-5 + 50 * 3e-8

    assert alone.outcomes()[0].max() == pytest.approx(0.25 + step, abs=1e-3)
    assert shared.outcomes()[0].max() == pytest.approx(0.09 + step, abs=1e-3)
