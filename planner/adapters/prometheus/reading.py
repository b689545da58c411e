"""One instance's series at one scrape → the value of a signal, or the condition that stands in its way.

Every quirk that a dialect may declare is handled here, once: names that changed, units, parts that are to
be added up, ranges instead of cumulative buckets, sums without buckets.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TypeVar

from planner.adapters.prometheus.conditions import Condition
from planner.adapters.prometheus.dialect import Alternatives, Dialect, Form, Metric
from planner.adapters.prometheus.server import Sample
from planner.adapters.prometheus.subject import UP
from planner.core.observe import Cumulative

INF = math.inf
T = TypeVar("T")
_RANGE = re.compile(r"(?P<low>\d+(?:\.\d+)?)(?:-(?P<high>\d+(?:\.\d+)?))?(?:us|ms|s)?(?P<open>\+)?")


class SignalError(Exception):
    """A signal that cannot be told, and why."""

    def __init__(self, condition: Condition, detail: str) -> None:
        super().__init__(detail)
        self.condition = condition

    def told(self) -> str:
        """As a problem of an observation."""
        return self.condition.of(str(self))


@dataclass(frozen=True, slots=True)
class Instance:
    """What one process exposed at its newest scrape."""

    name: str
    at: float  # of the scrape, seconds since the epoch
    series: Mapping[str, list[Sample]]  # by name
    dialect: Dialect

    def count(self, ways: Alternatives) -> float | None:
        """A counter, since the process started; ``None`` if it is not exposed.

        Raises:
            SignalError: it is exposed and cannot be used.
        """
        return self._first(ways, self._total)

    def spread(self, ways: Alternatives) -> Cumulative | None:
        """A histogram, cumulative, in seconds or tokens; ``None`` if it is not exposed.

        Raises:
            SignalError: it is exposed and cannot be used.
        """
        forms = {Form.HISTOGRAM: self._histogram, Form.BUCKETS: self._ranges, Form.MEAN: self._mean}
        return self._first(ways, lambda metric: forms[metric.form](metric))

    def gauges(self, ways: Alternatives) -> list[float] | None:
        """A gauge's values, one for each part of the instance; ``None`` if it is not exposed.

        Raises:
            SignalError: it is exposed and cannot be used.
        """
        return self._first(ways, self._values)

    def _first(self, ways: Alternatives, read: Callable[[Metric], T | None]) -> T | None:
        return next((value for value in map(read, ways) if value is not None), None)

    def _total(self, metric: Metric) -> float | None:
        parts = {name: self._sum(name, metric) for name in metric.names}
        known = [part for part in parts.values() if part is not None]
        missing = [name for name, part in parts.items() if part is None and name not in metric.lazy]
        return sum(known) * metric.scale if known and not missing else None

    def _sum(self, name: str, metric: Metric) -> float | None:
        found = self._chosen(name, metric)
        return sum(sample.value for sample in found) if found else None

    def _values(self, metric: Metric) -> list[float] | None:
        if metric.form is Form.SUM:
            total = self._total(metric)
            return None if total is None else [total]
        found = self._chosen(metric.names[0], metric)
        return [sample.value * metric.scale for sample in found] or None

    def _chosen(self, name: str, metric: Metric, apart: Iterable[str] = ()) -> list[Sample]:
        """The series of a name that the metric means: numbers, parts of one whole."""
        found = [s for s in self.series.get(name, ()) if all(s.labels.get(k) == v for k, v in metric.where.items())]
        own = [s for s in found if self.is_ours(s)]
        if any(math.isnan(sample.value) for sample in own):
            raise SignalError(Condition.NAN, f"{name} of {self.name} is NaN")
        self._one_whole(name, own, {*self.dialect.sum_over, *self.dialect.copies, *apart, *metric.where})
        return own

    def is_ours(self, sample: Sample) -> bool:
        """Whether a series is of this dialect; another project's of the same name carry other labels."""
        has = sample.labels.get
        carries = all(has(label) for label in self.dialect.present)
        first = all(has(label, "0") in ("", "0") for label in self.dialect.copies)
        return carries and first and not any(has(label) for label in self.dialect.absent)

    def _one_whole(self, name: str, found: list[Sample], parts: set[str]) -> None:
        wholes = {tuple(sorted((k, v) for k, v in s.labels.items() if k not in parts)) for s in found}
        if len(wholes) > 1:
            keys = {key for whole in wholes for key, _ in whole}
            told = {k: sorted({dict(whole).get(k, "") for whole in wholes}) for k in sorted(keys)}
            differ = ", ".join(f"{k} ({' | '.join(v[:4])})" for k, v in told.items() if len(v) > 1)
            raise SignalError(
                Condition.TOO_MANY_SERIES,
                f"{name} of {self.name} has {len(wholes)} series that differ in {differ}; "
                "choose one by adding that label to the labels that are asked for",
            )

    def _histogram(self, metric: Metric) -> Cumulative | None:
        name = metric.names[0]
        found = self._chosen(f"{name}_bucket", metric, ("le",))
        if not found:
            others = [n for n in (name, f"{name}_count", f"{name}_sum") if self.series.get(n)]
            if others:
                raise SignalError(
                    Condition.NOT_A_HISTOGRAM,
                    f"{name} of {self.name} exposes {', '.join(others)} and no {name}_bucket; "
                    "a classic histogram is needed, neither a summary nor a native one",
                )
            return None
        total = self._sum(f"{name}_sum", metric)
        if total is None:
            raise SignalError(Condition.NOT_A_HISTOGRAM, f"{name} of {self.name} has buckets and no {name}_sum")
        edges, counts = self._buckets(name, found)
        return Cumulative(tuple(e * metric.scale for e in edges), counts, total * metric.scale)

    def _buckets(self, name: str, found: list[Sample]) -> tuple[list[float], tuple[float, ...]]:
        grouped: dict[float, list[float]] = {}
        for sample in found:
            try:
                grouped.setdefault(float(sample.labels.get("le", "")), []).append(sample.value)
            except ValueError:
                raise SignalError(
                    Condition.NOT_A_HISTOGRAM,
                    f"{name}_bucket of {self.name} has le={sample.labels.get('le', '')!r}, which is no number",
                ) from None
        edges = sorted(grouped)
        counts = tuple(sum(grouped[edge]) for edge in edges)
        if edges[-1] != INF or len({len(parts) for parts in grouped.values()}) > 1:
            raise SignalError(Condition.NOT_A_HISTOGRAM, f"{name}_bucket of {self.name} lacks buckets: le is {edges}")
        if any(b < a - 1e-9 * abs(a) for a, b in pairwise(counts)):
            raise SignalError(
                Condition.NOT_A_HISTOGRAM,
                f"{name}_bucket of {self.name} is not cumulative: {[int(c) for c in counts]} over le {edges}",
            )
        return edges, counts

    def _ranges(self, metric: Metric) -> Cumulative | None:
        """Counters by range; a range never hit is not exposed and counts 0 beside those that are."""
        name = metric.names[0]
        found = self._chosen(name, metric, (metric.label,))
        if not found:
            return None
        edges = (*metric.edges, INF)
        counts = dict.fromkeys(edges, 0.0)
        for sample in found:
            edge = self._upper(name, metric, sample.labels.get(metric.label, ""))
            counts[edge] += sample.value
        total = self._part(metric.total, metric) if metric.total else _estimated(edges, tuple(counts.values()))
        if total is None:
            raise SignalError(Condition.ABSENT, f"{metric.total} of {self.name}, the sum of {name}, is not exposed")
        return Cumulative(edges, tuple(accumulate(counts.values())), total)

    def _upper(self, name: str, metric: Metric, text: str) -> float:
        """Upper bound of a range as in 100-200ms or 5000ms+."""
        said = _RANGE.fullmatch(text)
        edge = INF if said and said["open"] else float(said["high"]) * metric.scale if said and said["high"] else None
        known = next((e for e in (*metric.edges, INF) if edge is not None and math.isclose(e, edge)), None)
        if known is None:
            raise SignalError(
                Condition.NOT_A_HISTOGRAM,
                f"{name} of {self.name} has {metric.label}={text!r}, which is none of its known ranges up to "
                f"{', '.join(f'{e:g}' for e in metric.edges)}",
            )
        return known

    def _part(self, name: str, metric: Metric) -> float | None:
        """A counter that goes with another one; in the unit that the result is in."""
        found = self._chosen(name, metric)
        return sum(sample.value for sample in found) if found else None

    def _mean(self, metric: Metric) -> Cumulative | None:
        """A sum and a number are a histogram of one bucket."""
        total, count = self._sum(metric.names[0], metric), self._bare(metric.count)
        if total is None or count is None:
            return None
        return Cumulative((INF,), (count,), total * metric.scale)

    def _bare(self, name: str) -> float | None:
        return self._sum(name, Metric(Form.COUNTER, (name,)))


