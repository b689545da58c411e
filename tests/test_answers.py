"""People read first; what cannot be written costs neither the answer nor the other files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planner.answers import Files, told

FULL = Path("/dev/full")


def test_people_read_before_a_file_fails(capsys: pytest.CaptureFixture[str]) -> None:
    full = r"^--json: /dev/full cannot be written: No space left on device$"
    with pytest.raises(OSError, match=full), told({"gpus": 3}, FULL) as console:
        console.print("3 GPUs")

    assert capsys.readouterr().out == "3 GPUs\n"


def test_a_file_that_cannot_be_written_keeps_no_other_from_being(tmp_path: Path) -> None:
    files = Files()
    files.json({"gpus": 3}, tmp_path / "nowhere" / "a.json")
    with files.to("--report", FULL):
        FULL.write_text("page")
    files.json({"gpus": 3}, tmp_path / "a.json")

    assert json.loads((tmp_path / "a.json").read_text()) == {"gpus": 3}
    with pytest.raises(FileNotFoundError, match=r"--json: .*a\.json cannot be written: No such.*; --report: /dev/full"):
        files.complain()


def test_json_has_standard_output_for_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with told({"gpus": 3}, Path("-")) as console:
        console.print("3 GPUs")
    told_to = capsys.readouterr()

    assert json.loads(told_to.out) == {"gpus": 3}
    assert told_to.err == "3 GPUs\n"
