"""``planner run`` as a user starts and stops it: a process of its own, real workers, a real address."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from planner.adapters import decision_log
from planner.core.saving import SCHEMA

WORKER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *args): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
CONFIG = """
profile: h200-llama31-8b-fp8-tp1
sla: {{ttft: 500ms, itl: 25ms}}
law: static
replicas: {{prefill: 1, decode: 2}}
interval: 5s
tick: 1s
prometheus: {{url: "http://127.0.0.1:{prometheus}", scrape: 1s, timeout: 500ms}}
target:
  kind: processes
  discovery: {folder}/workers.json
  workers:
    prefill: {{command: ["{python}", "{folder}/worker.py", "{{port}}"]}}
    decode: {{command: ["{python}", "{folder}/worker.py", "{{port}}"]}}
server: {{listen: "127.0.0.1:0"}}
state: {folder}/state.json
decisions: {folder}/decisions.jsonl
"""


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration whose Prometheus is not there: nothing may depend on it to start, hold and stop."""
    (tmp_path / "worker.py").write_text(WORKER)
    file = tmp_path / "run.yaml"
    file.write_text(CONFIG.format(prometheus=free_port(), folder=tmp_path, python=sys.executable))
    return file


@contextmanager
def started(config: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A running ``planner run``, and what it logs; killed if it is still there at the end."""
    log = config.parent / f"log-{time.time_ns()}"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "planner.cli", "run", str(config), "--json-logs", *flags]
        process = subprocess.Popen(command, stderr=output, cwd=config.parent)
        try:
            yield process, log
        finally:
            process.kill()
            process.wait()


def waited(log: Path, pattern: str, patience_s: float = 30.0) -> str:
    """The first group of ``pattern`` once the log holds it."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        found = re.search(pattern, log.read_text())
        if found:
            return found[1]
        time.sleep(0.05)
    raise AssertionError(f"{pattern!r} not logged within {patience_s:g} s:\n{log.read_text()}")


def workers(folder: Path) -> set[int]:
    wanted = str(folder / "worker.py")
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if wanted.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found.add(int(pid))
        except OSError:
            continue
    return found


def test_sigterm_ends_cleanly_and_nothing_is_left_behind(config: Path) -> None:
    """Workers finish, the log is whole, the state is saved, the exit code is 0."""
    folder = config.parent
    with started(config) as (process, log):
        waited(log, r'"address": "(http://127[^"]+)"')
        waited(log, r"(held-no-data|fixed)")
        deadline = time.monotonic() + 20.0
        while len(workers(folder)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        at_work = workers(folder)
        process.send_signal(signal.SIGTERM)

        assert process.wait(20.0) == 0

    assert len(at_work) >= 2
    assert workers(folder) == set()
    assert list(decision_log.read(folder / "decisions.jsonl"))
    assert json.loads((folder / "state.json").read_text())["schema"] == SCHEMA


def test_killed_with_sigkill_it_takes_its_workers_along(config: Path) -> None:
    with started(config) as (process, log):
        waited(log, r'"address": "(http://127[^"]+)"')
        deadline = time.monotonic() + 20.0
        while len(workers(config.parent)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + 10.0
        while workers(config.parent) and time.monotonic() < deadline:
            time.sleep(0.05)

    assert workers(config.parent) == set()


def test_a_prometheus_that_is_not_there_is_told_and_waited_for(config: Path) -> None:
    """A controller that gives up in an outage is gone when the outage is over."""
    with started(config) as (process, log):
        problem = waited(log, r'"problem": "([^"]+)"')
        time.sleep(2.0)

        assert "127.0.0.1" in problem
        assert process.poll() is None


def test_a_second_start_goes_on_with_log_and_state(config: Path) -> None:
    for _ in range(2):
        with started(config) as (process, log):
            waited(log, r'"event": "(scale)"')
            process.send_signal(signal.SIGTERM)
            process.wait(20.0)
    times = [step.seen.at for step in decision_log.read(config.parent / "decisions.jsonl")]

    assert times == sorted(times)
    assert waited(log, r"(goes on from)")


def test_an_address_that_is_taken_ends_with_3_and_says_which(config: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        address = f"127.0.0.1:{held.getsockname()[1]}"
        with started(config, "--listen", address) as (process, log):
            assert process.wait(30.0) == 3

        assert f"cannot listen on {address}" in log.read_text()


def test_all_problems_of_a_configuration_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(
        "profile: h200-llama31-8b-fp8-tp1\nsla: {ttft: 500, itl: 25ms}\ntick: 2s\n"
        "prometheus: {url: 'http://p:9090', scrape: 15s, username: me}\n"
        "target: {kind: processes, workers: {prefill: {commnd: [x]}}}\n"
    )
    done = subprocess.run([sys.executable, "-m", "planner.cli", "run", str(file)], capture_output=True, text=True)

    assert done.returncode == 2
    for said in (
        "sla.ttft: 500 has no unit",
        "tick (2 s) is below",
        "username and password_file",
        "target.workers.prefill.command: is needed",
        "commnd: unknown key; did you mean 'command'?",
    ):
        assert said in done.stderr


def test_files_that_cannot_be_written_are_told_before_anything_is_started(config: Path) -> None:
    for flag, name in (("--decisions", "d.jsonl"), ("--state", "s.json")):
        file = config.parent / "gone" / name
        done = subprocess.run(
            [sys.executable, "-m", "planner.cli", "run", str(config), flag, str(file)], capture_output=True, text=True
        )

        assert done.returncode == 2
        assert f"{flag[2:]}: there is no folder {file.parent} to write {name} into" in done.stderr
