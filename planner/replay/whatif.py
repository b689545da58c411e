"""What would have changed a decision: it is decided again under other conditions, each alone.

Nothing is estimated: the planner's own memory before the step, the same observation, one condition moved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from planner.core.decide import decide
from planner.core.policy import Policy
from planner.core.state import PlannerState
from planner.core.types import Observation, Window

LADDER = (1.03, 1.06, 1.1, 1.15, 1.2, 1.3, 1.4, 1.6, 1.8, 2.0)
"""Factors that are tried on each condition, up and down; between two of them the turn is bisected."""
PRECISION = 0.005
"""Of the factor at which a decision turns."""

Fleet = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class WhatIf:
    """One condition, the nearest value at which the fleet would have been another, and that fleet."""

    condition: str  # "rate", "ttft", "itl"
    value: float  # requests per second, or seconds
    actual: float  # what it was
    replicas: Fleet | None  # None: no value up to ``value`` changes anything

    def to_json(self) -> dict[str, Any]:
        """The condition as the JSON output has it."""
        fleet = None if self.replicas is None else dict(self.replicas)
        return {"condition": self.condition, "actual": self.actual, "value": self.value, "replicas": fleet}


def what_ifs(policy: Policy, before: PlannerState, seen: Observation) -> tuple[WhatIf, ...]:
    """The nearest turns of a full decision, by traffic and by target; empty where there is none to turn."""
    if policy.law == "static" or seen.window is None:
        return ()
    return tuple(_turns(policy, before, seen))


def _turns(policy: Policy, before: PlannerState, seen: Observation) -> Iterator[WhatIf]:
    actual = _fleet(policy, before, seen)
    rate, sla = _arrived(before, seen), policy.sla
    if rate is not None:
        yield from _both("rate", rate, actual, lambda k: _fleet(policy, *_busier(before, seen, k)))
    yield from _both("ttft", sla.ttft_s, actual, lambda k: _fleet(_promised(policy, ttft=k), before, seen))
    yield from _both("itl", sla.itl_s, actual, lambda k: _fleet(_promised(policy, itl=k), before, seen))


def _promised(policy: Policy, ttft: float = 1.0, itl: float = 1.0) -> Policy:
    """The policy with its targets times these factors."""
    sla = policy.sla
    return replace(policy, sla=replace(sla, ttft_s=ttft * sla.ttft_s, itl_s=itl * sla.itl_s))


def _both(condition: str, value: float, actual: Fleet, fleet: Callable[[float], Fleet]) -> Iterator[WhatIf]:
    """The nearest turn below and above."""
    for up in (False, True):
        yield _turn(condition, value, up, actual, fleet)


def _turn(condition: str, value: float, up: bool, actual: Fleet, fleet: Callable[[float], Fleet]) -> WhatIf:
    """The factor nearest to 1 at which ``fleet`` is not the actual one, on one side."""
    near = 1.0
    for step in LADDER:
        factor = step if up else 1.0 / step
        if fleet(factor) != actual:
            while abs(factor - near) > PRECISION:
                middle = 0.5 * (near + factor)
                near, factor = (middle, factor) if fleet(middle) == actual else (near, middle)
            return WhatIf(condition, value * factor, value, fleet(factor))
        near = factor
    return WhatIf(condition, value * near, value, None)


def _fleet(policy: Policy, before: PlannerState, seen: Observation) -> Fleet:
    return dict(decide(policy, before, seen)[0].replicas)


def _arrived(before: PlannerState, seen: Observation) -> float | None:
    """Requests per second since the last full decision, this step's window included; ``None``: unknown, or none."""
    parts = [window for window in (before.memory.gathered, seen.window) if window is not None]
    counts = [window.started for window in parts if window.started is not None]
    seconds = sum(window.seconds for window in parts)
    return sum(counts) / seconds if len(counts) == len(parts) and seconds > 0 and sum(counts) > 0 else None


def _busier(before: PlannerState, seen: Observation, factor: float) -> tuple[PlannerState, Observation]:
    """The same interval with ``factor`` times as many requests, of the same lengths."""
    memory = replace(before.memory, gathered=_times(before.memory.gathered, factor))
    return replace(before, memory=memory), replace(seen, window=_times(seen.window, factor))


def _times(window: Window | None, factor: float) -> Window | None:
    return window and replace(window, started=None if window.started is None else window.started * factor)
