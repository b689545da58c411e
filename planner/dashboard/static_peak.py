"""The fleet that money is saved against: ``static-peak``, what ``size`` asks for at the highest one-minute rate so far.

Lengths are those of that minute, arrivals are taken as Poisson and the profile as right, as ``planner size`` takes
them. The peak is only known in hindsight: a real fixed fleet would have been larger, or would have missed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from planner.adapters import profile_files
from planner.adapters.decision_log import About
from planner.core.constraints import constrain
from planner.core.load import Load, lengths_of, load_of
from planner.core.memory import merged
from planner.core.policy import Policy, Pool
from planner.core.sizing import slo
from planner.core.types import Window

MINUTE_S = 60.0
WHOLE = 0.75
"""A minute counts when at least this much of it was observed."""


@dataclass(frozen=True, slots=True)
class Static:
    """The fixed fleet, and the rate it is for."""

    rate: float  # requests per second
    replicas: Mapping[str, int]


class StaticPeak:
    """Watches for the busiest minute; sizes for it when asked, once for every new peak."""

    def __init__(self) -> None:
        self._minute, self._gathered = -1, Window(0.0)
        self._peak: Window | None = None
        self._policy: Policy | None = None
        self._sized: Static | None = None
        self._due = False
        self.problem = ""  # why there is no fleet to compare with

    def forget(self) -> None:
        """The policy is another one: size anew, for the same peak."""
        self._policy, self._sized, self._due, self.problem = None, None, True, ""

    def take(self, at: float, window: Window) -> None:
        """Add a window that ends at ``at`` to its minute."""
        minute = math.floor((at - 0.5 * window.seconds) / MINUTE_S)
        if minute == self._minute:
            self._gathered = merged(self._gathered, window)
            return
        if _usable(self._gathered) and (self._peak is None or _rate(self._gathered) > _rate(self._peak)):
            self._peak, self._due = self._gathered, True
        self._minute, self._gathered = minute, window

    def fleet(self, about: About) -> Static | None:
        """What ``size`` asks for at the peak; ``None`` before there was one, or when ``problem`` says why."""
        if self._peak is not None and self._due:
            self._due = False
            try:
                self._policy = self._policy or _policy(about)
                self._sized = _sized(self._policy, self._peak)
            except (OSError, ValueError) as problem:
                self.problem = f"no static-peak to compare with: {problem}"
        return self._sized


def _rate(window: Window) -> float:
    return (window.started or 0.0) / window.seconds if window.seconds > 0 else 0.0


def _usable(minute: Window) -> bool:
    known = (minute.input_tokens, minute.output_tokens)
    return minute.seconds >= WHOLE * MINUTE_S and all(lengths is not None and lengths.count > 0 for lengths in known)


def _load(peak: Window) -> Load:
    prompt, answer = peak.input_tokens, peak.output_tokens
    assert prompt is not None
    assert answer is not None  # it is usable
    cached = min(1.0, (peak.cached_tokens or 0.0) / prompt.total) if prompt.total > 0 else 0.0
    return load_of((_rate(peak),), lengths_of(prompt), 1.0 - cached, lengths_of(answer))


def _policy(about: About) -> Policy:
    profile = profile_files.load(about.profile)
    pools = tuple(Pool(name, p.role, profile, p.gpus, p.min, p.max, p.startup_s) for name, p in about.pools.items())
    return Policy("slo", about.sla, pools)


def _sized(policy: Policy, peak: Window) -> Static:
    load = _load(peak)
    parts = slo.models(policy.pools, policy.sla, load, {})
    wanted = slo.fewest(policy.pools, policy.sla, parts)
    return Static(load.mean_rate, constrain(policy, wanted, [])[0])
