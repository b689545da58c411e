"""The tutorial can be followed to the letter."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def script(checkout: Path) -> ModuleType:
    """``scripts/run_tutorial.py``, which is no package."""
    spec = importlib.util.spec_from_file_location("run_tutorial", checkout / "scripts" / "run_tutorial.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_of_the_tutorial_ends_as_it_says(script: ModuleType, tmp_path: Path) -> None:
    told = list(script.follow(script.PAGE.read_text(), tmp_path))

    assert len(told) > 10
    assert [(one.code, one.exit, one.output) for one in told if one.exit != one.wanted_exit] == []


def test_the_page_gets_what_the_commands_print(script: ModuleType, tmp_path: Path) -> None:
    page = "Say it.\n\n```sh\necho hello | tee said\n```\n\n```text\nold\n```\n\n```sh\ncat said\nexit 3  # exit code 3\n```\n"
    told = list(script.follow(page, tmp_path))

    assert [(one.exit, one.wanted_exit, one.output) for one in told] == [(0, 0, "hello\n"), (3, 3, "hello\n")]
    assert script.rewritten(page, told) == page.replace("old", "hello")
