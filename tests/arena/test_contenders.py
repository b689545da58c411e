"""Names of policies: what is known is run, what is not is told before anything runs."""

from __future__ import annotations

import pytest

from planner.arena.contenders import contender, problems, tuning_of
from planner.simulation.peers import PEERS


@pytest.mark.parametrize("name", ["slo", "classic+arima", "static", "static-peak", "late", "clairvoyant", *PEERS])
def test_every_name_of_the_reference_is_known(name):
    assert contender(name).name == name


def test_knobs_are_read():
    one = contender("slo:correction_gain=0:interval_s=30")

    assert (one.law, one.knobs) == ("slo", {"correction_gain": 0.0, "interval_s": 30.0})


def test_a_switch_stays_a_switch():
    assert tuning_of({"joint": 0.0}).joint is False


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nobody", "is none of slo, classic,"),
        ("slo:gain=1", "'gain' is no knob of slo"),
        ("slo:correction_gain=much", "'much' is not a number"),
        ("slo:tuned", "slo has nothing to tune"),
        ("classic+tarot", "no predictor is called 'tarot'"),
        ("static+arima", "is none of"),
        ("hpa:tuned:queue=1", "'tuned' is no knob of hpa"),
    ],
)
def test_what_makes_no_sense_is_told(name, told):
    (problem,) = problems([name], "disaggregated")

    assert told in problem


def test_all_problems_are_told_at_once():
    assert len(problems(["nobody", "slo", "slo:x=1", "classic"], "aggregated")) == 3
