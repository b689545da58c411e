"""``planner mix`` as users call it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from planner.cli import main

TWO = {
    "traffic": "poisson:rate=60/s,duration=6m,isl=1000,osl=100",
    "profile": "h200-llama31-8b-fp8-tp1",
    "further": {"older": {"role": "prefill", "slower": 2}},
    "cost": {"older": 0.3},
    "min_replicas": {"prefill": 0},
    "max_replicas": {"prefill": 8, "older": 6, "decode": 8},
    "initial": {"prefill": 4, "older": 0, "decode": 2},
    "sla": {"ttft": "1s", "itl": "30ms"},
    "startup": "30s",
    "stabilization": "60s",
}


def written(folder: Path, **changes: object) -> str:
    path = folder / "two.yaml"
    path.write_text(yaml.safe_dump({**TWO, **changes}))
    return str(path)


def run(command: str, *arguments: str):
    return CliRunner().invoke(main, [command, *arguments], catch_exceptions=False)


def test_the_mix_stands_beside_what_else_there_is(tmp_path):
    result = run("mix", written(tmp_path), "--json", str(tmp_path / "rows.json"))
    rows = {row["policy"]: row for row in json.loads((tmp_path / "rows.json").read_text())["rows"]}

    assert result.exit_code == 0
    assert list(rows) == ["mix", "without further", "further alone", "slo in blocks", "kthena"]
    assert rows["mix"]["attainment"]["both"] > 0.97
    assert rows["mix"]["cost"] < rows["without further"]["cost"]
    assert rows["mix"]["pools"]["older"]["mean"] > rows["mix"]["pools"]["prefill"]["mean"]
    assert rows["without further"]["pools"]["older"]["max"] == 0
    assert rows["further alone"]["pools"]["prefill"]["max"] == 0
    assert rows["mix"]["cost"] == pytest.approx(
        sum(hours * (0.3 if pool == "older" else 1.0) for pool, hours in rows["mix"]["gpu_hours_by_pool"].items())
    )


def test_simulate_takes_two_kinds_too(tmp_path):
    result = run("simulate", written(tmp_path), "--json", "-")

    assert json.loads(result.stdout)["pools"]["older"]["max"] >= 1


@pytest.mark.parametrize(
    ("command", "changes", "said"),
    [
        ("mix", {"further": {}, "cost": {}, "max_replicas": {}, "initial": {}}, "leaves nothing to choose"),
        ("mix", {"initial": {}}, "initial: write the fleet at the start"),
        ("mix", {"further": {"older": {"role": "aggregated"}}}, "has no workers that do aggregated"),
        ("mix", {"further": {"older": {"role": "prefil"}}}, "further.older.role"),
        ("mix", {"further": {"prefill": {"role": "prefill"}}}, "has a pool prefill already"),
        ("mix", {"cost": {"odler": 2}}, "did you mean 'older'?"),
        ("simulate", {"law": "classic"}, "classic sizes one pool of a role"),
        ("compare", {}, "compare searches fleets of one kind of GPU; use planner mix"),
    ],
)
def test_what_does_not_go_together_is_said(tmp_path, command, changes, said):
    result = run(command, written(tmp_path, **changes))

    assert result.exit_code == 2
    assert said in result.output
