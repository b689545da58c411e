"""Whose series are ours, and the questions that fetch them: as few as there are sets of label names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from planner.adapters.prometheus import dialect_files
from planner.adapters.prometheus.dialect import BY_WORKER, COUNTS, GAUGES, ROLES, SPREADS, Dialect
from planner.adapters.prometheus.server import Sample
from planner.core.types import Role

UP = "up"
"""Prometheus' own series: 1 where the last scrape of a target worked, else 0."""


@dataclass(frozen=True, slots=True)
class PoolSeries:
    """Which series are of a pool's workers."""

    role: Role
    labels: Mapping[str, str]  # all must match


@dataclass(frozen=True, slots=True)
class Selector:
    """Series by name and labels."""

    names: frozenset[str]
    labels: Mapping[str, str]

    def matches(self, sample: Sample) -> bool:
        """Whether a sample is of these series."""
        return sample.name in self.names and all(sample.labels.get(k, "") == v for k, v in self.labels.items())


@dataclass(frozen=True, slots=True)
class Subject:
    """One deployment as Prometheus sees it: its front door, its pools, how both name their metrics."""

    dialect: Dialect
    engine: Dialect
    labels: Mapping[str, str]  # of the front door's series
    pools: Mapping[str, PoolSeries]
    scrape_s: float = 5.0
    prefix: str = ""  # put before every metric's name by whoever relabels

    @property
    def has_front(self) -> bool:
        """Whether something stands before the engines and counts; otherwise they speak for it."""
        return not self.dialect.is_engine

    @property
    def late_s(self) -> float:
        """A newest sample this old says that a scrape was missed."""
        return 2.0 * self.scrape_s

    @property
    def stale_s(self) -> float:
        """A newest sample this old says nothing of now."""
        return 3.0 * self.scrape_s

    def front_selector(self) -> Selector | None:
        """The front door's series; ``None`` if the engines are the front door."""
        if not self.has_front:
            return None
        queues = [way for pool in self.dialect.pools.values() for ways in pool.values() for way in ways]
        names = self.dialect.series_names((*COUNTS, *SPREADS)) | {n for way in queues for n in way.series_names()}
        return self._selector(names, self.dialect.folded(self.labels))

    def pool_selectors(self) -> dict[str, Selector]:
        """The series of each pool's workers."""
        own = {} if self.has_front else self.engine.folded(self.labels)
        return {
            name: self._selector(
                self.engine.series_names((*GAUGES, *self.by_worker(name), *self.borrowed())),
                {**own, **self.engine.folded(pool.labels)},
            )
            for name, pool in self.pools.items()
        }

    def by_worker(self, pool: str) -> list[str]:
        """Histograms that a pool's workers are asked for."""
        return [signal for signal, roles in BY_WORKER.items() if self.pools[pool].role in roles]

    def borrowed(self) -> tuple[str, ...]:
        """Signals of the front door that engines tell in its place."""
        own = self.dialect.signals if self.has_front else {}
        return tuple(s for s in (*COUNTS, *SPREADS) if s not in own and s in self.engine.signals)

    def lenders(self, signal: str) -> list[str]:
        """Pools whose engines may tell a signal of the front door; empty when no half of a split one can."""
        roles = ROLES[signal]
        if roles == (Role.AGGREGATED,) and any(pool.role is not Role.AGGREGATED for pool in self.pools.values()):
            return []
        return [name for name, pool in self.pools.items() if pool.role in roles]

    def stripped(self, sample: Sample) -> Sample:
        """The sample under its project's own name."""
        name = sample.name
        return replace(sample, name=name.removeprefix(self.prefix)) if self.prefix and name != UP else sample

    def _selector(self, names: Iterable[str], labels: Mapping[str, str]) -> Selector:
        return Selector(frozenset({UP, *(self.prefix + name for name in names)}), labels)


def subject(
    dialect: str,
    pools: Mapping[str, tuple[Role, Mapping[str, str]]],
    labels: Mapping[str, str] | None = None,
    engine: str | None = None,
    scrape_s: float = 5.0,
    prefix: str = "",
) -> Subject:
    """A subject from names of dialects (or their files) and labels.

    Raises:
        DialectError: a dialect does not exist or is broken.
    """
    front = dialect_files.load(dialect)
    behind = dialect_files.load(engine) if engine else front if front.is_engine else dialect_files.load(front.engine)
    return Subject(
        front, behind, dict(labels or {}), {name: PoolSeries(role, dict(own)) for name, (role, own) in pools.items()},
        scrape_s, prefix,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """One selector for many subjects: all their names, and for each label all their values."""

    names: frozenset[str]
    values: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def promql(self) -> str:
        """The question as PromQL."""
        matchers = [f"__name__=~{_quoted('|'.join(sorted(map(re.escape, self.names))))}"]
        for label, values in sorted(self.values.items()):
            one = next(iter(values)) if len(values) == 1 else None
            either = "|".join(sorted(map(re.escape, values)))
            matchers.append(f"{label}={_quoted(one)}" if one is not None else f"{label}=~{_quoted(either)}")
        return "{" + ",".join(matchers) + "}"


def questions(selectors: Iterable[Selector]) -> list[Question]:
    """The fewest selectors that cover all: one for each set of label names."""
    grouped: dict[frozenset[str], list[Selector]] = {}
    for selector in selectors:
        grouped.setdefault(frozenset(selector.labels), []).append(selector)
    return [
        Question(
            frozenset().union(*(s.names for s in group)),
            {label: frozenset(s.labels[label] for s in group) for label in labels},
        )
        for labels, group in grouped.items()
    ]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
