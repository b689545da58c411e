"""``planner replay`` at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from planner import config
from planner.adapters.decision_log import DecisionLog, read
from planner.cli import main
from planner.core.types import Decision, Observation
from planner.live.service import Parts, service_of
from planner.ports import SourceError, TargetError
from planner.replay import recording
from tests.replay.logs import simulate


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("replay") / "demo.jsonl", "--to", "20m", "--initial", "prefill=2,decode=1")


def replay(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["replay", *map(str, args)], env={"COLUMNS": "160"})


def answer(*args: str | Path) -> dict:  # type: ignore[type-arg]
    found = replay(*args, "--json", "-")

    assert found.exit_code == 0, found.stderr
    return json.loads(found.stdout)  # type: ignore[no-any-return]


def test_todays_code_decides_as_it_was_recorded(log: Path) -> None:
    found = replay(log, "--exact")

    assert found.exit_code == 0
    assert "All 241 decisions are the recorded ones." in found.output
    assert "the fleet that is seen is the recorded one" in found.output


def test_flags_go_over_the_recorded_configuration(log: Path) -> None:
    tighter = answer(log, "--ttft", "250ms")

    assert tighter["schema"] == "sla-planner/replay.v1"
    assert not tighter["identical"]
    assert tighter["changed"] > 100
    assert tighter["replayed"]["gpu_hours"] > tighter["recorded"]["gpu_hours"]
    assert answer(log)["recorded"] == tighter["recorded"]


def test_a_budget_is_kept_in_the_replay(log: Path) -> None:
    assert answer(log, "--budget", "5")["replayed"]["pools"] == {
        "prefill": {"mean": pytest.approx(3, abs=1), "max": 3},
        "decode": {"mean": pytest.approx(2, abs=1), "max": 2},
    }


@pytest.mark.parametrize(("flags", "law"), [(("--law", "classic"), "classic"), (("--predictor", "constant"), "slo")])
def test_another_law_or_predictor_decides(log: Path, flags: tuple[str, ...], law: str) -> None:
    found = answer(log, *flags)

    assert found["law"] == {"recorded": "slo", "replayed": law}
    assert found["changed"] > 0


def test_a_static_log_can_be_decided_by_another_law(tmp_path: Path) -> None:
    """Its fixed fleet belongs to the law that is replaced."""
    fixed = simulate(tmp_path / "s.jsonl", "--law", "static", "--replicas", "prefill=7,decode=3", "--to", "5m")

    assert answer(fixed, "--law", "slo")["law"]["replayed"] == "slo"


def test_exact_fails_on_any_difference(log: Path) -> None:
    found = replay(log, "--ttft", "250ms", "--exact")

    assert found.exit_code == 1
    assert "where they come to differ" in found.output


def test_diff_lists_every_step_that_differs(log: Path) -> None:
    turns, steps = answer(log, "--ttft", "250ms"), answer(log, "--ttft", "250ms", "--diff")

    assert len(steps["decisions"]) == steps["changed"] > len(turns["decisions"]) > 0
    assert steps["decisions"][0] == turns["decisions"][0]
    assert set(turns["decisions"][0]["recorded"]) == {"replicas", "wanted", "reason", "summary"}


def test_another_configuration_decides(log: Path, tmp_path: Path) -> None:
    """One of a live planner too: how it is run is no matter here."""
    other = tmp_path / "live.yaml"
    other.write_text(
        "profile: h200-llama31-8b-fp8-tp1\nsla: {ttft: 250ms, itl: 25ms}\nprometheus: {url: http://127.0.0.1:9}\n"
    )
    plain = tmp_path / "plain.yaml"
    plain.write_text("profile: h200-llama31-8b-fp8-tp1\nsla: {ttft: 250ms, itl: 25ms}\n")

    assert answer(log, "--config", other)["replayed"] == answer(log, "--ttft", "250ms")["replayed"]
    assert answer(log, "--config", plain)["replayed"] == answer(log, "--ttft", "250ms")["replayed"]


def test_what_is_decided_now_can_be_kept_as_a_log(log: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.jsonl"
    found = answer(log, "--ttft", "250ms", "--decisions", new)
    about = recording.load(new).about()

    assert about is not None
    assert about.sla.ttft_s == 0.25
    assert [s.seen for s in read(new)] == [s.seen for s in read(log)]
    assert answer(new)["identical"]
    assert answer(new)["recorded"] == found["replayed"]


def test_a_log_that_was_gone_on_with_after_the_clock_was_set_back_is_replayed(log: Path, tmp_path: Path) -> None:
    """Here the same minutes once more; what is learnt in the first ones is no past of the second."""
    twice, new = tmp_path / "twice.jsonl", tmp_path / "new.jsonl"
    twice.write_text(log.read_text() * 2)
    once, found = answer(log), answer(twice, "--decisions", new)

    assert found["identical"]
    assert found["steps"] == 2 * once["steps"]
    assert found["recorded"]["gpu_hours"] == pytest.approx(2 * once["recorded"]["gpu_hours"], rel=0.01)
    assert [said for said in found["notes"] if "anew, with nothing learnt" in said]
    assert answer(new)["identical"]


def test_a_log_of_a_live_planner_says_how_to_decide_it(log: Path, tmp_path: Path) -> None:
    """Commands of workers and where metrics are read are part of its settings, and of no matter to a replay."""
    file = tmp_path / "live.yaml"
    workers = "{prefill: {command: [serve], delay: 8s}, decode: {command: [serve], patience: 5m}}"
    file.write_text(
        "profile: h200-llama31-8b-fp8-tp1\nsla: {ttft: 500ms, itl: 25ms}\nprometheus: http://127.0.0.1:9\n"
        f"target: {{kind: processes, workers: {workers}}}\n"
    )
    about = service_of(config.load(config.LiveSettings, file, {}), Parts(Nowhere(), Nowhere())).about()
    live = tmp_path / "live.jsonl"
    with DecisionLog(live, about) as new:
        for step in read(log):
            new.record(step.seen, step.decision)
    found = answer(live)

    assert found["identical"]
    assert any("a live planner starts from its saved memory" in note for note in found["notes"])


class Nowhere:
    """A source and a target that are never asked."""

    def observe(self, at: float) -> Observation:
        raise SourceError("nowhere")

    def apply(self, decision: Decision) -> None:
        raise TargetError("nowhere")


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (("--mode", "aggregated"), "the log is of pools decode, prefill, the configuration of aggregated"),
        (("--ttft", "250"), "--ttft: "),
        (("--law", "static"), "law static needs its fleet"),
        (("--profile", "nowhere"), "nowhere"),
        (("--budget", "1"), "--budget: budget (1 GPUs) is below the smallest fleet"),
    ],
)
def test_a_configuration_that_does_not_fit_is_bad_input(log: Path, args: tuple[str, ...], problem: str) -> None:
    found = replay(log, *args)

    assert found.exit_code == 2
    assert problem in found.stderr


def test_a_log_without_its_configuration_needs_another(log: Path, tmp_path: Path) -> None:
    """Logs of older versions, and of other programs."""
    old = tmp_path / "old.jsonl"
    first, *rest = log.read_text().splitlines(keepends=True)
    line = json.loads(first)
    del line["about"]
    old.write_text(json.dumps(line) + "\n" + "".join(rest))
    found = replay(old)

    assert found.exit_code == 2
    assert "does not say what configuration it is of: name one with --config" in found.stderr
    assert replay(old, "--config", _demo(tmp_path)).exit_code == 0


def _demo(folder: Path) -> Path:
    file = folder / "demo.yaml"
    file.write_text("profile: h200-llama31-8b-fp8-tp1\nsla: {ttft: 500ms, itl: 25ms}\n")
    return file
