"""Suites: data that says who meets where; traffic that is missing is told, not guessed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from planner import resources
from planner.arena.suite import expand
from planner.cli import main
from planner.config import ConfigError, load
from planner.config.suite import SuiteSettings

SMALL = {
    "common": {"profile": "h200-llama31-8b-fp8-tp1", "sla": {"ttft": "500ms", "itl": "25ms"}, "startup": "60s"},
    "cases": {
        "calm": {"traffic": [{"source": "poisson:rate=10/s,duration=3m", "lengths": "azure2023_conv"}]},
        "step": {"traffic": [{"source": "step:low=10/s,high=30/s,at=90s,duration=3m", "lengths": "azure2023_conv"}]},
        "far": {"traffic": [{"source": "far-away.csv"}], "get": "mooncake-conversation"},
    },
    "variations": {"slow": {"plant": {"slower": 1.3}}},
    "studies": [
        {"policies": ["slo", "static", "late"]},
        {"cases": ["step"], "variations": ["slow"], "policies": ["slo"]},
    ],
}  # fmt: skip


def described(**changes: object) -> SuiteSettings:
    return SuiteSettings.model_validate({**SMALL, **changes})


def invoke(*args: str) -> Result:
    return CliRunner().invoke(main, args, catch_exceptions=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL, sort_keys=False))
    return path


def test_variations_go_over_cases_and_flags_over_both():
    found = expand(described(), Path(), [], {"seed": "7", "sla.goal": "0.95"})
    slow = found.cases[-1]

    assert [(c.name, c.variation) for c in found.cases] == [("calm", ""), ("step", ""), ("step", "slow")]
    assert slow.settings.plant.slower == 1.3
    assert (slow.settings.seed, slow.settings.sla.goal, slow.settings.sla.ttft_s) == (7, 0.95, 0.5)
    assert slow.settings.policies == ("slo",)


def test_missing_traffic_is_told_with_the_way_to_get_it():
    (line,) = expand(described(), Path(), [], {}).skipped

    assert line == "far left out: far-away.csv is not there; planner data get mooncake-conversation"


def test_traffic_is_found_compressed_and_one_folder_down(tmp_path: Path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "far-away.csv.gz").write_bytes(b"")
    found = expand(described(), Path(), [tmp_path], {})

    assert not found.skipped
    assert found.cases[2].settings.traffic.source == str(tmp_path / "inside" / "far-away.csv.gz")


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(ConfigError) as problem:
        expand(described(studies=[{"policies": ["nobody"], "cases": ["x"], "variations": ["y"]}]), Path(), [], {})

    assert len(problem.value.problems) == 3


def test_a_bad_setting_is_told_with_its_case():
    with pytest.raises(ConfigError, match=r"step slow: plant\.slower: .* must be above 0"):
        expand(described(variations={"slow": {"plant": {"slower": 0}}}), Path(), [], {})


def test_a_suite_is_one_table_one_picture_a_case_and_one_overall(file: Path, tmp_path: Path):
    found = invoke("compare", "--suite", str(file), "--jobs", "1", "--json", "-", "--plots", str(tmp_path / "p"),
                   "--report", str(tmp_path / "r.html"), "--min-attainment", "0.2")  # fmt: skip
    answer = json.loads(found.stdout)

    assert found.exit_code == 0
    assert answer["schema"] == "sla-planner/suite.v1"
    assert [(c["case"], c["variation"]) for c in answer["cases"]] == [("calm", ""), ("step", ""), ("step", "slow")]
    assert answer["skipped"] == ["far left out: far-away.csv is not there; planner data get mooncake-conversation"]
    assert "far left out" in found.stderr
    (group,) = answer["overall"]
    assert [s["policy"] for s in group["standings"]] == ["slo", "static", "late"]
    assert all(s["cases"] == 2 for s in group["standings"])
    assert sorted(p.name for p in (tmp_path / "p").iterdir()) == [
        "calm.png", "overall-cases-as-described.png", "step-slow.png", "step.png"]  # fmt: skip
    assert (tmp_path / "r.html").read_text(encoding="utf-8").count("<img") == 4


def test_a_suite_brings_its_own_traffic(file: Path):
    found = invoke("compare", "--suite", str(file), "--traffic", "poisson:rate=10/s,duration=3m")

    assert found.exit_code == 2
    assert "--suite brings its own traffic: leave out traffic.source" in found.stderr


@pytest.mark.parametrize("name", resources.names("suites"))
def test_shipped_suites_make_sense(name: str, tmp_path: Path):
    """Every case, with stand-ins for traffic that is not shipped."""
    suite = load(SuiteSettings, resources.path("suites", name), {})
    for case in suite.cases.values():
        for traffic in case.traffic:
            if ":" not in str(traffic["source"]):
                (tmp_path / str(traffic["source"])).touch()
    found = expand(suite, tmp_path, [], {})

    assert not found.skipped
    assert {case.name for case in found.cases} == set(suite.cases)


def test_the_drawn_worlds_are_what_their_script_draws():
    """Nobody has chosen among them, or changed one since."""
    script = Path(__file__).parents[2] / "scripts" / "draw_worlds.py"
    made = subprocess.run((sys.executable, str(script)), capture_output=True, text=True, check=True, encoding="utf-8")
    assert made.stdout == resources.path("suites", "drawn.yaml").read_text(encoding="utf-8")
