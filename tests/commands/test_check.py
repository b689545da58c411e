"""``planner check``: all that is wrong with a live configuration, in one list."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from planner import config, wiring
from planner.adapters import state_file
from planner.adapters.prometheus import Finding
from planner.cli import main
from planner.commands._checkup import metrics
from planner.config import LiveSettings
from planner.core.state import PlannerState
from tests.adapters.prometheus.stand import free_port
from tests.replay.remembered import Day, remembered


def written(folder: Path, url: str, more: str = "", prometheus: str = "") -> Path:
    file = folder / "live.yaml"
    file.write_text(
        "profile: h200-llama31-8b-fp8-tp1\nsla: {ttft: 470ms, itl: 25ms}\n"
        f"server: {{listen: '127.0.0.1:{free_port()}'}}\ndecisions: {folder}/d.jsonl\nstate: {folder}/state.json\n"
        f"prometheus:\n  url: {url}\n  labels: {{model: llama}}\n"
        f"  pools: {{prefill: {{job: prefill}}, decode: {{job: decode}}}}\n{prometheus}{more}"
    )
    return file


def check(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["check", *map(str, args)], env={"COLUMNS": "160"})


def answer(*args: str | Path) -> dict[str, Any]:
    done = check(*args, "--json", "-")

    assert done.exit_code in (0, 1), done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def said(found: dict[str, Any], subject: str) -> tuple[str, str]:
    """Severity and text of the last finding on something."""
    one = [f for f in found["findings"] if f["subject"] == subject][-1]
    return one["severity"], one["text"]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """A Prometheus that remembers the last 75 minutes, up to now, scraped every 15 s."""
    folder = tmp_path_factory.mktemp("check")
    rates = folder / "rates.csv"
    rates.write_text("minute,rps\n" + "".join(f"{m},20\n" for m in range(80)))
    with remembered(folder, rates, time.time() - 75 * 60, {"prefill": 3, "decode": 2}, 15.0) as found:
        yield found


FAST = "  scrape: 15s\ntick: 15s\n"


@pytest.mark.e2e
def test_a_good_configuration_has_no_problem(day: Day, tmp_path: Path) -> None:
    found = answer(written(tmp_path, day.url, prometheus=FAST))

    assert found["schema"] == "sla-planner/check.v1"
    assert (found["ok"], found["problems"]) == (True, 0), found
    assert said(found, "prometheus.url") == ("fine", f"{day.url} answers")
    assert said(found, "prometheus.scrape") == ("fine", "Prometheus scrapes every 15 s")
    assert said(found, "warmup")[0] == "fine"
    assert said(found, "front door: started") == (
        "fine",
        "dynamo_frontend_requests_started_total, 1 series (job=frontend; model=llama)",
    )
    assert said(found, "decode: running")[1].startswith("dynamo_component_inflight_requests, 2 series")
    assert said(found, "last hour")[1].startswith("20 requests/s, prompts of 1,1")
    assert said(found, "prompt lengths")[0] == "fine"
    assert said(found, "target.kind")[0] == "fine"


@pytest.mark.e2e
def test_buckets_tell_which_targets_they_let_be_seen(day: Day, tmp_path: Path) -> None:
    found = answer(written(tmp_path, day.url, prometheus=FAST))

    assert said(found, "sla.ttft")[0] == "fine"
    assert "470 ms is an edge" in said(found, "sla.ttft")[1]
    assert said(found, "sla.itl")[0] == "warning"
    assert "lies between the edges 20 ms and 35 ms" in said(found, "sla.itl")[1]
    assert "20 ms or 35 ms would be seen exactly" in said(found, "sla.itl")[1]


@pytest.mark.e2e
def test_metrics_are_listed_with_the_labels_that_were_seen(day: Day, tmp_path: Path) -> None:
    metrics = answer(written(tmp_path, day.url, prometheus=FAST))["metrics"]
    started = next(one for one in metrics if one["signal"] == "started")
    ttft = next(one for one in metrics if one["signal"] == "ttft")

    assert started["labels"] == {"job": ["frontend"], "model": ["llama"]}
    assert 0.47 in ttft["edges"]


@pytest.mark.e2e
def test_a_wrong_label_is_a_problem_that_names_the_values_there_are(day: Day, tmp_path: Path) -> None:
    file = written(tmp_path, day.url, prometheus=FAST)
    file.write_text(file.read_text().replace("{model: llama}", "{model: lama}"))
    found = answer(file)

    assert not found["ok"]
    assert any(f["severity"] == "problem" and "llama" in f["text"] for f in found["findings"])


@pytest.mark.e2e
def test_a_scrape_interval_that_is_not_the_real_one_is_a_problem(day: Day, tmp_path: Path) -> None:
    """Told 5 s, every series looks stale between two scrapes of 15 s."""
    severity, text = said(answer(written(tmp_path, day.url)), "prometheus.scrape")

    assert severity == "problem"
    assert text.startswith("is set to 5 s, but Prometheus scrapes every 15 s")
    assert "write scrape: 15s" in text


@pytest.mark.e2e
def test_a_promise_out_of_reach_is_told_with_the_best_there_is(day: Day, tmp_path: Path) -> None:
    found = answer(written(tmp_path, day.url, prometheus=FAST), "--itl", "1ms")

    assert said(found, "sla")[0] == "problem"
    assert "ITL 1 ms is out of reach of any fleet; best reachable" in said(found, "sla")[1]


@pytest.mark.e2e
def test_limits_that_leave_too_few_are_a_problem(day: Day, tmp_path: Path) -> None:
    found = answer(written(tmp_path, day.url, prometheus=FAST), "--max-replicas", "prefill=1")

    assert said(found, "limits")[0] == "problem"
    assert "→ 1 (max-replicas)" in said(found, "limits")[1]


def test_a_prometheus_out_of_reach_is_one_problem_among_others(tmp_path: Path) -> None:
    """The rest is looked at all the same."""
    done = check(written(tmp_path, "http://127.0.0.1:9", more=f"target: {{logs: {tmp_path}/live.yaml}}\n"))

    assert done.exit_code == 1
    assert "✗ prometheus.url" in done.output
    assert "cannot be reached" in done.output
    assert "✓ decisions" in done.output
    assert "1 problem, " in done.output


def test_warnings_alone_are_no_failure_unless_strict(tmp_path: Path) -> None:
    bare = [f for f in answer(written(tmp_path, "http://127.0.0.1:9"))["findings"] if f["severity"] == "problem"]

    assert [f["subject"] for f in bare] == ["prometheus.url"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    found = answer(written(tmp_path, "http://127.0.0.1:9"), "--state", tmp_path / "closed" / "state.json")

    assert said(found, "state") == ("problem", f"{tmp_path}/closed/state.json may not be written by this user")


def test_folders_that_are_not_there_are_problems(tmp_path: Path) -> None:
    found = answer(written(tmp_path, "http://127.0.0.1:9"), "--state", tmp_path / "no" / "state.json")

    assert said(found, "state") == ("problem", f"there is no folder {tmp_path}/no to write state.json into")


def test_a_state_of_another_policy_is_told_and_left_alone(tmp_path: Path) -> None:
    file = written(tmp_path, "http://127.0.0.1:9")
    settings = config.load(LiveSettings, file, {})
    policy = wiring.policy_of(settings, wiring.profile_of(settings))
    state_file.write(tmp_path / "state.json", policy, PlannerState(at=5.0))

    assert said(answer(file), "state")[1].endswith("can be gone on from")
    assert "was learnt under another policy" in said(answer(file, "--ttft", "300ms"), "state")[1]
    state_file.write(tmp_path / "state.json", policy, PlannerState(at=time.time() + 86_400.0))
    assert "from now: it will not be used" in said(answer(file), "state")[1]
    (tmp_path / "state.json").write_text("{")
    assert "cannot be used" in said(answer(file), "state")[1]
    assert (tmp_path / "state.json").read_text() == "{"  # nothing is changed


WORKERS = """target:
  kind: processes
  discovery: {folder}/targets.json
  workers:
    prefill: {{command: [python3, -m, http.server, '{{port}}']}}
    decode: {{command: [{program}]{more}}}
