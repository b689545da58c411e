"""Settings: read once, checked whole, turned into core values, forgotten."""

from planner.config.live import LiveSettings
from planner.config.loading import find, load
from planner.config.problems import ConfigError
from planner.config.settings import (
    POOLS,
    CompareSettings,
    OutputSettings,
    PlantSettings,
    SimulateSettings,
    SizeSettings,
    SlaSettings,
    TrafficSettings,
)

__all__ = [
    "POOLS",
    "CompareSettings",
    "ConfigError",
    "LiveSettings",
    "OutputSettings",
    "PlantSettings",
    "SimulateSettings",
    "SizeSettings",
    "SlaSettings",
    "TrafficSettings",
    "find",
    "load",
]
