"""The classic law is the peer's, case by case (recorded from its own code)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planner.adapters.profile_files import load
from planner.core.sizing import classic
from planner.core.sizing.classic_interpolation import tables

GROUPS = {g["group"]: g for g in json.loads((Path(__file__).parent / "reference-cases.json").read_text())["groups"]}
PROFILE = load("h200-llama31-8b-fp8-tp1")
NOT_ASSERTED = {"old.load_predictors", "old.trace_windows", "old.loop_semantics"}  # docs/concepts.md says how we differ


def cases(*groups: str, kinds: set[str] | None = None) -> list[object]:
    found = [c for group in groups for c in GROUPS[group]["cases"] if kinds is None or c.get("expected_kind") in kinds]
    return [pytest.param(case, id=case["id"]) for case in found]


def sized(inputs: dict[str, float]) -> list[int]:
    return list(
        classic.size(
            PROFILE,
            requests=inputs["n"],
            isl=inputs["isl"],
            osl=inputs["osl"],
            interval_s=inputs.get("interval", 60),
            itl_s=inputs.get("itl", 50) / 1e3,
            prefill_correction=inputs.get("pc_", 1.0),
            decode_correction=inputs.get("dc", 1.0),
            prefill_gpus=inputs.get("pg", 1),
            decode_gpus=inputs.get("dg", 1),
            min_endpoint=inputs.get("mine", 1),
            budget=inputs.get("budget", 10),
            prefill_speed=inputs.get("pthpt"),
            decode_speed=inputs.get("dthpt"),
        )
    )


def test_every_group_is_asserted_or_named_as_not():
    """A group added to the file must not be forgotten here."""
    asserted = {"old.replica_calculation", "old.sla_scaling_h200_profile", "old.interpolators_h200_profile"}

    assert set(GROUPS) == asserted | {"old.correction_factors"} | NOT_ASSERTED


@pytest.mark.parametrize("case", cases("old.replica_calculation", "old.sla_scaling_h200_profile"))
def test_replicas(case):
    """Exact cases exactly, bounds as bounds; what the peer was merely seen to do, too: it is the baseline."""
    got, kind, expected = sized(case["inputs"]), case["expected_kind"], case["expected"]

    if kind in ("exact", "peer_behaviour"):
        assert got == expected
    elif kind == "component":
        assert all(want is None or have == want for have, want in zip(got, expected, strict=True))
    elif kind == "min":
        assert all(have >= want for have, want in zip(got, expected, strict=True))
    else:
        pytest.fail(f"unknown kind {kind}")


@pytest.mark.parametrize("case", cases("old.interpolators_h200_profile"))
def test_interpolation(case):
    """Held to the recorded values; the file allows 10 % between points, the arithmetic is the same."""
    inputs, expected = case["inputs"], case["expected"]
    known = tables(PROFILE)

    if "isl" in inputs:
        ttft, speed = known.prefill(inputs["isl"])
        assert ttft * 1e3 == pytest.approx(expected["ttft_ms"], rel=1e-6)
    elif "concurrency" in inputs:
        itl, speed = known.decode(inputs["concurrency"], inputs["context_length"])
        assert itl * 1e3 == pytest.approx(expected["itl_ms"], rel=1e-6)
    else:
        speed, itl, usage = known.best_speed(inputs["itl"] / 1e3, inputs["context_length"])
        assert itl * 1e3 == pytest.approx(expected["itl_ms"], rel=1e-6)
        assert usage == pytest.approx(expected["kv_usage"], abs=1e-9)
    assert speed == pytest.approx(expected["thpt_per_gpu"], rel=1e-6)


@pytest.mark.parametrize("case", cases("old.correction_factors"))
def test_corrections(case):
    inputs, expected = case["inputs"], case["expected"]
    if not isinstance(expected, dict):  # no decode engine: the peer holds after the division by zero, so do we
        with pytest.raises(ZeroDivisionError):
            classic.corrections(PROFILE, observed_ttft_s=0.06, observed_itl_s=0.01, requests=1, isl=3000, osl=150,
                                duration_s=1, decode_replicas=0, interval_s=60)  # fmt: skip
        return
    got = classic.corrections(
        PROFILE,
        observed_ttft_s=inputs["observed_ttft_s"],
        observed_itl_s=inputs["observed_itl_s"],
        requests=inputs["num_req"],
        isl=inputs["isl"],
        osl=inputs["osl"],
        duration_s=inputs["request_duration_s"],
        decode_replicas=inputs["num_decode_engines"],
        interval_s=inputs["interval_s"],
    )

    assert got == pytest.approx((expected["p_corr"], expected["d_corr"]), rel=1e-6)
