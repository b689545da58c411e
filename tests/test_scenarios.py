"""Every shipped scenario can be read, and everything it names is shipped with it."""

from __future__ import annotations

import pytest

from planner import resources
from planner.adapters import profile_files
from planner.config import SimulateSettings, find, load
from planner.simulation.traffic.sources import locate

SCENARIOS = [name.removesuffix(".yaml") for name in resources.names("scenarios")]


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_shipped_scenario_needs_nothing_else(name: str) -> None:
    settings = load(SimulateSettings, find(name), {})

    assert settings.description.endswith(".")
    assert locate(settings.traffic.source).exists()
    assert settings.traffic.lengths is None or locate(settings.traffic.lengths).exists()
    assert profile_files.load(settings.profile).name == settings.profile


def test_the_scenario_of_the_readme_is_shipped() -> None:
    assert "demo" in SCENARIOS
