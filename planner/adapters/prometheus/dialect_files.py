"""Dialects on disk: YAML that is checked whole, every problem told at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from planner import resources
from planner.adapters.prometheus.dialect import COUNTS, GAUGES, SPREADS, Alternatives, Dialect, Form, Metric, Origin
from planner.core.types import Role

SCHEMA = "sla-planner/dialect.v1"
_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "tokens": 1.0, "requests": 1.0, "share": 1.0, "percent": 1e-2}
_KNOWN = (*COUNTS, *SPREADS, *GAUGES)
_FITTING: Mapping[str, tuple[Form, ...]] = {
    **dict.fromkeys(COUNTS, (Form.COUNTER, Form.SUM)),
    **dict.fromkeys(SPREADS, (Form.HISTOGRAM, Form.BUCKETS, Form.MEAN)),
    **dict.fromkeys(GAUGES, (Form.GAUGE, Form.SUM)),
    "steps": (Form.HISTOGRAM, Form.MEAN),
    "request_itl": (Form.HISTOGRAM,),
}


class DialectError(ValueError):
    """A dialect that does not exist or cannot be used; ``problems`` are all that were found."""

    def __init__(self, where: str, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"dialect {where}: " + "; ".join(problems))


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Metric(_Strict):
    counter: str | None = None
    gauge: str | None = None
    histogram: str | None = None
    buckets: str | None = None
    mean: str | None = None
    sum: list[str] | None = Field(None, min_length=2)
    lazy: list[str] = []
    unit: Literal["s", "ms", "us", "tokens", "requests", "share", "percent"] = "requests"
    where: dict[str, str] = {}
    label: str = ""
    total: str = ""
    per: str = ""
    edges: list[float | int] = []
    weight: Literal["token", "request"] = "token"
    streaming_only: bool = False
    note: str = ""

    @model_validator(mode="after")
    def _whole(self) -> _Metric:
        forms = [form.value for form in Form if getattr(self, form.value) is not None]
        if len(forms) != 1:
            raise ValueError(f"needs exactly one of {', '.join(Form)}; found {', '.join(forms) or 'none'}")
        if (forms[0] == Form.BUCKETS) != bool(self.label):
            raise ValueError("label says which label names the range of buckets; it goes with buckets, and only there")
        if (forms[0] == Form.MEAN) != bool(self.per):
            raise ValueError("per is the counter that a mean is divided by; it goes with mean, and only there")
        if self.total and forms[0] != Form.BUCKETS:
            raise ValueError("total goes with buckets only")
        if unknown := set(self.lazy) - set(self.sum or ()):
            raise ValueError(f"lazy names {', '.join(sorted(unknown))}, which the sum lacks")
        if any(b <= a for a, b in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError(f"edges must ascend: {self.edges}")
        return self

    def metric(self) -> Metric:
        form = next(form for form in Form if getattr(self, form.value) is not None)
        names = getattr(self, form.value)
        return Metric(
            form=form,
            names=tuple(names) if form is Form.SUM else (names,),
            scale=_UNITS[self.unit],
            where=self.where,
            label=self.label,
            total=self.total,
            count=self.per,
            lazy=tuple(self.lazy),
            edges=tuple(float(edge) for edge in self.edges),
            weight=self.weight,
            streaming_only=self.streaming_only,
            note=self.note,
        )


_Ways = _Metric | list[_Metric]


class _Origin(_Strict):
    project: str
    file: str
    version: str
    date: str


class _Labels(_Strict):
    model: str = ""
    model_case: Literal["as-is", "lower"] = "as-is"
    present: list[str] = []
    absent: list[str] = []
    copies: list[str] = []
    sum_over: list[str] = []


class _Dialect(_Strict):
    schema_: str = Field(alias="schema")
    name: str
    title: str
    origin: _Origin
    engine: str = ""
    labels: _Labels = _Labels()
    presence: list[str] = []
    signals: dict[str, _Ways]
    steps: _Ways = []
    request_itl: _Ways = []
    pools: dict[Literal["prefill", "decode", "aggregated"], dict[str, _Ways]] = {}
    cannot: dict[str, str] = {}

    @model_validator(mode="after")
    def _whole(self) -> _Dialect:
        problems = [] if self.schema_ == SCHEMA else [f"schema is {self.schema_!r}; this version reads {SCHEMA!r}"]
        signals = [*self.signals.items(), ("steps", self.steps), ("request_itl", self.request_itl)]
        signals += [(signal, ways) for queues in self.pools.values() for signal, ways in queues.items()]
        problems += [
            f"unknown signal {signal!r}; known are {', '.join(_KNOWN)}"
            for signal in [*self.signals, *self.cannot, *(s for queues in self.pools.values() for s in queues)]
            if signal not in _FITTING
        ]
        problems += [
            f"{signal}: {metric.metric().form.value} {metric.metric().name} cannot tell it; what can is "
            + " or ".join(_FITTING[signal])
            for signal, ways in signals
            for metric in _list(ways)
            if signal in _FITTING and metric.metric().form not in _FITTING[signal]
        ]
        problems += [f"{signal} is in signals and in cannot" for signal in self.cannot if signal in self.signals]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def dialect(self) -> Dialect:
        return Dialect(
            name=self.name,
            title=self.title,
            origin=Origin(**self.origin.model_dump()),
            engine=self.engine,
            model_label=self.labels.model,
            model_lower=self.labels.model_case == "lower",
            present=tuple(self.labels.present),
            absent=tuple(self.labels.absent),
            copies=tuple(self.labels.copies),
            sum_over=tuple(self.labels.sum_over),
            presence=tuple(self.presence),
            signals={signal: _ways(ways) for signal, ways in self.signals.items()},
            steps=_ways(self.steps),
            request_itl=_ways(self.request_itl),
            pools={Role(role): {s: _ways(ways) for s, ways in queues.items()} for role, queues in self.pools.items()},
            cannot=self.cannot,
        )


def load(name_or_path: str | Path) -> Dialect:
    """A shipped dialect by name (``dynamo``), or one from a YAML file.

    Raises:
        DialectError: it does not exist or cannot be used; all problems at once.
    """
    text = str(name_or_path)
    path = Path(text) if "/" in text or text.endswith((".yaml", ".yml")) else None
    try:
        path = path or resources.path("dialects", f"{text}.yaml")
        return parse(yaml.safe_load(path.read_text(encoding="utf-8")), str(path))
    except resources.ResourceError:
        raise DialectError(text, [f"there is none of that name; there are {', '.join(names())}"]) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise DialectError(text, [" ".join(str(problem).split())]) from problem


def parse(data: Any, where: str) -> Dialect:
    """A dialect from what its YAML holds.

    Raises:
        DialectError: all problems at once.
    """
    try:
        return _Dialect.model_validate(data).dialect()
    except ValidationError as problem:
        told = [
            f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}".removeprefix(": ")
            for error in problem.errors()
        ]
        raise DialectError(where, told) from None


def names() -> list[str]:
    """Names of the shipped dialects."""
    return [name.removesuffix(".yaml") for name in resources.names("dialects") if name.endswith(".yaml")]


def _list(ways: _Ways) -> list[_Metric]:
    return ways if isinstance(ways, list) else [ways]


def _ways(ways: _Ways) -> Alternatives:
    return tuple(metric.metric() for metric in _list(ways))
