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
        self._sized: Static | None = None
        self._policy: Policy | None = None
        self.problem = ""  # why there is no fleet to compare with

    def take(self, at: float, window: Window) -> None:
        """Add a window that ends at ``at`` to its minute."""
        minute = math.floor((at - 0.5 * window.seconds) / MINUTE_S)
        if minute != self._minute:
            self._turn()
            self._minute, self._gathered = minute, window
        else:
            self._gathered = merged(self._gathered, window)

    def fleet(self, about: About) -> Static | None:
        """What ``size`` asks for at the peak; ``None`` before there was one, or when ``problem`` says why."""
        if self._peak is None or self.problem:
            return self._sized
        try:
            policy = self._policy = self._policy or _policy(about)
        except (OSError, ValueError) as problem:
            self.problem = str(problem)
            return None
        load = _load(self._peak)
        if load is not None:
            self._sized = Static(load.mean_rate, _sized(policy, load))
        self._peak = None
        return self._sized

    def _turn(self) -> None:
        seen = self._gathered
        best = self._sized.rate if self._sized is not None else 0.0
        if self._peak is not None:
            best = max(best, _rate(self._peak))
        usable = seen.seconds >= WHOLE * MINUTE_S and seen.output_tokens is not None and seen.output_tokens.count > 0
        if usable and _rate(seen) > best:
            self._peak = seen


def _rate(window: Window) -> float:
    return (window.started or 0.0) / window.seconds if window.seconds > 0 else 0.0


def _load(peak: Window) -> Load | None:
    prompt, answer = peak.input_tokens, peak.output_tokens
    if prompt is None or answer is None or prompt.count <= 0 or answer.count <= 0:
        return None
    cached = min(1.0, (peak.cached_tokens or 0.0) / prompt.total) if prompt.total > 0 else 0.0
    return load_of((_rate(peak),), lengths_of(prompt), 1.0 - cached, lengths_of(answer))


def _policy(about: About) -> Policy:
    profile = profile_files.load(about.profile)
    pools = tuple(Pool(name, p.role, profile, p.gpus, p.min, p.max, p.startup_s) for name, p in about.pools.items())
    return Policy("slo", about.sla, pools)


def _sized(policy: Policy, load: Load) -> Mapping[str, int]:
    parts = slo.models(policy.pools, policy.sla, load, {})
    wanted = slo.within_share(policy.pools, parts, load, 1.0 - policy.sla.goal)
    return constrain(policy, wanted, [])[0]
