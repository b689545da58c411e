"""``planner explain`` at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from planner.adapters.decision_log import read
from planner.cli import main
from planner.ports import Step
from tests.replay.logs import simulate


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("explain") / "demo.jsonl", "--to", "20m", "--initial", "prefill=2,decode=1")


def last_change(log: Path) -> tuple[int, Step, Step]:
    """Line, step and the step before, found in the log itself."""
    steps = list(read(log))
    last = [i for i in range(1, len(steps)) if steps[i].decision.replicas != steps[i - 1].decision.replicas][-1]
    return last + 1, steps[last], steps[last - 1]


def moved(log: Path) -> str:
    """A pool that the last change moved, as it is shown."""
    _, now, before = last_change(log)
    old, new = before.decision.replicas, now.decision.replicas
    return next(f"{pool} {old[pool]} → {new[pool]}" for pool in new if new[pool] != old[pool])


def explain(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["explain", *map(str, args)], env={"COLUMNS": "200"})


def test_the_last_change_in_words(log: Path) -> None:
    found = explain(log)

    assert found.exit_code == 0
    assert f"step {last_change(log)[0]} of 241" in found.output
    assert moved(log) in found.output
    assert "sized for the load that was forecast." in found.output
    for heading in ("seen", "forecast", "profile", "wanted", "expected", "would change it"):
        assert f"\n{heading}" in found.output


@pytest.mark.parametrize(
    ("choice", "step"),
    [
        (("--step", "13"), 13),
        (("--step", "-1"), 241),
        (("--at", "1m3s"), 13),
        (("--at", "81060"), 13),
        (("--at", "1970-01-01T22:31:00Z"), 13),
    ],
)
def test_a_decision_is_chosen_by_line_or_moment(log: Path, choice: tuple[str, str], step: int) -> None:
    found = explain(log, *choice, "--json", "-")

    assert json.loads(found.stdout)["step"] == step


def test_changes_are_listed(log: Path) -> None:
    listed = json.loads(explain(log, "--changes", "--json", "-").stdout)
    shown = explain(log, "--changes")

    assert listed["schema"] == "sla-planner/changes.v1"
    line, now, before = last_change(log)
    assert listed["changes"][-1]["step"] == line
    assert listed["changes"][-1]["before"] == dict(before.decision.replicas)
    assert listed["changes"][-1]["summary"] == now.decision.summary()
    assert f"{len(listed['changes'])} changes in 241 steps, 20m00s from 81,000 s" in shown.output


def test_json_goes_to_a_file_beside_the_words(log: Path, tmp_path: Path) -> None:
    found = explain(log, "--json", tmp_path / "why.json")

    assert moved(log) in found.output
    assert json.loads((tmp_path / "why.json").read_text())["step"] == last_change(log)[0]


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (("--at", "3h"), "nothing was decided at 91,800 s on the log's clock: the log reaches from 81,000 s"),
        (("--at", "2026-11-24T17:00Z"), "nothing was decided at 2026-11-24 17:00:00 UTC"),
        (("--at", "soon"), "'soon' is no moment"),
        (("--at", "nan"), "Invalid value for --at: 'nan' is no moment"),
        (("--at", "inf"), "Invalid value for --at: 'inf' is no moment"),
        (("--step", "242"), "there is no step 242: the log has 241"),
        (("--step", "3", "--changes"), "contradict each other"),
    ],
)
def test_a_question_that_has_no_answer_is_bad_input(log: Path, args: tuple[str, ...], problem: str) -> None:
    found = explain(log, *args)

    assert found.exit_code == 2
    assert problem in found.stderr


def test_a_file_that_is_no_log_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "other.jsonl").write_text('{"schema": "sla-planner/replay.v1"}\n')
    found = explain(tmp_path / "other.jsonl")

    assert found.exit_code == 2
    assert "other.jsonl:1: schema is 'sla-planner/replay.v1', expected 'sla-planner/decision.v1'" in found.stderr


def test_a_profile_that_is_gone_leaves_the_rest(log: Path, tmp_path: Path) -> None:
    """An old log is still explained when its profile has been moved; only the what-ifs need it."""
    old = tmp_path / "old.jsonl"
    old.write_text(log.read_text().replace("h200-llama31-8b-fp8-tp1", "gone-profile"))
    found = explain(old)

    assert found.exit_code == 0
    assert "what would change it is not known" in found.stderr
    assert moved(log) in found.stdout
    assert "would change it " not in found.stdout
