"""`planner demo` as a person runs it: a story, a summary, no request lost, and nothing left behind however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from planner.adapters import decision_log
from planner.local.install import Tools
from tests.stack import stack_tools

pytestmark = pytest.mark.e2e
__all__ = ["stack_tools"]  # a fixture


def demo(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-u", "-m", "planner", "demo", "--decisions", str(folder / "decisions.jsonl"), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            env=os.environ | {"TMPDIR": str(folder)})  # fmt: skip


def lines_until(running: subprocess.Popen[str], wanted: str) -> list[str]:
    assert running.stdout is not None
    told: list[str] = []
    for line in running.stdout:
        told.append(line)
        if wanted in line:
            return told
    raise AssertionError(f"{wanted!r} was not said: {''.join(told)}")


def left_behind(folder: Path) -> list[str]:
    """Command lines of processes that were started with something of ``folder``."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = ((process / name).read_bytes() for name in ("cmdline", "environ"))
        except OSError:
            continue
        if str(folder).encode() in command + environment and int(process.name) != os.getpid():
            found.append(command.replace(b"\0", b" ").decode())
    return found


def test_the_story_ends_well(stack_tools: Tools, tmp_path: Path) -> None:
    """Wherever in an interval it begins: ready within 30 s, workers are added, nobody is lost, the log can be read."""
    with demo(tmp_path, "--minutes", "1.1", "--startup", "2s", "--disaggregated") as running:
        told = running.stdout.read() if running.stdout else ""
    served = re.search(r"a request was served after ([\d.]+) s", told)

    assert running.returncode == 0, told
    assert served is not None
    assert float(served[1]) < 30.0
    assert re.search(r"planner's page: http://127\.0\.0\.1:\d+", told)
    assert re.search(r"planner: (prefill|decode) \d+ → \d+", told)
    assert re.search(r"✓ (prefill|decode)-\d+ serves \(after [\d.]+ s\)", told)
    assert re.search(r"requests  [\d,]+, lost 0", told)
    assert list(decision_log.read(tmp_path / "decisions.jsonl"))
    assert left_behind(tmp_path) == []


def test_a_signal_ends_it_without_losing_a_request(stack_tools: Tools, tmp_path: Path) -> None:
    with demo(tmp_path, "--minutes", "5") as running:
        lines_until(running, "the planner's page")
        time.sleep(5.0)
        running.send_signal(signal.SIGTERM)
        told = running.stdout.read() if running.stdout else ""

    assert running.returncode == 0, told
    assert re.search(r"requests  [\d,]+, lost 0", told)
    assert left_behind(tmp_path) == []


def test_nothing_is_left_when_it_is_killed(stack_tools: Tools, tmp_path: Path) -> None:
    with demo(tmp_path, "--minutes", "5") as running:
        lines_until(running, "the planner's page")
        assert len(left_behind(tmp_path)) > 4
        running.kill()
    deadline = time.monotonic() + 15.0
    while left_behind(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)

    assert left_behind(tmp_path) == []
