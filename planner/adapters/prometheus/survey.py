"""What a Prometheus can tell of a subject, signal by signal: for ``planner check`` and for people."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from planner.adapters.prometheus.dialect import COUNTS, GAUGES, SPREADS, Alternatives, Dialect, Form, Metric
from planner.adapters.prometheus.elsewhere import Elsewhere, missing
from planner.adapters.prometheus.looks import FRONT, NEEDED, look
from planner.adapters.prometheus.reading import Instance, SignalError, instances
from planner.adapters.prometheus.server import Sample, Server
from planner.adapters.prometheus.source import selectors
from planner.adapters.prometheus.subject import Selector, Subject, questions

_QUIET = ("le", "instance")


@dataclass(frozen=True, slots=True)
class Finding:
    """One signal of the front door or of a pool."""

    place: str  # "front door", or a pool's name
    signal: str
    found: bool
    needed: bool  # the planner works worse, or not at all, without it
    metric: str = ""  # the name it was found under; or those that were looked for
    series: int = 0
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # values seen
    age_s: float | None = None  # of the oldest instance's newest sample
    edges: tuple[float, ...] = ()  # bucket edges, in seconds or tokens
    problem: str = ""  # a condition, in words; empty if all is well
    note: str = ""  # what to know of this metric

    def nearest(self, target: float) -> tuple[float | None, float | None]:
        """The edges at or below and at or above a target; equal when it is seen exactly."""
        finite = [edge for edge in self.edges if edge != float("inf")]
        below, above = bisect_right(finite, target) - 1, bisect_left(finite, target)
        return (finite[below] if below >= 0 else None, finite[above] if above < len(finite) else None)


def survey(server: Server, subject: Subject, at: float) -> list[Finding]:
    """Every signal, found or missing, as of ``at``.

    Raises:
        SourceError: the server cannot be read.
    """
    within_s = 4.0 * subject.scrape_s
    samples = [s for q in questions(selectors(subject)) for s in server.newest(q.promql(), at, within_s)]
    seen, elsewhere = look(subject, at, samples), Elsewhere(server)
    front = subject.front_selector()
    findings: list[Finding] = []
    if front is not None:
        signals = {s: w for s, w in subject.dialect.signals.items() if s in (*COUNTS, *SPREADS)}
        findings += _place(subject, FRONT, subject.dialect, front, signals, samples, at)
    for pool, selector in subject.pool_selectors().items():
        lent = {s: subject.engine.signals[s] for s in subject.borrowed() if pool in subject.lenders(s)}
        own = {s: subject.engine.ways(s) for s in (*GAUGES, *subject.by_worker(pool))}
        findings += _place(subject, pool, subject.engine, selector, {**lent, **own}, samples, at)
    findings += _untold(subject)
    for place, selector in seen.unfound.items():
        told = missing(subject, place, selector, elsewhere.seen(subject, place, selector, at))
        findings.append(Finding(place, "series", False, True, problem=told))
    return findings


def _place(
    subject: Subject, place: str, dialect: Dialect, selector: Selector, signals: Mapping[str, Alternatives],
    samples: Sequence[Sample], at: float,
) -> list[Finding]:  # fmt: skip
    own = [subject.stripped(sample) for sample in samples if selector.matches(sample)]
    there = instances(own, dialect)
    role = subject.pools[place].role if place in subject.pools else None
    return [
        _finding(place, signal, ways, there, at, _is_needed(signal) if role is None else signal in NEEDED[role])
        for signal, ways in signals.items()
        if ways
    ]


def _finding(
    place: str, signal: str, ways: Alternatives, there: Iterable[Instance], at: float, needed: bool
) -> Finding:
    names = " or ".join(way.name for way in ways)
    used = {one.name: next((w for w in ways if _series(one, w)), None) for one in there}
    metrics = [way for way in used.values() if way is not None]
    if not metrics:
        cannot = "" if not used else f"absent: {len(used)} instances expose none of {names}"
        return Finding(place, signal, False, needed, names, problem=cannot, note=ways[0].note)
    way = next(w for w in ways if w in metrics)
    found = [s for one in there for s in _series(one, way)]
    problem, edges = _read(signal, ways, there)
    return Finding(
        place=place,
        signal=signal,
        found=True,
        needed=needed,
        metric=way.name,
        series=len(found),
        labels=_values(found),
        age_s=max(at - one.at for one in there if used[one.name] is not None),
        edges=edges,
        problem=problem,
        note="; ".join(filter(None, (way.note, "streamed answers only" if way.streaming_only else ""))),
    )


def _series(one: Instance, way: Metric) -> list[Sample]:
    return [s for name in way.series_names() for s in one.series.get(name, ()) if one.is_ours(s)]


def _read(signal: str, ways: Alternatives, there: Iterable[Instance]) -> tuple[str, tuple[float, ...]]:
    """What stands in the way of reading it, and the edges it is cut at."""
    edges: tuple[float, ...] = ()
    for one in there:
        try:
            if ways[0].form in (Form.HISTOGRAM, Form.BUCKETS, Form.MEAN):
                spread = one.spread(ways)
                edges = edges or (spread.edges if spread is not None else ())
            elif signal in GAUGES:
                one.gauges(ways)
            else:
                one.count(ways)
        except SignalError as problem:
            return problem.told(), edges
    return "", edges


def _values(found: Sequence[Sample]) -> dict[str, tuple[str, ...]]:
    keys = sorted({key for sample in found for key in sample.labels if key not in _QUIET})
    return {key: tuple(sorted({sample.labels.get(key, "") for sample in found})) for key in keys}


def _untold(subject: Subject) -> list[Finding]:
    """Signals that nobody here can tell, by the dialects' own word."""
    own = subject.dialect.signals if subject.has_front else {}
    told = {s for s in subject.borrowed() if subject.lenders(s)} | set(own)
    why = {**subject.engine.cannot, **subject.dialect.cannot}
    return [
        Finding(FRONT, signal, False, _is_needed(signal), problem=f"absent: {why.get(signal, _split(subject, signal))}")
        for signal in (*COUNTS, *SPREADS)
        if signal not in told
    ]


def _split(subject: Subject, signal: str) -> str:
    if signal in subject.borrowed():
        return f"split into prefill and decode, no half of {subject.engine.title} knows it"
    return f"neither {subject.dialect.title} nor {subject.engine.title} exposes it"


def _is_needed(signal: str) -> bool:
    return signal in ("started", "input_tokens", "output_tokens", "ttft", "itl")
