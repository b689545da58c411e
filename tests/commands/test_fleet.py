"""``planner fleet`` as users call it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from planner import config, resources
from planner.cli import main
from planner.config.fleet import FleetSettings, models
from planner.simulation.traffic.sources import locate

MODEL = {
    "traffic": "poisson:rate=20/s,duration=4m,isl=1000,osl=100",
    "sla": {"ttft": "500ms", "itl": "25ms"},
}
TWO = {
    "budget": 5,
    "common": {"profile": "h200-llama31-8b-fp8-tp1", "startup": "60s", **MODEL},
    "models": {"a": {"priority": 2}, "b": {"seed": 2, "initial": {"prefill": 1, "decode": 1}}},
}


def written(folder: Path, **changes: object) -> str:
    path = folder / "two.yaml"
    path.write_text(yaml.safe_dump({**TWO, **changes}))
    return str(path)


def run(*arguments: str):
    return CliRunner().invoke(main, ["fleet", *arguments], catch_exceptions=False)


def test_every_way_to_share_is_a_row(tmp_path):
    result = run(written(tmp_path), "--splits", "value,equal", "--json", str(tmp_path / "rows.json"))
    content = json.loads((tmp_path / "rows.json").read_text())

    assert result.exit_code == 0
    assert content["schema"] == "sla-planner/fleet.v1"
    assert [row["split"] for row in content["rows"]] == ["value", "equal"]
    assert [row["budget"] for row in content["rows"]] == [{"limit": 5.0, "unit": "GPUs"}] * 2
    assert all(row["most_asked"] <= 5 for row in content["rows"])
    assert content["rows"][0]["models"]["a"]["priority"] == 2.0
    assert content["rows"][0]["models"]["b"]["requests"] > 4000
    assert "a × 2" in result.output


def test_json_on_standard_output_is_alone_there(tmp_path):
    result = run(written(tmp_path), "--splits", "value", "--json", "-", "--seed", "5")
    rows = json.loads(result.stdout)["rows"]

    assert [model["seed"] for model in rows[0]["models"].values()] == [5, 6]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"budget": None}, "either budget (GPUs) or cost_budget"),
        ({"budget": 3}, "budget (3 GPUs) is below the smallest fleets that serve (4: a 2, b 2)"),
        ({"models": {"a": {}}}, "use planner simulate"),
        ({"splits": ["value", "evenly"]}, "split 'evenly' is none of value, equal, proportional, first-come"),
        ({"models": {"a": {"priority": 0}, "b": {}}}, "models.a.priority: 0 must be a number above 0"),
        ({"models": {"a": {"sla": {"ttft": 3}}, "b": {}}}, "models.a: sla.ttft: 3 has no unit"),
        ({"models": {"a": {"rooter": "kv"}, "b": {}}}, "did you mean 'router'?"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, changes, said):
    result = run(written(tmp_path, **changes))

    assert result.exit_code == 2
    assert said in result.output


def test_settings_of_a_model_go_over_the_common_ones(tmp_path):
    fleet = config.load(FleetSettings, Path(written(tmp_path, models={"a": {"sla": {"itl": "40ms"}}, "b": {}})), {})
    found = models(fleet, tmp_path)

    assert (found["a"].settings.sla.ttft_s, found["a"].settings.sla.itl_s) == (0.5, 0.04)
    assert found["b"].settings.sla.itl_s == 0.025


@pytest.mark.parametrize("name", [name.removesuffix(".yaml") for name in resources.names("fleets")])
def test_a_shipped_fleet_needs_nothing_else(name):
    file = config.find(name, "fleets")
    fleet = config.load(FleetSettings, file, {})

    assert fleet.description.endswith(".")
    assert all(locate(model.settings.traffic.source).exists() for model in models(fleet, file.parent).values())
