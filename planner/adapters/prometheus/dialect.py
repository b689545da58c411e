"""How a project names its metrics, as data: for each signal where to find it, and what it cannot tell.

A dialect is a YAML file in ``data/dialects``; the quirks it may declare are the fields below, each
implemented once (``reading``). Nothing here or there asks which dialect it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from planner.core.types import Role

COUNTS = ("started", "finished", "cached_tokens", "generated_tokens")
"""Signals that are counters; the same names as in ``FrontDoor``."""
SPREADS = ("input_tokens", "output_tokens", "ttft", "itl", "duration")
"""Signals that are histograms, in tokens and seconds; the same names as in ``FrontDoor``."""
BY_WORKER: Mapping[str, tuple[Role, ...]] = {
    "steps": (Role.PREFILL, Role.DECODE, Role.AGGREGATED),
    "request_itl": (Role.AGGREGATED,),
}
"""Histograms that each worker tells of itself, in seconds, and the roles that are asked: split, steps tell the ITL of
requests. Without ``request_itl`` they must do so everywhere, so its absence is no problem."""
GAUGES = ("running", "waiting", "pending_tokens", "kv_usage")
"""Signals of a pool; the same names as in ``PoolReading``."""
ROLES: Mapping[str, tuple[Role, ...]] = {
    "started": (Role.AGGREGATED, Role.PREFILL),
    "input_tokens": (Role.AGGREGATED, Role.PREFILL),
    "cached_tokens": (Role.AGGREGATED, Role.PREFILL),
    "finished": (Role.AGGREGATED, Role.DECODE),
    "output_tokens": (Role.AGGREGATED, Role.DECODE),
    "generated_tokens": (Role.AGGREGATED, Role.DECODE),
    "itl": (Role.AGGREGATED, Role.DECODE),
    "ttft": (Role.AGGREGATED,),
    "duration": (Role.AGGREGATED,),
}
"""Whose engines may speak for the front door. Split, a request passes one prefill and one decode engine: lengths,
counts and token gaps are told by the half that knows them, and no half knows the time to the first token."""


class Form(StrEnum):
    """The shape in which a metric is exposed; the key that names it in a dialect file."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    BUCKETS = "buckets"  # a counter for every range of values, not cumulative
    MEAN = "mean"  # a counter of the sum and one of the number: one bucket
    SUM = "sum"  # counters and gauges of one instance added up, as in started = finished + in flight


@dataclass(frozen=True, slots=True)
class Metric:
    """One way to learn a signal."""

    form: Form
    names: tuple[str, ...]  # of the family; of all parts of a SUM; of the total of a MEAN
    scale: float = 1.0  # times the exposed value is seconds, tokens, requests or a share
    where: Mapping[str, str] = field(default_factory=dict)  # label values that choose a part of the family
    label: str = ""  # BUCKETS: the label that says the range, as in 0-1ms
    total: str = ""  # BUCKETS: a counter of the sum of values; without it the sum is estimated from the ranges
    count: str = ""  # MEAN: the counter of values
    lazy: tuple[str, ...] = ()  # SUM: parts that are not exposed before they count something, and are 0 until then
    edges: tuple[float, ...] = ()  # upper bounds as the project ships them, in seconds or tokens; for people
    weight: str = "token"  # latencies between tokens: one value a token, or one mean a request
    streaming_only: bool = False  # answers that are not streamed leave no value
    note: str = ""

    @property
    def name(self) -> str:
        """The family's name, for people."""
        return " + ".join(self.names)

    def series_names(self) -> tuple[str, ...]:
        """Names of the series that must be asked for."""
        if self.form is Form.HISTOGRAM:
            return tuple(f"{name}{part}" for name in self.names for part in ("_bucket", "_sum", "_count", ""))
        return tuple(filter(None, (*self.names, self.total, self.count)))


Alternatives = tuple[Metric, ...]
"""Ways to learn a signal, newest name first; for each instance the first that it exposes counts."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a dialect was learnt: so that a reader can look it up."""

    project: str
    file: str
    version: str
    date: str


@dataclass(frozen=True, slots=True)
class Dialect:
    """The names, labels and quirks of one project's metrics."""

    name: str
    title: str
    origin: Origin
    engine: str = ""  # the dialect of what usually stands behind; empty: it is an engine itself
    model_label: str = ""
    model_lower: bool = False  # the label's value is folded to lower case
    present: tuple[str, ...] = ()  # labels its series carry; others are another project's of the same name
    absent: tuple[str, ...] = ()  # labels its series never carry
    copies: tuple[str, ...] = ()  # labels that number processes which all tell the same; number 0 speaks
    sum_over: tuple[str, ...] = ()  # labels that part an instance's signal; differing in others is an error
    presence: tuple[str, ...] = ()  # series that are there before the first request: silence beside them is zero
    signals: Mapping[str, Alternatives] = field(default_factory=dict)
    steps: Alternatives = ()  # a worker's histogram of inter-token latency, one value per token
    request_itl: Alternatives = ()  # and one per request that finished: its own mean
    pools: Mapping[Role, Mapping[str, Alternatives]] = field(default_factory=dict)  # queues in front of a role
    cannot: Mapping[str, str] = field(default_factory=dict)  # signal → why it is not to be had

    @property
    def is_engine(self) -> bool:
        """Whether it describes workers rather than what stands in front of them."""
        return not self.engine

    def series_names(self, signals: Iterable[str]) -> set[str]:
        """Names of all series needed for ``signals`` (those by worker among them), with what shows presence."""
        return {*self.presence, *(name for s in signals for metric in self.ways(s) for name in metric.series_names())}

    def ways(self, signal: str) -> Alternatives:
        """How a signal is told, by the front door or by a worker; empty if it is not."""
        by_worker = {"steps": self.steps, "request_itl": self.request_itl}
        return by_worker[signal] if signal in by_worker else self.signals.get(signal, ())

    def folded(self, labels: Mapping[str, str]) -> dict[str, str]:
        """The labels that are asked for, written as this project writes them."""
        lower = self.model_label if self.model_lower else None
        return {name: value.lower() if name == lower else value for name, value in labels.items()}
