"""A child takes with it what it started, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from planner.adapters.children import Child, end, kill, spawn
from tests.adapters.patience import SOON, runs, until

CORE = f"{sys.executable} -c 'import time; time.sleep(600)' & echo $! > core.pid;"
"""An engine in a process of its own, as servers of models start them."""


class Rig:
    """A server whose engine is a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.children: list[Child] = []

    def serve(self, rest: str) -> Child:
        """The server goes on with ``rest`` once its engine runs."""
        child = spawn(("sh", "-c", CORE + rest), os.environ, cwd=self.folder)
        self.children.append(child)
        until(lambda: (self.folder / "core.pid").exists() and (self.folder / "core.pid").read_text().strip(), "engine")
        return child

    @property
    def core(self) -> int:
        return int((self.folder / "core.pid").read_text())


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    for child in made.children:
        kill(child)


def test_what_a_child_started_does_not_outlive_it(rig: Rig) -> None:
    """An engine without its server would keep its GPU's memory from the worker that comes in its place."""
    child = rig.serve("sleep .3; exit 3")
    until(lambda: child.poll() is not None, "the end of the child")

    assert child.returncode == 3
    until(lambda: not runs(rig.core), "the end of what it started")


def test_a_child_that_obeys_takes_with_it_what_it_started(rig: Rig) -> None:
    child = rig.serve("wait")
    core = rig.core
    end(child, SOON)

    assert child.returncode == -signal.SIGTERM
    until(lambda: not runs(core), "the end of what it started")


def test_patience_ends_with_a_kill_of_all(rig: Rig) -> None:
    child = rig.serve("trap '' TERM; while :; do sleep .1; done")
    end(child, 0.3)

    assert child.returncode == -signal.SIGKILL
    until(lambda: not runs(rig.core), "the end of what it started")


def test_a_child_is_ended_twice_without_harm(rig: Rig) -> None:
    """Its number may be somebody else's by then: nothing is signalled any more."""
    child = rig.serve("wait")
    kill(child)
    kill(child)
    end(child, SOON)

    assert child.returncode == -signal.SIGKILL


def test_other_groups_are_left_alone(rig: Rig) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as bystander:
        kill(rig.serve("wait"))

        assert bystander.poll() is None
        bystander.kill()
