"""Readings of a profile: monotone, continuous, with an exact inverse, whatever was measured."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.profile_worlds import KV_TOKENS, decode_point, decodes, noisy, prefill_s, prefills, profile, step_s

tokens = st.floats(0.0, 200_000.0)
sequences = st.floats(1.0, 3000.0)
contexts = st.floats(1.0, 100_000.0)
shares = st.floats(0.0, 1.0)
CLOSE = 1e-9  # what arithmetic may cost


@given(prefills, tokens, tokens)
def test_a_longer_prompt_never_takes_less(points, one, other):
    """In range and beyond; else a tighter TTFT could ask for fewer replicas."""
    curve = profile(points).prefill
    short, long = sorted((one, other))

    assert curve.service_s(short) <= curve.service_s(long) * (1 + CLOSE)


@given(prefills, shares, st.sampled_from([-1, 1]))
def test_prefill_time_does_not_jump(points, at, side):
    """Also where measured and extrapolated parts meet."""
    curve = profile(points).prefill
    for length in (*curve.isl, at * 2 * curve.isl[-1]):
        beside = max(0.0, length + side * 1e-7)
        assert curve.service_s(beside) == pytest.approx(curve.service_s(length), rel=1e-6)


@given(decodes(), sequences, sequences, contexts, contexts)
def test_fuller_batches_and_longer_contexts_never_make_steps_shorter(points, n, m, c, d):
    surface = profile(decode=points).decode
    (few, many), (short, long) = sorted((n, m)), sorted((c, d))

    assert surface.itl_s(few, short) <= surface.itl_s(many, short) * (1 + CLOSE)
    assert surface.itl_s(many, short) <= surface.itl_s(many, long) * (1 + CLOSE)


@given(decodes(), sequences, contexts)
def test_a_batch_within_its_own_itl_is_that_batch(points, n, context):
    """Where its KV fits; where it does not, the cache is the answer."""
    surface = profile(decode=points).decode
    found = surface.at(context).sequences_within(surface.itl_s(n, context))

    assert found == pytest.approx(min(n, KV_TOKENS / context), rel=1e-6)


@given(decodes(), st.floats(1e-4, 5.0), contexts)
def test_the_itl_of_the_fullest_batch_within_a_target_is_the_target(points, target, context):
    surface = profile(decode=points).decode
    held = surface.at(context).sequences_within(target)

    if target < surface.itl_s(1.0, context):
        assert held == 0.0  # not even one sequence
    elif held < KV_TOKENS / context:
        assert surface.itl_s(held, context) == pytest.approx(target, rel=1e-9)
    else:
        assert held == KV_TOKENS / context


@given(decodes(), st.floats(1e-4, 1.0), st.floats(1.0, 4.0), contexts, st.floats(1.0, 4.0))
def test_a_looser_itl_and_a_shorter_context_never_hold_fewer(points, itl, looser, context, longer):
    surface = profile(decode=points).decode
    held = surface.at(context * longer).sequences_within(itl)

    assert surface.at(context * longer).sequences_within(itl * looser) >= held * (1 - CLOSE)
    assert surface.at(context).sequences_within(itl) >= held * (1 - CLOSE)


@given(decodes(), sequences, contexts, st.sampled_from([-1, 1]))
def test_itl_does_not_jump(points, n, context, side):
    """At every line of the grid, across it and along it."""
    surface = profile(decode=points).decode
    near = 1.0 + side * 1e-9
    for at_n, at_c in (
        (n, context),
        *((n, c) for c in surface.contexts[1:]),
        *((s, context) for s in surface.sequences),
    ):
        here = surface.itl_s(at_n, at_c)
        assert surface.itl_s(at_n * near, at_c) == pytest.approx(here, rel=1e-6)
        assert surface.itl_s(at_n, at_c * near) == pytest.approx(here, rel=1e-6)


@given(tokens, sequences, contexts)
def test_an_engine_of_the_physical_shape_is_read_exactly(length, n, context):
    """The grid's own shape: between the points, beyond them, and at contexts nobody measured."""
    known = profile()

    assert known.repairs == ()
    assert known.decode.itl_s(n, context) == pytest.approx(step_s(n, context), rel=1e-6)
    shortest, longest = known.prefill.isl_range
    if not shortest <= length <= longest:  # between the points a parabola is read as its chords
        assert known.prefill.service_s(length) == pytest.approx(prefill_s(length), rel=1e-6)


@given(noisy)
def test_points_that_contradict_nobody_are_read_as_measured(known):
    repaired = {r.what for r in known.repairs}
    for point in known.prefill_points:
        if f"prefill time at ISL {point.isl:g}" not in repaired:
            assert known.prefill.service_s(point.isl) == pytest.approx(point.ttft_s, rel=2e-6)
    for point, n in zip(known.decode_points, known.decode_sequences, strict=True):
        if f"ITL of {n:.0f} sequences at context {point.context_tokens:g}" not in repaired:
            assert known.decode.itl_s(n, point.context_tokens) == pytest.approx(point.itl_s, rel=2e-6)


@given(noisy, tokens, sequences, contexts)
def test_readings_are_finite_and_positive(known, length, n, context):
    for value in (known.prefill.service_s(length), known.decode.itl_s(n, context)):
        assert math.isfinite(value)
        assert value > 0


def test_fewer_than_one_sequence_counts_as_one():
    surface = profile().decode

    assert surface.itl_s(0.0, 1000.0) == surface.itl_s(1.0, 1000.0)


def test_throughput_is_per_gpu_and_sequences_are_per_replica():
    """An engine on four GPUs with a batch limit: Little's law counts what all four produce."""
    limited = [decode_point(20.0, c, gpus=4) for c in (500.0, 2000.0)] + [decode_point(4.0, 1000.0, gpus=4)] * 2
    known = profile(decode=limited)
    on_four = type(known)(**{**{f: getattr(known, f) for f in ("name", "provenance", "prefill_points", "decode_points",
                                                               "max_kv_tokens")}, "decode_gpus": 4})  # fmt: skip

    assert on_four.decode_sequences == pytest.approx((20.0, 20.0, 4.0, 4.0))
    assert known.decode_sequences == pytest.approx((5.0, 5.0, 1.0, 1.0))
    assert (on_four.gpus("prefill"), on_four.gpus("decode"), on_four.gpus("aggregated")) == (1, 4, 4)
