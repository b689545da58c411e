"""The plant against Dynamo's own offline replay: one trace, one timing table, two simulators that share no code."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.local import fidelity, install
from planner.local.stack import Shape
from planner.simulation.run import Promise
from planner.simulation.traffic.load import TrafficSpec, load

HOME = install.home()
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not install.is_installed(HOME), reason=f"the local stack is not installed in {HOME}"),
]
LATENCIES = ("ttft_mean_s", "ttft_p95_s", "itl_mean_s", "itl_p95_s")
SPLIT, TOGETHER = {"prefill": 2, "decode": 2}, {"aggregated": 4}


def at_rate(scale, fleet, router, **shape):
    """Twelve minutes of recorded conversations at ``scale`` times their rate, one fleet throughout."""
    mode = "aggregated" if "aggregated" in fleet else "disaggregated"
    traffic = load(TrafficSpec("azure2023_conv", scale=scale, to_s=720.0, seed=3))
    made = Shape(mode, fleet, fidelity.TIMING.profile("fidelity"), router=router, **shape)
    return fidelity.Trial(made, traffic, Promise(1.0, 0.040))


# moderate and high: at the latter steps take three to five times what they take alone, and ITL misses 40 ms
@pytest.mark.parametrize(("fleet", "scale"), [(TOGETHER, 1.8), (TOGETHER, 3.8), (SPLIT, 1.2), (SPLIT, 2.6)], ids=str)
@pytest.mark.parametrize("router", ["round-robin", "kv"])
def test_latencies_agree_within_ten_percent(fleet, scale, router, tmp_path):
    """Mean and 95th percentile of TTFT and ITL, over thousands of requests."""
    trial = at_rate(scale, fleet, router)
    plant = fidelity.through_plant(trial).figures(trial.promise)
    real = fidelity.through_replay(trial, HOME / "bin" / "python", tmp_path).figures(trial.promise)

    for name in LATENCIES:
        assert plant[name] == pytest.approx(real[name], rel=0.10), name


def test_a_plant_that_is_slower_is_found_out(tmp_path, monkeypatch):
    """The comparison must fail for an engine whose steps take 15 % longer."""
    trial = at_rate(1.8, TOGETHER, "round-robin")
    real = fidelity.through_replay(trial, HOME / "bin" / "python", tmp_path).figures(trial.promise)
    right = fidelity.plant_parameters
    monkeypatch.setattr(fidelity, "plant_parameters", lambda shape: replace(right(shape), decode_scale=1.15))
    slow = fidelity.through_plant(trial).figures(trial.promise)

    assert slow["itl_mean_s"] > 1.10 * real["itl_mean_s"]


@pytest.mark.parametrize("mode", ["aggregated", "disaggregated"])
def test_the_shipped_trial_overloads_the_fleet_and_agrees(mode, tmp_path):
    """A stretch above capacity, at least one request in twenty missed, and both say so alike."""
    trial = fidelity.trial(mode, fixed=True)
    plant, real = fidelity.through_plant(trial), fidelity.through_replay(trial, HOME / "bin" / "python", tmp_path)
    found = fidelity.Comparison("replay", trial, plant, real)

    assert trial.traffic.output_tokens.sum() / trial.traffic.duration_s < 4000
    assert real.figures(trial.promise)["attainment"] < 0.95
    assert found.worst() < 0.10
