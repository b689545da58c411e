"""What a law wants, before any rule of the operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from planner.core.types import DemandForecast, Expected, Reason


@dataclass(frozen=True, slots=True)
class Proposal:
    """Replicas a law wants, why, and the means to judge other fleets by the same model."""

    wanted: Mapping[str, int]
    reason: Reason
    forecast: DemandForecast | None = None
    expect: Callable[[Mapping[str, int]], Expected] | None = None  # what the model expects of a fleet
    worth: Callable[[str, int], float] | None = None  # missed requests per second with n replicas in a pool
    unreachable: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    lasting: Mapping[str, int] | None = None  # of what is wanted, without what a backlog asks for; None: all of it
