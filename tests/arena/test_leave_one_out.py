"""Constants chosen without a trace and judged on it: nothing of that trace may have a say in the choice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from planner.arena.contest import Case
from planner.arena.leave_one_out import candidates, choose, leave_one_out, price
from planner.cli import main
from planner.config import CompareSettings, ConfigError, load
from planner.simulation.report.figures import Row, summarise
from planner.simulation.report.standings import CaseFigures
from planner.simulation.simulate import simulate
from tests.simulation.worlds import Script, world

MORE, LESS = "slo:forecast_spread=1.5", "slo:forecast_spread=0.67"
TRACES = {"a1": "a", "a2": "a", "b": "b", "c": "c"}
amounts = st.floats(0.1, 1000.0)
prices = st.fixed_dictionaries({
    name: st.fixed_dictionaries(dict.fromkeys(TRACES, amounts)) for name in ("slo", MORE, LESS)
})  # fmt: skip


def case(name: str, source: str, policies: str = f"slo,{MORE},{LESS}") -> Case:
    return Case(name, load(CompareSettings, None, {
        "traffic.source": source,
        "traffic.lengths": "azure2023_conv",
        "profile": "h200-llama31-8b-fp8-tp1",
        "sla.ttft": "500ms",
        "sla.itl": "25ms",
        "policies": policies,
    }))  # fmt: skip


CASES = [case("one", "poisson:rate=10/s,duration=3m"), case("two", "poisson:rate=20/s,duration=3m")]


@pytest.fixture(scope="module")
def summary():
    fleet = {"prefill": 1, "decode": 1}
    return summarise(simulate(world((5.0,)), "x", Script((0.0, fleet)), fleet))


def figures(summary, name, found):
    """``found``: (policy, seed, share kept, GPU-hours); everything is attainable, the goal is 99 %."""
    rows = [
        Row(replace(summary, policy=policy, seed=seed, gpu_hours=hours,
                    attainment=replace(summary.attainment, both=kept, worst_hour=kept)))
        for policy, seed, kept, hours in found
    ]  # fmt: skip
    return CaseFigures(name, "", 100, 1.0, 0.99, tuple(rows), {seed: 10.0 for _, seed, _, _ in found}, ())


def test_twice_the_misses_weigh_like_twice_the_bill():
    """1 % may be missed: 2 % missed is 10 × 2, and keeping 99.9 % earns nothing over 99 %."""
    assert price(10.0, 0.98, 0.99, 1.0) == pytest.approx(20.0)
    assert price(10.0, 0.99, 0.99, 1.0) == pytest.approx(10.0)
    assert price(10.0, 0.999, 0.99, 1.0) == 10.0


def test_misses_are_of_what_is_attainable():
    """80 % attainable, of that 99 %: 0.8 points may be missed, 1.6 are."""
    assert price(10.0, 0.784, 0.792, 0.8) == pytest.approx(20.0)


def test_a_choice_worked_by_hand():
    """On b and c: slo √(10 × 10) = 10, MORE √(12 × 12) = 12, LESS √(9 × 9) = 9.

    With a as well, whose two cases make √(9 × 36) = 18 for LESS: slo ∛(10 × 10 × 10) = 10, MORE ∛(3 × 12 × 12) = 7.6,
    LESS ∛(18 × 9 × 9) = 11.3.
    """
    found = {
        "slo": {"a1": 10.0, "a2": 10.0, "b": 10.0, "c": 10.0},
        MORE: {"a1": 3.0, "a2": 3.0, "b": 12.0, "c": 12.0},
        LESS: {"a1": 9.0, "a2": 36.0, "b": 9.0, "c": 9.0},
    }

    assert choose(found, TRACES, without="a") == LESS
    assert choose(found, TRACES) == MORE


def test_of_equals_the_first_is_kept():
    alike = {name: dict.fromkeys(TRACES, 5.0) for name in ("slo", MORE, LESS)}

    assert choose(alike, TRACES, without="b") == "slo"


@given(prices, st.sampled_from(("slo", MORE, LESS)), amounts, amounts)
def test_the_left_out_trace_has_no_say(found, name, first, second):
    """Else a result would be judged on what it was chosen for; all cases of a file are left out together."""
    other = {**found, name: {**found[name], "a1": first, "a2": second}}

    assert choose(other, TRACES, without="a") == choose(found, TRACES, without="a")


@given(prices, st.sampled_from((0.125, 0.5, 2.0, 64.0)))
def test_a_longer_case_counts_for_no_more(found, times):
    """Every candidate pays in proportion: the choice is as cheap as before."""
    longer = {name: {**of, "b": of["b"] * times} for name, of in found.items()}
    one, other = choose(longer, TRACES), choose(found, TRACES)

    def total(name: str) -> float:
        of = found[name]
        return of["a1"] ** 0.5 * of["a2"] ** 0.5 * of["b"] * of["c"]

    assert total(one) == pytest.approx(total(other))


def test_every_case_is_judged_by_what_the_others_chose(summary):
    """LESS is cheapest on both but keeps 96 % on two: 9 × 4 = 36 there.

    So one, whose other trace is two, gets slo (10), and two gets LESS (9); with both, slo √(10 × 10) is under
    LESS √(9 × 36).
    """
    one = figures(summary, "one", [("slo", 1, 0.99, 10.0), (MORE, 1, 0.995, 12.0), (LESS, 1, 0.99, 9.0)])
    two = figures(summary, "two", [("slo", 1, 0.99, 10.0), (MORE, 1, 0.995, 12.0), (LESS, 1, 0.96, 9.0)])
    found = leave_one_out(CASES, [one, two])

    assert found.on_all == "slo"
    assert found.prices[LESS] == pytest.approx({"one": 9.0, "two": 36.0})
    assert [(row.case, row.chosen.policy, row.changed) for row in found.rows] == [
        ("one", "slo", ()), ("two", LESS, ("kept", "GPU-hours"))]  # fmt: skip


def test_noise_is_no_change(summary):
    """LESS keeps 0.2 points less and costs 1 less on the mean of three seeds.

    What it keeps differs from seed to seed by more than that (−0.8, −0.1, +0.3); the costs do not.
    """
    one = figures(summary, "one", [(p, s, 0.995, 9.0 if p == LESS else 10.0)
                                   for p in ("slo", MORE, LESS) for s in (1, 2, 3)])  # fmt: skip
    kept = {1: 0.983, 2: 0.990, 3: 0.994}
    two = figures(summary, "two", [(p, s, kept[s] if p == LESS else 0.991, 9.0 if p == LESS else 10.0)
                                   for p in ("slo", MORE, LESS) for s in (1, 2, 3)])  # fmt: skip
    row = leave_one_out(CASES, [one, two]).rows[1]

    assert row.chosen.policy == LESS
    assert row.chosen.more_kept.value == pytest.approx(-0.002)
    assert row.changed == ("GPU-hours",)


def test_only_variants_of_the_first_policy_are_candidates():
    """A fixed fleet found in hindsight, or a plan that knows the future, has no constants to choose."""
    found = [case(c.name, c.settings.traffic.source, f"slo,static,late,classic,{MORE}") for c in CASES]

    assert candidates(found) == ("slo", MORE)


def test_what_cannot_be_chosen_is_told_at_once():
    with pytest.raises(ConfigError) as problem:
        candidates([case("one", "poisson:rate=10/s,duration=3m", "slo,static")])

    assert problem.value.problems == (
        "--leave-one-out needs slo and a variant of it in every case",
        "--leave-one-out needs cases from two traces or more",
    )


def invoke(*args: str) -> Result:
    return CliRunner().invoke(main, args, catch_exceptions=False)


def test_the_command_shows_the_choices_and_writes_them(tmp_path: Path):
    """Of two traces each is judged by what the other chose, and the prices written are those that it chose by."""
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump({
        "common": {"profile": "h200-llama31-8b-fp8-tp1", "sla": {"ttft": "500ms", "itl": "25ms"}, "startup": "60s"},
        "cases": {
            name: {"traffic": [{"source": source, "lengths": "azure2023_conv"}]}
            for name, source in (("calm", "poisson:rate=10/s,duration=3m"),
                                 ("step", "step:low=10/s,high=60/s,at=90s,duration=4m"))
        },
        "studies": [{"policies": ["slo", "slo:forecast_spread=0"]}],
    }))  # fmt: skip
    found = invoke("compare", "--suite", str(file), "--leave-one-out", "--seeds", "2", "--jobs", "1", "--json", "-")
    answer = json.loads(found.stdout)["leave_one_out"]

    assert found.exit_code == 0
    assert [row["case"] for row in answer["rows"]] == ["calm", "step"]
    assert {row["chosen"]["policy"] for row in answer["rows"]} <= set(answer["prices"])
    assert all(row["shipped"]["policy"] == "slo" for row in answer["rows"])
    for row, other in zip(answer["rows"], ("step", "calm"), strict=True):
        assert row["chosen"]["policy"] == min(answer["prices"], key=lambda name: answer["prices"][name][other])
    assert "Constants chosen without the trace" in found.stderr
    assert "more than noise" in found.stderr


def test_one_case_has_nothing_to_leave_out():
    found = invoke("compare", "demo", "--leave-one-out")

    assert found.exit_code == 2
    assert "--leave-one-out needs --suite" in found.stderr
