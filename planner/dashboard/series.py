"""Steps become the lines and figures of the page: incremental and bounded, so that a page of days stays cheap.

Pure: no clock, no files, no network. Times are the log's own.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from planner import words
from planner.adapters.decision_log import About
from planner.core.codec import to_json
from planner.core.histogram import mean_of
from planner.core.types import Decision, DemandForecast, Reason, Role
from planner.dashboard import figures
from planner.dashboard.faults import Faults, Spell
from planner.dashboard.grid import Grid
from planner.dashboard.measured import Measured, decoding, measure, p95
from planner.dashboard.static_peak import StaticPeak
from planner.ports import Step

FINEST_S = 5.0
"""Width of a bin at first: one look of the loop as it is shipped."""
MOST_BINS = 600
"""More than the points a chart is wide would only be sent, not seen."""
CHANGES = 30
"""So many of the last changes of the fleet are told."""


@dataclass(slots=True)
class Fleet:
    """One pool at the end of a bin; ``wanted`` is the most that a decision wanted in it."""

    wanted: int | None
    allowed: int | None
    requested: int | None
    ready: int | None

    def absorb(self, later: Fleet) -> None:
        """The later look counts; a wish is not lost among others."""
        both = [n for n in (self.wanted, later.wanted) if n is not None]
        self.wanted = max(both, default=None)
        self.allowed, self.requested, self.ready = later.allowed, later.requested, later.ready


@dataclass(slots=True)
class Spoken:
    """Forecasts that spoke of the same bin: the middle one's mean, the widest range."""

    rate: float
    low: float
    high: float

    def absorb(self, later: Spoken) -> None:
        """The later forecast is the better one."""
        self.rate, self.low, self.high = later.rate, min(self.low, later.low), max(self.high, later.high)


@dataclass(frozen=True, slots=True)
class Change:
    """A decision that moved the fleet."""

    at: float
    words: str
    reason: str


class Series:
    """Everything the page shows of the steps so far. ``version`` counts what was taken in."""

    def __init__(self, about: About | None = None) -> None:
        self.about = about
        self.version = 0
        self.width_s = FINEST_S
        self.start: float | None = None
        self._measured: Grid[Measured] = Grid()
        self._spoken: Grid[Spoken] = Grid()
        self._pools: dict[str, Grid[Fleet]] = {}
        self._totals, self._static, self._faults = figures.Totals(), StaticPeak(), Faults()
        self._changes: deque[Change] = deque(maxlen=CHANGES)
        self._coarsened = 0  # the version in which bins were last merged
        self._last: Step | None = None
        self._told: tuple[Decision, str] | None = None  # the last decision that was more than keeping on

    def tell(self, about: About) -> None:
        """Say what the following steps are of; a restarted planner may have another policy."""
        if about != self.about:
            self.about = about
            self._static.forget()

    def take(self, step: Step) -> None:
        """Add one step."""
        self.version += 1
        before, at = self._last, step.seen.at
        start = self.start = at if self.start is None else self.start
        elapsed = 0.0 if before is None else at - before.seen.at
        self._watch(step, elapsed, start)
        self._totals.turn(at - start)
        if self.about is not None:
            self._totals.spend(elapsed, step.seen.pools, self.about)
        self._follow(step)
        self._tell(step.decision, before.decision if before is not None else None)
        self._faults.take(step, self.about)
        self._last = step
        self._bound()

    @property
    def at(self) -> float | None:
        """When the newest step was made; ``None`` before the first."""
        return None if self._last is None else self._last.seen.at

    def unreadable(self, text: str) -> None:
        """Note something wrong with the log itself."""
        self.version += 1
        self._faults.note(text)

    def since(self, version: int) -> dict[str, Any]:
        """What a page that has seen ``version`` needs; all of it when bins were merged since."""
        whole = version < self._coarsened or version > self.version
        known = 0 if whole else version
        last = self._last
        return {
            "version": self.version,
            "whole": whole or version == 0,
            "about": None if self.about is None else _about(self.about),
            "bin_s": self.width_s,
            "start": self.start,
            "at": self.at,
            "measured": _measured(self._measured.changed(known)),
            "forecast": _spoken(self._spoken.changed(known)),
            "pools": {name: _fleet(grid.changed(known)) for name, grid in self._pools.items()},
            "fleet": {} if last is None else _now(last),
            "figures": self._figures(),
            "static_problem": self._static.problem,
            "decision": self._decision(),
            "changes": [{"at": c.at, "words": c.words, "reason": c.reason} for c in reversed(self._changes)],
            "faults": [_spell(s) for s in self._faults.spells],
            "fault_count": self._faults.count,
            "wrong": [_spell(s) for s in self._faults.current],
        }

    def _watch(self, step: Step, elapsed: float, start: float) -> None:
        """Load, latency and promises of the window; a look that saw nothing breaks the lines."""
        seen, sla = step.seen, self.about.sla if self.about is not None else None
        middle = seen.at - 0.5 * (seen.window.seconds if seen.window is not None else min(elapsed, FINEST_S))
        if seen.window is None:
            found = Measured(blind=1)
        else:
            prefill = [n for n, p in self.about.pools.items() if p.role is Role.PREFILL] if self.about else []
            found = measure(seen.window, decoding(seen.pools, prefill), sla)
            self._static.take(seen.at, seen.window)
        self._measured.add(self._index(middle), found, self.version)
        self._totals.take(middle, found, start)

    def _follow(self, step: Step) -> None:
        """Replicas and the forecast."""
        decision, index = step.decision, self._index(step.seen.at)
        between = decision.reason is Reason.HELD_BETWEEN
        for name in {**step.seen.pools, **decision.replicas}:
            reading = step.seen.pools.get(name)
            fleet = Fleet(
                None if between else decision.wanted.get(name),
                decision.replicas.get(name),
                reading.requested if reading is not None else None,
                reading.ready if reading is not None else None,
            )
            self._pools.setdefault(name, Grid()).add(index, fleet, self.version)
        forecast = decision.forecast
        if forecast is not None:
            spoken = Spoken(forecast.rate, forecast.rate_low, forecast.rate_high)
            self._spoken.add(self._index(decision.at + forecast.horizon_s), spoken, self.version)

    def _tell(self, decision: Decision, before: Decision | None) -> None:
        """Keep what is worth telling: full decisions, and every change."""
        asked = before.replicas if before is not None else {}
        if changed := words.changes(decision.replicas, asked):
            self._changes.append(Change(decision.at, changed, decision.reason.value))
        if changed or self._told is None or decision.reason is not Reason.HELD_BETWEEN:
            self._told = (decision, words.fleet(decision.replicas, asked))

    def _bound(self) -> None:
        while len(self._measured) > MOST_BINS:
            self.width_s *= 2.0
            self._coarsened = self.version
            self._measured.coarsen(self.version)
            self._spoken.coarsen(self.version)
            for grid in self._pools.values():
                grid.coarsen(self.version)

    def _index(self, at: float) -> int:
        return math.floor(at / self.width_s + 1e-9)

    def _figures(self) -> dict[str, Any]:
        static = self._static.fleet(self.about) if self.about is not None else None
        return figures.as_json(self._totals, self.about, static)

    def _decision(self) -> dict[str, Any] | None:
        if self._told is None:
            return None
        decision, headline = self._told
        return {
            "at": decision.at,
            "headline": headline,
            "reason": decision.reason.value,
            "sentences": words.sentences(decision, self.about),
            "feasible": decision.feasible,
            "forecast": _forecast(decision.forecast),
        }