def instances(samples: Iterable[Sample], dialect: Dialect) -> list[Instance]:
    """Samples by instance; of each only those of its newest scrape, for what is older was no longer exposed."""
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.name != UP:
            found.setdefault(instance_of(sample), []).append(sample)
    return [_instance(name, own, dialect) for name, own in found.items()]


def instance_of(sample: Sample) -> str:
    """The process that a sample is of."""
    return sample.labels.get("instance", "")


def _instance(name: str, own: list[Sample], dialect: Dialect) -> Instance:
    newest = max(sample.at for sample in own)
    series: dict[str, list[Sample]] = {}
    for sample in own:
        if sample.at >= newest - 1e-3:
            series.setdefault(sample.name, []).append(sample)
    return Instance(name, newest, series, dialect)


def _estimated(edges: tuple[float, ...], counts: tuple[float, ...]) -> float:
    """Sum of values that were only counted by range: the geometric middle of each range stands for its values.

    Off by up to the square root of a range's width: factor 1.6 for 200-500ms, less for a mix.
    """
    low, total = 0.0, 0.0
    for edge, count in zip(edges, counts, strict=True):
        middle = edge / 2 if low == 0 else 1.5 * low if edge == INF else math.sqrt(low * edge)
        total, low = total + count * middle, edge
    return total
