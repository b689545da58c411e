"""simulate, compare and size as users and their scripts meet them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from planner.cli import main
from planner.simulation import clairvoyant

PROMISE = ("--profile", "h200-llama31-8b-fp8-tp1", "--ttft", "500ms", "--itl", "25ms")
SHORT = ("--traffic", "poisson:rate=20/s,duration=4m", "--lengths", "azure2023_conv", *PROMISE)
SIZE = ("size", *PROMISE, "--isl", "3000", "--osl", "300")


def invoke(*args: str) -> Result:
    return CliRunner().invoke(main, args, catch_exceptions=False)


def test_every_flag_that_scripts_rely_on_is_taken_together(tmp_path: Path) -> None:
    """Design section 7; a renamed flag breaks somebody's script."""
    found = invoke(
        "simulate", *SHORT, "--scale", "2", "--from", "1m", "--to", "3m", "--dispersion", "8",
        "--mode", "disaggregated", "--router", "kv", "--law", "slo", "--predictor", "constant",
        "--goal", "0.95", "--interval", "60s",
        "--scrape", "5s", "--startup", "30s", "--plant-slower", "1.1", "--budget", "9", "--seed", "3",
        "--initial", "prefill=2,decode=1", "--min-replicas", "prefill=1,decode=1",
        "--max-replicas", "prefill=5,decode=3", "--gpus-per-replica", "prefill=1,decode=2", "--json", "-",
        "--report", str(tmp_path / "r.html"), "--plots", str(tmp_path / "p"),
        "--decisions", str(tmp_path / "d.jsonl"), "--min-attainment", "0.5",
    )  # fmt: skip
    answer = json.loads(found.stdout)
    first = json.loads((tmp_path / "d.jsonl").read_text().splitlines()[0])

    assert found.exit_code == 0
    assert answer["schema"] == "sla-planner/simulation.v1"
    assert {"policy", "requests", "completed", "attainment", "gpu_hours", "changes_per_hour", "ttft_seconds",
            "itl_seconds", "pools", "seed", "wall_seconds", "requests_per_second"} <= set(answer)  # fmt: skip
    assert set(answer["attainment"]) == {"ttft", "itl", "both", "worst_5min", "worst_hour"}
    assert set(answer["ttft_seconds"]) == {"mean", "p50", "p95", "p99"}
    assert set(answer["pools"]["prefill"]) == {"mean", "min", "max"}
    assert answer["requests"] == pytest.approx(4800, rel=0.3)  # 2 × 20 requests/s for 2 minutes
    assert first["schema"].startswith("sla-planner/decision")
    assert (tmp_path / "r.html").exists()
    assert (tmp_path / "p" / "overview.png").exists()


def test_the_same_seed_is_the_same_run() -> None:
    def figures(seed: str) -> dict[str, object]:
        answer = json.loads(invoke("simulate", *SHORT, "--json", "-", "--seed", seed).stdout)
        return {k: v for k, v in answer.items() if k not in ("wall_seconds", "requests_per_second")}

    assert figures("5") == figures("5")
    assert figures("5") != figures("6")


def test_attainment_below_the_floor_is_exit_1_with_the_whole_answer() -> None:
    found = invoke("simulate", *SHORT, "--law", "static", "--replicas", "prefill=1,decode=1", "--plant-slower", "9",
                   "--min-attainment", "0.9", "--json", "-")  # fmt: skip

    assert found.exit_code == 1
    assert json.loads(found.stdout)["attainment"]["both"] < 0.9
    assert "is below --min-attainment 90.00%" in found.stderr


def test_a_promise_out_of_reach_is_an_answer() -> None:
    found = invoke("simulate", *SHORT, "--itl", "1ms", "--json", "-")
    answer = json.loads(found.stdout)

    assert found.exit_code == 1
    assert answer["feasible"] is False
    assert "best reachable" in answer["notes"][-1]


