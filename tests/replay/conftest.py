"""One log for all tests here."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.replay.recording import Recording, load
from tests.replay.logs import simulate


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spike of four times the traffic: the fleet grows at once, stays for a while and shrinks; a step every 5 s."""
    spike = "spike:base=40/s,peak=160/s,at=510s,width=3m,duration=25m"
    return simulate(tmp_path_factory.mktemp("log") / "spike.jsonl", "--traffic", spike, "--scale", "1")


@pytest.fixture(scope="session")
def recording(log: Path) -> Recording:
    """The same log, read."""
    return load(log)
