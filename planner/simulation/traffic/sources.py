"""Which file, folder or shipped data set a name means, and what format it is in."""

from __future__ import annotations

from pathlib import Path

from planner.resources import ResourceError, names, path
from planner.simulation.traffic.columns import header_of
from planner.simulation.traffic.errors import TrafficError
from planner.simulation.traffic.files import first_line
from planner.simulation.traffic.generators import GENERATORS
from planner.simulation.traffic.rates import TIME_UNITS_S, is_rate_header
from planner.simulation.traffic.recorded import AZURE, BURSTGPT
from planner.simulation.traffic.servegen import CLIENTS, TOTALS

FORMATS = ("azure", "mooncake", "burstgpt", "servegen", "rates")
