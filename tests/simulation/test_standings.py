"""Who stands where: over seeds with intervals, over cases with geometric means; and the pictures of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from planner.simulation.report import comparison_plots
from planner.simulation.report.figures import Row, summarise
from planner.simulation.report.standings import CaseFigures, Mean, front_of, geometric, mean, overall
from planner.simulation.simulate import simulate
from tests.simulation.worlds import Script, world


@pytest.fixture(scope="module")
def summary():
    fleet = {"prefill": 1, "decode": 1}
    return summarise(simulate(world((5.0,)), "x", Script((0.0, fleet)), fleet))


def case(summary, found, name="one", attainable=1.0):
    """``found``: (policy, seed, share kept, GPU-hours); the bound at the goal takes 10 in every case."""
    rows = [
        Row(replace(summary, policy=policy, seed=seed, gpu_hours=hours,
                    attainment=replace(summary.attainment, both=kept, worst_hour=kept)), hours / 9.0, kept)
        for policy, seed, kept, hours in found
    ]  # fmt: skip
    seeds = {seed: 10.0 for _, seed, _, _ in found}
    return CaseFigures(name, "", 100, attainable, 0.99 * attainable, tuple(rows), seeds, ((9.0, 0.98), (10.0, 0.99)))


def test_the_front_is_of_those_whom_nobody_beats_in_both():
    points = [("cheap", 100.0, 98.0), ("beaten", 120.0, 97.0), ("good", 130.0, 99.0), ("dear", 150.0, 99.0)]

    assert front_of(points) == ["cheap", "good"]


def test_three_seeds_have_an_interval_by_student():
    """1, 2, 3: s = 1, t(0.975, 2) = 4.303, half = 4.303 / √3."""
    assert mean([1.0, 2.0, 3.0]).half == pytest.approx(2.484, abs=1e-3)
    assert mean([2.0]) == Mean(2.0, None)


def test_differences_are_paired_by_seed(summary):
    """Seeds differ by more than the policies do, yet the other keeps 0.2 points more with every one of them."""
    found = [("slo", 1, 0.95, 10.0), ("slo", 2, 0.97, 14.0), ("slo", 3, 0.99, 12.0),
             ("other", 1, 0.952, 9.0), ("other", 2, 0.972, 12.6), ("other", 3, 0.992, 10.8)]  # fmt: skip
    slo, other = case(summary, found).standings()

    assert other.kept.half > 0.02
    assert other.more_kept.value == pytest.approx(0.002)
    assert other.more_kept.half < 1e-6
    assert other.dearer.value == pytest.approx(-0.1)
    assert other.beats_the_first
    assert not slo.beats_the_first


def test_noise_beats_nobody(summary):
    found = [("slo", 1, 0.99, 10.0), ("slo", 2, 0.98, 10.0), ("slo", 3, 0.99, 10.0),
             ("other", 1, 0.98, 9.0), ("other", 2, 0.995, 9.0), ("other", 3, 0.99, 9.0)]  # fmt: skip
    _, other = case(summary, found).standings()

    assert other.more_kept.value > 0
    assert not other.beats_the_first


def test_all_cases_count_alike_and_misses_are_of_what_is_attainable(summary):
    easy = case(summary, [("slo", 1, 0.99, 10.0), ("hpa", 1, 0.5, 20.0)], "easy")
    hard = case(summary, [("slo", 1, 0.792, 1000.0)], "hard", attainable=0.8)
    slo, hpa = overall([easy, hard])

    assert (slo.cases, slo.goals) == (2, 2)
    assert slo.kept == pytest.approx(0.99)
    assert slo.cost == pytest.approx(10.0)  # √(1 × 100)
    assert (hpa.cases, hpa.goals) == (1, 0)
    assert geometric([0.0, 1.0]) == 0.0


def test_who_keeps_more_for_less_is_named(summary):
    slo, _ = overall([case(summary, [("slo", 1, 0.985, 10.0), ("hpa", 1, 0.992, 9.0)], "easy")])

    assert slo.beaten_by == ("hpa in easy",)


def test_names_in_a_picture_of_many_policies_do_not_cover_each_other(summary, tmp_path: Path):
    """Twenty-five policies, half of them close together, one ten times as dear as the others."""
    found = [("slo", 1, 0.991, 10.5), ("dear", 1, 0.9, 100.0)]
    found += [(f"policy-{i}", 1, 0.9 + 0.004 * i, 8.0 + 0.3 * (i % 12)) for i in range(23)]
    figure = comparison_plots.case(case(summary, found))
    (axis,) = figure.axes
    boxes = [text.get_window_extent() for text in axis.texts if text.get_text().startswith(("policy", "slo", "dear"))]
    covered = sum(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])

    assert len(boxes) == 25
    assert covered <= 2
    assert axis.get_xlim()[1] < 50  # the dear one stands at the edge
    assert comparison_plots.write(figure, tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("kept", [0.0, 1.0])
def test_a_single_policy_makes_a_picture(summary, kept, tmp_path: Path):
    figure = comparison_plots.case(case(summary, [("slo", 1, kept, 10.0)]))

    assert comparison_plots.write(figure, tmp_path / "x.png").exists()