@pytest.mark.parametrize("option", ["--report", "--decisions", "--json"])
def test_a_full_disk_costs_neither_the_table_nor_the_other_files(option: str, tmp_path: Path) -> None:
    """A run of minutes whose last step fails must have been worth it."""
    files = {"--json": "a.json", "--report": "a.html", "--decisions": "a.jsonl"} | {option: "/dev/full"}
    where = [text for name, file in files.items() for text in (name, str(tmp_path / file))]
    found = CliRunner().invoke(main, ["simulate", *SHORT, *where])

    assert found.exit_code == 3
    assert "kept both" in found.output
    assert found.stderr == f"Error: {option}: /dev/full cannot be written: No space left on device\n"
    assert all((tmp_path / file).stat().st_size > 0 for file in files.values() if file != "/dev/full")


def test_compare_shows_its_table_before_a_file_fails(tmp_path: Path) -> None:
    found = CliRunner().invoke(main, ["compare", *SHORT, "--policies", "slo", "--jobs", "1", "--report", "/dev/full"])

    assert found.exit_code == 3
    assert "clairvoyant" in found.output
    assert "Error: --report: /dev/full cannot be written: No space left on device" in found.stderr


def test_a_decision_log_that_may_not_be_written_is_told_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").symlink_to(tmp_path / "nowhere" / "d.jsonl")
    found = CliRunner().invoke(main, ["simulate", *SHORT, "--decisions", str(tmp_path / "d.jsonl")])

    assert found.exit_code == 2
    assert f"--decisions: {tmp_path / 'd.jsonl'} cannot be written: No such file" in found.stderr


@pytest.mark.parametrize("law", ["slo", "classic"])
def test_size_answers_both_laws(law: str) -> None:
    found = invoke(
        *SIZE, "--rate", "12/s", "--law", law, "--interval", "60s", "--correction", "decode=1.5", "--json", "-"
    )
    answer = json.loads(found.stdout)

    assert found.exit_code == 0
    assert answer["schema"] == "sla-planner/size.v1"
    assert answer["gpus"] == sum(answer["pools"].values())
    assert set(answer["expected"]) == {"ttft_seconds", "itl_seconds", "attainment"}


def test_size_of_an_itl_out_of_reach_says_what_can_be_had() -> None:
    """prop-1, prop-2: reported with the best reachable, sized for it, exit 1; never sixty replicas in silence."""
    found = invoke(*SIZE, "--rate", "12/s", "--itl", "1ms", "--json", "-")
    answer = json.loads(found.stdout)

    assert found.exit_code == 1
    assert answer["feasible"] is False
    assert "decode: ITL 1 ms is out of reach of any fleet; best reachable 4.4" in answer["reasons"][0]
    assert answer["pools"]["decode"] < 60


def test_size_within_a_budget_that_does_not_reach() -> None:
    """prop-3, prop-10: the budget holds, no serving pool goes to zero, the shortfall is said."""
    found = invoke(*SIZE, "--rate", "1200/s", "--budget", "10", "--json", "-")
    answer = json.loads(found.stdout)

    assert found.exit_code == 1
    assert answer["gpus"] <= 10
    assert all(n >= 1 for n in answer["pools"].values())
    assert any("gpu-budget" in reason for reason in answer["reasons"])


def test_size_says_that_prompts_are_longer_than_was_measured() -> None:
    """As simulate does. Of log-normal lengths around 14,000 the longest fifth is beyond 16,372 tokens."""
    found = invoke(*SIZE, "--rate", "12/s", "--isl", "14000", "--json", "-")
    (note,) = json.loads(found.stdout)["notes"]

    assert note.startswith("20.0% of prompts are longer than the profile's range (16,372 tokens)")
    assert "note: 20.0% of prompts" in found.stderr
    assert json.loads(invoke(*SIZE, "--rate", "12/s", "--json", "-").stdout)["notes"] == []


@pytest.mark.parametrize("law", ["slo", "classic"])
def test_size_says_where_sizing_ends(law: str) -> None:
    """A million replicas are the end of the arithmetic, not an answer."""
    found = invoke(*SIZE, "--rate", "1e9/s", "--law", law, "--max-replicas", "decode=7", "--json", "-")
    answer = json.loads(found.stdout)

    assert found.exit_code == 1
    assert answer["reasons"][0] == "prefill: sizing ends at 1,000,000 replicas, and this load asks for more"
    assert answer["reasons"][1].startswith("decode: max-replicas ")


