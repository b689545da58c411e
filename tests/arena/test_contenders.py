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


@pytest.mark.parametrize(
    "name", ["slo:feedback_low=-3:feedback_high=0", "slo:fast_doubt=1000", "slo:joint=0", "slo:stabilization_s=0"]
)
def test_a_mechanism_can_be_switched_off_and_some_knobs_are_negative(name):
    assert problems([name]) == []


@pytest.mark.parametrize("law", PEERS)
def test_everything_that_is_searched_may_be_asked_for(law):
    named = [f"{law}:{knob}={value}" for knob, values in PEERS[law].searched.items() for value in values]

    assert problems(named) == []


def test_a_switch_stays_a_switch():
    assert tuning_of({"joint": 0.0}).joint is False


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nobody", "is none of slo, classic,"),
        ("slo:gain=1", "'gain' is no knob of slo"),
        ("slo:correction_gain=much", "'much' is not a number"),
        ("slo:made_up=nan", "policy 'slo:made_up=nan': made_up (nan) must be from 0 to 1000"),
        ("slo:made_up=-5", "made_up (-5) must be from 0 to 1000"),
        ("slo:made_up=inf", "made_up (inf) must be from 0"),
        ("slo:forecast_spread=1e6", "forecast_spread (1e6) must be from 0 to 1000"),
        ("slo:mix_memory=1.5", "mix_memory (1.5) must be from 0 to 1"),
        ("slo:interval_s=0", "interval_s (0) must be from 0.001 to 60000"),
        ("classic:interval_s=-60", "interval_s (-60) must be from 0.001"),
        ("hpa:waiting=0", "waiting (0) must be from 0.001 to 5000"),
        ("dynamo-sla:batch_tokens=0.5", "batch_tokens (0.5) must be from 1 to"),
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
