"""Kubernetes' ``behavior``: what lies between the replicas a metric asks for and the replicas an HPA asks for.

Source: kubernetes/kubernetes ``pkg/controller/podautoscaler/horizontal.go`` (stabilisation, scaling rules and
their events) and ``pkg/apis/autoscaling/v2/defaults.go``, v1.35. KEDA renders an HPA, so its peers share this.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from planner.core.policy import Pool
from planner.simulation.peers.windows import Recent


@dataclass(frozen=True, slots=True)
class Rule:
    """At most so much change in ``period_s``: a number of pods, or a percentage of what there was before."""

    period_s: float
    pods: float | None = None
    percent: float | None = None


@dataclass(frozen=True, slots=True)
class Direction:
    """``scaleUp`` or ``scaleDown``: its stabilisation window, and its rules, of which the widest counts."""

    window_s: float
    rules: tuple[Rule, ...]

    @property
    def longest_s(self) -> float:
        """The longest period of any rule."""
        return max(rule.period_s for rule in self.rules)


@dataclass(frozen=True, slots=True)
class Behavior:
    """Both directions."""

    up: Direction
    down: Direction


SHIPPED = Behavior(
    up=Direction(0.0, (Rule(15.0, percent=100.0), Rule(15.0, pods=4))),
    down=Direction(300.0, (Rule(15.0, percent=100.0),)),
)


class Pace:
    """Holds the wishes and the changes of late of one HPA."""

    def __init__(self, behavior: Behavior, pool: Pool) -> None:
        self._behavior, self._pool = behavior, pool
        self._wishes: Recent[int] | None = None
        longest = max(behavior.up.longest_s, behavior.down.longest_s)
        self._grown, self._shrunk = Recent[int](longest), Recent[int](longest)

    def allowed(self, at: float, current: int, wanted: int) -> int:
        """Replicas to ask for: stabilised, at the pace of the rules, within the bounds.

        Going up it takes the lowest wish of the scale-up window, going down the highest of the scale-down
        window. The replicas found at the first look count as a wish of that moment.
        """
        up, down = self._behavior.up, self._behavior.down
        if self._wishes is None:
            self._wishes = Recent(max(up.window_s, down.window_s))
            self._wishes.add(at, current)
        lowest = min([wanted, *self._wishes.within(at, up.window_s)])
        highest = max([wanted, *self._wishes.within(at, down.window_s)])
        self._wishes.add(at, wanted)
        stable = min(max(current, lowest), highest)
        allowed = min(max(stable, self._pool.min_replicas), self._pool.max_replicas)
        if allowed > current:
            return min(allowed, max(current, self._ceiling(at, current)))
        return max(allowed, min(current, self._floor(at, current)))

    def changed(self, at: float, before: int, after: int) -> None:
        """Note a change that was made."""
        if after > before:
            self._grown.add(at, after - before)
        elif after < before:
            self._shrunk.add(at, before - after)

    def _ceiling(self, at: float, current: int) -> int:
        return max(_risen(rule, self._started_at(at, current, rule)) for rule in self._behavior.up.rules)

    def _floor(self, at: float, current: int) -> int:
        return min(_fallen(rule, self._started_at(at, current, rule)) for rule in self._behavior.down.rules)

    def _started_at(self, at: float, current: int, rule: Rule) -> int:
        """Replicas at the beginning of the rule's period."""
        return current - _total(self._grown.within(at, rule.period_s)) + _total(self._shrunk.within(at, rule.period_s))


def _risen(rule: Rule, start: int) -> int:
    return int(start + rule.pods) if rule.pods is not None else math.ceil(start * (1 + (rule.percent or 0.0) / 100))


def _fallen(rule: Rule, start: int) -> int:
    return int(start - rule.pods) if rule.pods is not None else int(start * (1 - (rule.percent or 0.0) / 100))


def _total(changes: Iterable[int]) -> int:
    return sum(changes)