def _about(about: About) -> dict[str, Any]:
    pools = {
        name: {"role": p.role.value, "gpus": p.gpus, "min": p.min, "max": p.max} for name, p in about.pools.items()
    }
    asked = about.sla
    own = {} if asked.is_joint else {p.what.value: str(p.measure) for p in asked.promises}  # measured by themselves
    sla = {"ttft_s": asked.ttft_s, "itl_s": asked.itl_s, "goal": asked.goal, "own": own, "text": str(asked)}
    return {"name": about.name, "law": about.law, "mode": about.mode, "profile": about.profile, "sla": sla,
            "interval_s": about.interval_s, "pools": pools}  # fmt: skip


def _measured(bins: Iterable[tuple[int, Measured]]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [] for name in MEASURED}
    for index, found in bins:
        ttft, promises = p95(found.ttft), found.promises
        row = (
            index,
            found.rate,
            mean_of(found.ttft),
            *((ttft.low, ttft.value, ttft.high) if ttft is not None else (None, None, None)),
            found.itl_mean,
            found.itl_p95,
            promises.requests,
            *promises.missed,
            found.blind,
        )
        for name, value in zip(MEASURED, row, strict=True):
            columns[name].append(_short(value))
    return columns


MEASURED = ("i", "rate", "ttft_mean", "ttft_low", "ttft_p95", "ttft_high", "itl_mean", "itl_p95", "requests",
            "missed_least", "missed", "missed_most", "blind")  # fmt: skip
"""Columns of what was measured; ``i`` numbers the bins."""


def _spoken(bins: Iterable[tuple[int, Spoken]]) -> dict[str, list[Any]]:
    rows = [(i, _short(s.rate), _short(s.low), _short(s.high)) for i, s in bins]
    return {name: [row[k] for row in rows] for k, name in enumerate(("i", "rate", "low", "high"))}


def _fleet(bins: Iterable[tuple[int, Fleet]]) -> dict[str, list[Any]]:
    rows = [(i, f.wanted, f.allowed, f.requested, f.ready) for i, f in bins]
    return {name: [r[k] for r in rows] for k, name in enumerate(("i", "wanted", "allowed", "requested", "ready"))}


def _now(step: Step) -> Mapping[str, Mapping[str, int | None]]:
    asked = step.decision.replicas
    return {name: {"allowed": asked.get(name), "requested": reading.requested, "ready": reading.ready}
            for name, reading in step.seen.pools.items()}  # fmt: skip


def _forecast(forecast: DemandForecast | None) -> Any:
    return None if forecast is None else to_json(forecast)


def _spell(spell: Spell) -> dict[str, Any]:
    return {"kind": spell.kind, "text": spell.text, "begin": spell.begin, "end": spell.end, "steps": spell.steps}


def _short(value: float | None) -> float | None:
    """Five digits: more than a chart can show."""
    return value if value is None or isinstance(value, int) else float(f"{value:.5g}")
