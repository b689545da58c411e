"""Whoever ends a comparison ends the processes that work beside it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = ("-m", "planner", "compare", "demo", "--policies", "slo,classic,static,late", "--jobs", "2", "--fresh")


def crew(parent: int) -> list[int]:
    """Processes that joblib has started for ``parent``, and that still are."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            ppid = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1]
            if int(ppid) == parent and b"popen_loky_posix" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:  # it ended while we looked
            continue
    return found


def ended(pids: list[int], patience_s: float = 20.0) -> bool:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see which processes there are")
def test_sigterm_ends_the_whole_crew(tmp_path: Path) -> None:
    with (tmp_path / "said").open("w") as said:
        comparing = subprocess.Popen((sys.executable, *COMMAND), stdout=said, stderr=said)
        try:
            workers: list[int] = []
            deadline = time.monotonic() + 60.0
            while len(workers) < 2 and time.monotonic() < deadline and comparing.poll() is None:
                time.sleep(0.1)
                workers = crew(comparing.pid)
            comparing.send_signal(signal.SIGTERM)
            code = comparing.wait(30.0)
        finally:
            comparing.kill()

    assert len(workers) == 2, (tmp_path / "said").read_text(encoding="utf-8")
    assert code == 130
    assert "Error: stopped" in (tmp_path / "said").read_text(encoding="utf-8")
    assert ended(workers)
