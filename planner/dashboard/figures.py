"""The figures of a log so far: promises kept, error budget, worst stretches, GPU-hours against a fixed fleet."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from planner.adapters.decision_log import About
from planner.core.histogram import mean_of
from planner.core.types import PoolReading
from planner.dashboard.measured import Measured, Promises, p95, share
from planner.dashboard.static_peak import Static

RECENT_S = 300.0
"""What is shown as "now" is of the last five minutes: long enough for a p95, short enough to be news."""
UNSEEN_S = 300.0
"""A longer gap between two looks was not watched (the planner was not running): nothing is counted for it."""


@dataclass(slots=True)
class Worst:
    """The stretch of ``length_s``, counted from the log's start, in which the smallest share kept both promises."""

    length_s: float
    share: float | None = None
    begin_s: float | None = None  # of that stretch, after the log's start
    _slot: int = 0
    _requests: float = 0.0
    _missed: float = 0.0

    def take(self, after_s: float, promises: Promises) -> None:
        """Add a window in the middle of which the log was ``after_s`` old."""
        self.turn(after_s)
        self._requests += promises.requests
        self._missed += promises.missed[1]

    def turn(self, after_s: float) -> None:
        """Judge the stretch under way, if it has ended."""
        slot = math.floor(after_s / self.length_s + 1e-9)
        if slot == self._slot:
            return
        kept = _less(share(self._missed, self._requests))
        if kept is not None and (self.share is None or kept < self.share):
            self.share, self.begin_s = kept, self._slot * self.length_s
        self._slot, self._requests, self._missed = slot, 0.0, 0.0


@dataclass(slots=True)
class Totals:
    """What adds up over a whole log."""

    promises: Promises = field(default_factory=Promises)
    five_minutes: Worst = field(default_factory=lambda: Worst(300.0))
    hour: Worst = field(default_factory=lambda: Worst(3600.0))
    arrived: float = 0.0  # in windows that also tell first tokens
    answered: float = 0.0  # requests that got their first token in the same windows
    watched_s: float = 0.0
    gpu_s: float = 0.0
    recent: deque[tuple[float, Measured]] = field(default_factory=deque)

    def take(self, at: float, found: Measured, start: float) -> None:
        """Add a window in the middle of which it was ``at``."""
        self.promises.absorb(found.promises)
        if found.started is not None and found.ttft is not None:
            self.arrived += found.started
            self.answered += found.ttft.count
        for worst in (self.five_minutes, self.hour):
            worst.take(max(0.0, at - start), found.promises)
        self.recent.append((at, found))
        while self.recent[0][0] <= at - RECENT_S:
            self.recent.popleft()

    def turn(self, after_s: float) -> None:
        """The log is ``after_s`` old: stretches that have ended count."""
        for worst in (self.five_minutes, self.hour):
            worst.turn(after_s)

    def spend(self, elapsed_s: float, pools: Mapping[str, PoolReading], about: About) -> None:
        """Add GPU time: what is asked for runs or is starting; of workers that drain a log says nothing."""
        if pools and 0 < elapsed_s <= UNSEEN_S:
            gpus = {name: pool.gpus for name, pool in about.pools.items()}
            self.watched_s += elapsed_s
            self.gpu_s += elapsed_s * sum(r.requested * gpus.get(name, 1) for name, r in pools.items())


def as_json(totals: Totals, about: About | None, static: Static | None) -> dict[str, Any]:
    """Figures for the page; ``None`` where nothing is known."""
    now = Measured()
    for _, found in totals.recent:
        now.absorb(found)
    ttft = p95(now.ttft)
    return {
        "now": {
            "rate": now.rate,
            "ttft_mean": mean_of(now.ttft),
            "ttft_p95": None if ttft is None else [ttft.low, ttft.value, ttft.high],
            "itl_mean": now.itl_mean,
            "itl_p95": now.itl_p95,
            "kept": _kept(now.promises),
        },
        "kept": _kept(totals.promises),
        "kept_ttft": _kept_of(totals.promises.late, totals.promises.requests),
        "kept_itl": _less(share(totals.promises.slow, totals.promises.requests)),
        "itl_unknown": share(totals.promises.itl_unknown, totals.promises.requests),
        "unanswered": max(0.0, totals.arrived - totals.answered),
        "requests": totals.promises.requests,
        "missed": list(totals.promises.missed),
        "worst_5min": [totals.five_minutes.share, totals.five_minutes.begin_s],
        "worst_hour": [totals.hour.share, totals.hour.begin_s],
        "watched_s": totals.watched_s,
        "gpu_hours": totals.gpu_s / 3600.0 if about is not None else None,
        "static": None if about is None or static is None else _static(totals, about, static),
    }


def _static(totals: Totals, about: About, static: Static) -> dict[str, Any]:
    gpus = sum(n * about.pools[pool].gpus for pool, n in static.replicas.items())
    hours = gpus * totals.watched_s / 3600.0
    return {
        "replicas": dict(static.replicas),
        "rate": static.rate,
        "gpus": gpus,
        "gpu_hours": hours,
        "saved": hours - totals.gpu_s / 3600.0,
    }


def _kept(promises: Promises) -> list[float | None]:
    """Share that kept both: at least, estimated, at most."""
    return _kept_of(promises.missed, promises.requests)


def _kept_of(missed: tuple[float, float, float], requests: float) -> list[float | None]:
    return [_less(share(part, requests)) for part in reversed(missed)]


def _less(part: float | None) -> float | None:
    return None if part is None else 1.0 - part
