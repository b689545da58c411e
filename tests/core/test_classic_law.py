"""What is wrong with the classic law is wrong here too: it is the baseline (cases are in tests/reference)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.adapters.profile_files import load
from planner.core.sizing import classic
from planner.core.sizing.classic_interpolation import tables
from tests.core.profile_worlds import decode_point, profile

H200 = load("h200-llama31-8b-fp8-tp1")
LOAD = {"requests": 600.0, "isl": 3000.0, "osl": 150.0, "interval_s": 60.0, "itl_s": 0.025}


@given(st.floats(1.0, 50.0))
def test_slow_prefill_is_never_corrected_for(correction):
    """min(1, correction): queueing looks like a slow engine to the peer, so it dares not believe it."""
    assert classic.size(H200, **LOAD, prefill_correction=correction) == classic.size(H200, **LOAD)


@given(st.floats(0.0, 1e5), st.integers(1, 4), st.integers(1, 4), st.integers(2, 64))
def test_no_pool_is_sized_below_its_minimum(requests, prefill_gpus, decode_gpus, budget):
    gpus = {"prefill_gpus": prefill_gpus, "decode_gpus": decode_gpus}
    fleet = classic.size(H200, **{**LOAD, "requests": requests}, **gpus, min_endpoint=2, budget=budget)

    assert min(fleet) >= 2


def test_the_demand_is_rounded_up_not_to_the_nearest():
    """600 × 3,000 / 60 = 30,000 prompt tokens/s at 10,000 a GPU: 3; one request more: 4."""
    speeds = {"prefill_speed": 10_000.0, "decode_speed": 1_500.0}

    assert classic.size(H200, **LOAD, **speeds) == (3, 1)
    assert classic.size(H200, **{**LOAD, "requests": 601.0}, **speeds) == (4, 2)


def test_the_tables_are_built_once_for_equal_profiles():
    """They take a while; two loads of one file are one profile."""
    assert tables(load("h200-llama31-8b-fp8-tp1")) is tables(H200)
    assert tables(replace(H200, max_kv_tokens=1e6)) is not tables(H200)


def test_points_on_a_line_are_refused_with_a_way_out():
    """Neither the peer nor anyone can lay a surface through them."""
    diagonal = [decode_point(20.0 * k, 500.0 * k) for k in (1.0, 2.0, 3.0)] + [decode_point(20.0, 500.0)]
    on_a_line = replace(profile(), decode_points=tuple(replace(p, kv_usage=p.context_tokens / 2e3) for p in diagonal))

    with pytest.raises(ValueError, match="lie on a line: use the slo law"):
        tables(on_a_line)
