"""What the loop needs from the world. Adapters implement these; core never sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from planner.core.types import Decision, Observation


class MetricsSource(Protocol):
    """Where observations come from."""

    def observe(self, at: float) -> Observation:
        """Measure what happened up to ``at``; raise ``SourceError`` if it cannot be read."""


class ScaleTarget(Protocol):
    """Where decisions go."""

    def apply(self, decision: Decision) -> None:
        """Ask for the decided replicas; raise ``TargetError`` if refused."""


class Decider(Protocol):
    """Whatever turns observations into decisions: our planner, or a peer's law."""

    def step(self, seen: Observation) -> Decision:
        """Answer one observation. Keeps its own memory; never does I/O."""


@dataclass(frozen=True, slots=True)
class Step:
    """One tick of the loop as a sink is told of it."""

    seen: Observation
    decision: Decision
    error: str = ""


class DecisionSink(Protocol):
    """Whoever wants to know what was seen and decided."""

    def record(self, seen: Observation, decision: Decision, error: str = "") -> None:
        """Take note of one step; ``error`` says what went wrong outside, if anything."""


class Clock(Protocol):
    """Time, so that it can be real or virtual."""

    def now(self) -> float:
        """Seconds since the epoch of this clock."""

    def sleep_until(self, at: float) -> bool:
        """Wait for ``at``; ``False`` when the run is over (stopped, or the trace ended)."""


class SourceError(Exception):
    """The world could not be read. The loop hands the planner an empty observation instead."""


class TargetError(Exception):
    """The decision stands but was not applied. It is decided afresh next step."""