"""


def test_programs_of_workers_are_looked_for(tmp_path: Path) -> None:
    plain = tmp_path / "worker.sh"
    plain.write_text("#!/bin/sh\n")
    for program, severity, text in (
        ("no-such-program", "problem", "there is no program no-such-program, neither as a file nor on the PATH"),
        (str(plain), "problem", f"{plain} is a file that may not be executed: chmod +x {plain}"),
        ("sh", "fine", "sh is /"),
    ):
        more = WORKERS.format(folder=tmp_path, program=program, more="")
        found = answer(written(tmp_path, "http://127.0.0.1:9", more))

        assert said(found, "target.workers.decode.command")[0] == severity
        assert said(found, "target.workers.decode.command")[1].startswith(text)
        assert said(found, "target.workers.prefill.command")[0] == "fine"
        assert said(found, "target.discovery")[0] == "fine"


def test_patience_shorter_than_a_start_is_a_problem(tmp_path: Path) -> None:
    more = WORKERS.format(folder=tmp_path, program="sh", more=", patience: 60s")
    severity, text = said(answer(written(tmp_path, "http://127.0.0.1:9", more)), "target.workers.decode.patience")

    assert severity == "problem"
    assert "60 s is over before a worker is expected to serve (startup 2 min)" in text


@pytest.mark.parametrize(
    ("listen", "severity", "text"),
    [
        ("0.0.0.0:0", "problem", "can be reached from other machines"),
        ("nonsense", "problem", "is no address with a port"),
        ("127.0.0.1:0", "fine", "127.0.0.1:0 is free"),
        ("", "warning", "empty: no page, no /metrics, no /healthz"),
        ("192.0.2.1:9464", "problem", "can be reached from other machines"),
    ],
)
def test_the_address_of_the_page_is_tried(tmp_path: Path, listen: str, severity: str, text: str) -> None:
    found = said(answer(written(tmp_path, "http://127.0.0.1:9"), "--listen", listen), "server.listen")

    assert found[0] == severity
    assert text in found[1]


def test_a_profile_that_is_not_there_is_one_finding(tmp_path: Path) -> None:
    found = answer(written(tmp_path, "http://127.0.0.1:9"), "--profile", "nowhere")

    assert said(found, "nowhere")[0] == "problem"
    assert said(found, "prometheus.url")[0] == "problem"  # looked at all the same


def test_limits_that_the_profile_contradicts_are_a_finding(tmp_path: Path) -> None:
    found = answer(written(tmp_path, "http://127.0.0.1:9"), "--dialect", "dinamo")

    assert said(found, "prometheus.dialect")[0] == "problem"


@pytest.mark.parametrize(
    ("args", "problem"),
    [(("--ttft", "470"), "'470' is not a duration"), (("--tick", "5m"), "tick (5 min) exceeds interval (60 s)")],
)
def test_a_configuration_that_makes_no_sense_is_bad_input(tmp_path: Path, args: tuple[str, ...], problem: str) -> None:
    done = check(written(tmp_path, "http://127.0.0.1:9"), *args)

    assert done.exit_code == 2
    assert problem in done.stderr


def test_a_scenario_of_simulate_is_no_live_configuration() -> None:
    done = check("demo")

    assert done.exit_code == 2
    assert "traffic: unknown key" in done.stderr


def test_an_engine_need_not_tell_each_answers_own_itl_but_where_it_does_its_buckets_count(tmp_path: Path) -> None:
    """Absence is no warning; told, misses are seen at its edges and not at those of token gaps."""
    file = written(tmp_path, "http://127.0.0.1:1", "mode: aggregated\n")
    settings = config.load(LiveSettings, file, {"prometheus.pools": {"aggregated": {"job": "workers"}}})
    absent = Finding("aggregated", "request_itl", False, False, "vllm:own", problem="absent: 2 instances expose none")
    gaps = Finding("front door", "itl", True, True, "gaps", edges=(0.02, 0.035))
    own = Finding("aggregated", "request_itl", True, False, "vllm:own", edges=(0.01, 0.025, 0.05))

    assert [one.severity for one in metrics.found(settings, [absent])] == ["fine"]
    assert [one.severity for one in metrics.buckets(settings, [gaps, absent])] == ["warning"]
    assert [one.text for one in metrics.buckets(settings, [gaps, own])] == [
        "25 ms is an edge of vllm:own: seen exactly"
    ]
