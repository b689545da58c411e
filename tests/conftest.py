"""What every test shares: how hard hypothesis looks, where the big traces are, pictures without a screen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Examples are found again from the seed that a failure prints; a slow machine is no failure.
settings.register_profile("quick", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", parent=settings.get_profile("quick"), max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

os.environ.setdefault("MPLBACKEND", "Agg")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-golden", action="store_true", help="accept the decisions of today (make golden)")


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Finished runs of the user's are neither taken nor added to."""
    os.environ["SLA_PLANNER_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def write_golden(request: pytest.FixtureRequest) -> bool:
    """Whether recorded decisions are to be written anew."""
    return bool(request.config.getoption("--write-golden"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of big traces and reference cases that are too large to ship."""
    where = os.environ.get("SLA_PLANNER_SHARED")
    if not where:
        pytest.skip("needs the big traces: set SLA_PLANNER_SHARED to the folder that holds traces/ and profiles/")
    return Path(where)


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the repository."""
    return Path(__file__).resolve().parents[1]