def test_size_takes_no_option_that_changes_nothing() -> None:
    """The cost of a GPU moves no answer about one kind of GPU."""
    found = invoke(*SIZE, "--rate", "12/s", "--cost", "decode=5")

    assert found.exit_code == 2
    assert "No such option '--cost'" in found.stderr


def test_classic_sizes_no_aggregated_pool() -> None:
    found = CliRunner().invoke(main, [*SIZE, "--rate", "12/s", "--law", "classic", "--mode", "aggregated"])

    assert found.exit_code == 2
    assert "the classic law sizes one prefill and one decode pool" in found.stderr


def test_compare_has_a_row_a_policy_and_a_ratio_a_row(tmp_path: Path) -> None:
    found = invoke("compare", *SHORT, "--policies", "slo,classic,static,late,clairvoyant", "--json", "-", "--jobs", "1",
                   "--report", str(tmp_path / "r.html"))  # fmt: skip
    answer = json.loads(found.stdout)
    rows = {row["policy"]: row for row in answer["rows"]}

    assert found.exit_code == 0
    assert answer["schema"] == "sla-planner/comparison.v1"
    assert list(rows) == ["slo", "classic", "static", "late", "clairvoyant"]
    assert all(set(row["ratio_to_clairvoyant"]) == {"gpu_hours", "at_attainment"} for row in rows.values())
    assert rows["clairvoyant"]["ratio_to_clairvoyant"]["gpu_hours"] == 1.0
    assert rows["static"]["attainment"]["both"] >= 0.99  # the best fixed fleet in hindsight
    assert "× bound" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_a_policy_cheaper_than_the_bound_ends_the_program_loudly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After all results have been written: an hour's work is not lost."""
    monkeypatch.setattr(clairvoyant, "broken", lambda summary, ideal: f"{summary.policy} is too cheap")
    with pytest.raises(clairvoyant.BoundBrokenError, match="classic is too cheap"):
        invoke("compare", *SHORT, "--policies", "classic", "--jobs", "1", "--json", str(tmp_path / "r.json"))

    assert json.loads((tmp_path / "r.json").read_text())["rows"]


def test_a_policy_that_cannot_size_the_mode_is_told_before_any_run() -> None:
    found = invoke("compare", *SHORT, "--mode", "aggregated", "--policies", "slo,classic,nobody")

    assert found.exit_code == 2
    assert "policy 'classic' sizes a prefill and a decode pool" in found.stderr
    assert "policy 'nobody' is none of" in found.stderr


def test_problems_of_a_configuration_and_of_flags_are_told_at_once(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("foo: 1\nsla: {ttft: 5, itl: 25ms}\nmin_replicas: {prefill: 5}\nmax_replicas: {prefill: 2}\n")
    found = invoke("simulate", str(bad), "--goal", "2")

    assert found.exit_code == 2
    for problem in ("foo: unknown key", "sla.ttft: 5 has no unit", "min_replicas (5) exceeds max_replicas (2)",
                    "--goal: 2 must be below 1", "--traffic is needed", "--profile is needed"):  # fmt: skip
        assert problem in found.stderr


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("minute,requests\n0,5\n2,5\n1,3\n", ":4: minute is earlier than on line 3"),
        ("minute,requests\n0,5\n1,-5\n", ":3: requests is '-5'"),
        ("minute,requests\n0,5\n1,\n", ":3: requests is"),
        ("", "is empty"),
    ],
)
def test_a_bad_trace_is_told_with_its_line(content: str, told: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text(content)
    found = invoke("simulate", "--traffic", str(trace), *PROMISE, "--isl", "500", "--osl", "100")

    assert found.exit_code == 2
    assert told in found.stderr


@pytest.mark.parametrize("content", ['{"schema": "x"}', "{", "{}"])
def test_a_bad_profile_is_told(content: str, tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text(content)
    found = invoke("simulate", *SHORT, "--profile", str(profile))

    assert found.exit_code == 2
    assert str(profile) in found.stderr
