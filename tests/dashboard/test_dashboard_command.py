"""``planner dashboard`` as people call it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
from click.testing import CliRunner

from planner.cli import main

from .steps import steps, write


def test_it_prints_its_address_serves_the_log_and_ends_on_sigterm(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", steps(60))
    command = [sys.executable, "-m", "planner", "dashboard", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        said = running.stdout.readline()
        found = re.fullmatch(rf"page of {re.escape(str(path))}: (http://127\.0\.0\.1:\d+)\n", said)
        assert found, said
        with urlopen(f"{found[1]}/data.json") as answer:
            data = json.load(answer)
        running.send_signal(signal.SIGTERM)
        code = running.wait(timeout=60)

    assert data["at"] == 300.0
    assert data["about"]["name"] == "chat"
    assert code == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--listen", "0.0.0.0:0"), "can be reached from other machines"),
        (("--listen", "here"), "is no address with a port"),
        (("--token-file", "gone.txt"), "does not exist"),
    ],
)
def test_bad_input_is_explained(tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    path = write(tmp_path / "log.jsonl", steps(3))
    result = CliRunner().invoke(main, ["dashboard", str(path), *options])

    assert result.exit_code == 2
    assert words in result.output


def test_a_file_that_is_no_decision_log_is_refused_before_anything_is_served(tmp_path: Path) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text("{}\n")
    result = CliRunner().invoke(main, ["dashboard", str(path)])

    assert result.exit_code == 2
    assert "is this a decision log?" in result.output
