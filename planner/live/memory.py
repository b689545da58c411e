"""What a planner knows when it starts: its own saved state, or history read again, or nothing. Never a guess."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from planner.core.planner import Planner
from planner.core.state import PlannerState
from planner.core.types import Observation
from planner.ports import Decider


def learn(planner: Planner, steps: Decider, history: Iterable[Observation]) -> int:
    """Let the planner see ``history`` as if it had been there, and forget what it would have asked for.

    The very planner that runs live is fed (``steps`` is it, with its fits); its decisions go nowhere. What
    it learnt stays: traffic, lengths, burstiness, corrections, start-ups. What it would have asked for is
    not what anybody asked for, so the live start keeps the fleet it finds.

    Returns:
        How many observations with a window there were.

    Raises:
        SourceError: history could be read only so far; what it told until then is learnt.
    """
    seen = 0
    try:
        for observation in history:
            steps.step(observation)
            seen += observation.window is not None
    finally:
        planner.state = unasked(planner.state)
    return seen


def unasked(state: PlannerState) -> PlannerState:
    """``state`` without what it had asked for: the next step keeps the fleet that it finds."""
    return replace(state, asked=None, decided_at=None, recent=())
