"""A log that ``planner run`` wrote beside a real Prometheus: explained and replayed like one of a simulation."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from planner.cli import main
from planner.core.types import Reason
from planner.replay.recording import Recording, load
from tests.adapters.prometheus.stand import wait_for
from tests.replay.remembered import remembered

pytestmark = pytest.mark.e2e
CONFIG = """profile: h200-llama31-8b-fp8-tp1
sla: {{ttft: 500ms, itl: 25ms}}
interval: 10s
warmup: 10m
decisions: {folder}/live.jsonl
server: {{listen: ''}}
prometheus:
  url: {url}
  labels: {{model: llama}}
  pools: {{prefill: {{job: prefill}}, decode: {{job: decode}}}}
"""


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Half a minute of ``planner run``: the database holds what is going to be scraped, so the present passes by."""
    folder = tmp_path_factory.mktemp("live")
    rates = folder / "rates.csv"
    rates.write_text("minute,rps\n" + "".join(f"{m},20\n" for m in range(25)))
    with remembered(folder, rates, time.time() - 15 * 60, {"prefill": 3, "decode": 2}, 5.0) as day:
        (folder / "live.yaml").write_text(CONFIG.format(folder=folder, url=day.url))
        with (folder / "out").open("w") as out:
            command = [sys.executable, "-m", "planner", "run", str(folder / "live.yaml")]
            running = subprocess.Popen(command, stdout=out, stderr=out)
            try:
                path = folder / "live.jsonl"
                wait_for(lambda: path.is_file() and path.read_text().count('"sized"') >= 2, 60.0)
            finally:
                running.send_signal(signal.SIGTERM)
                running.wait(20)
        yield path


@pytest.fixture(scope="module")
def recording(log: Path) -> Recording:
    return load(log)


def planner(*args: str | Path) -> Result:
    return CliRunner().invoke(main, list(map(str, args)), env={"COLUMNS": "160"})


def test_a_live_decision_is_explained(log: Path, recording: Recording) -> None:
    last = max(i for i, step in enumerate(recording.steps) if step.decision.reason is Reason.SIZED)
    found = json.loads(planner("explain", log, "--step", str(last + 1), "--json", "-").stdout)

    assert found["reason"] == "sized"
    assert found["time"] is not None  # a wall clock's, unlike a simulation's
    assert found["seen"]["rate_per_second"] == pytest.approx(20.0, rel=0.5)
    assert found["seen"]["pools"]["prefill"]["ready"] == 3
    assert found["would_change"]["what_ifs"]
    assert found["words"]["forecast"]


def test_a_live_log_is_asked_by_date(log: Path, recording: Recording) -> None:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(recording.steps[2].seen.at))

    assert json.loads(planner("explain", log, "--at", at, "--json", "-").stdout)["step"] == 3


def test_a_live_log_is_replayed_and_what_is_not_in_it_is_told(log: Path, recording: Recording) -> None:
    """It began with what it had learnt from history; the replay begins with nothing."""
    found = json.loads(planner("replay", log, "--json", "-").stdout)

    assert found["steps"] == len(recording.steps)
    assert any("a live planner starts from its saved memory or from history" in note for note in found["notes"])
    assert planner("replay", log, "--ttft", "100ms").exit_code == 0
