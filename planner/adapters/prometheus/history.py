"""The past as observations: the same translation as live, over range queries, a stretch at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from planner.adapters.prometheus.elsewhere import missing
from planner.adapters.prometheus.looks import look
from planner.adapters.prometheus.server import Sample, Series, Server
from planner.adapters.prometheus.source import selectors
from planner.adapters.prometheus.subject import UP, Question, Subject, questions
from planner.adapters.prometheus.windows import Windows
from planner.core.types import Observation

STEPS_AT_ONCE = 200
"""Memory holds this many values of each series; Prometheus refuses above 11,000."""


def history(server: Server, subject: Subject, start: float, end: float, step_s: float) -> Iterator[Observation]:
    """What could have been seen at ``start``, ``start + step_s``, … up to ``end``, oldest first.

    Replicas are the targets that were up. Between two steps nothing is lost, since counters add up; gauges
    are those of the moment.

    Raises:
        SourceError: the server cannot be read.
        ValueError: ``step_s`` is not above 0.
    """
    if step_s <= 0:
        raise ValueError(f"step_s ({step_s:g}) must be above 0 seconds")
    windows = Windows(subject.late_s)
    asked = questions(selectors(subject))
    steps = math.floor((end - start) / step_s + 1e-9) + 1
    for first in range(0, steps, STEPS_AT_ONCE):
        moments = [start + i * step_s for i in range(first, min(first + STEPS_AT_ONCE, steps))]
        for at, samples in _stretch(server, asked, moments, step_s):
            seen = look(subject, at, samples)
            told = [missing(subject, what, own) for what, own in seen.unfound.items()]
            yield windows.observe(replace(seen, problems=(*seen.problems, *told)))


def _stretch(
    server: Server, asked: Sequence[Question], moments: Sequence[float], step_s: float
) -> Iterator[tuple[float, list[Sample]]]:
    """The samples at each moment, with the time of the scrape that each is from."""
    series = [s for q in asked for s in server.over(q.promql(), moments[0], moments[-1], step_s)]
    scraped = _by_moment(s for q in asked for s in server.over(_scraped_at(q), moments[0], moments[-1], step_s))
    values = [{_key(at): value for at, value in s.points} for s in series]
    for at in moments:
        key = _key(at)
        times = scraped.get(key, {})
        found = [(one, points[key]) for one, points in zip(series, values, strict=True) if key in points]
        yield at, [Sample(one.name, one.labels, _time(one, times, at), value) for one, value in found]


def _time(series: Series, times: Mapping[str, float], at: float) -> float:
    return at if series.name == UP else times.get(series.labels.get("instance", ""), at)


def _scraped_at(question: Question) -> str:
    """When each instance was last scraped, as of every step: the time of any series that is its own.

    ``timestamp`` drops the name, so series are taken name by name; which one answers does not matter.
    """
    names = sorted(n for n in question.names if n != UP and not n.endswith("_bucket"))
    return " or ".join(
        f"max by (instance) (timestamp({Question(frozenset({name}), question.values).promql()}))" for name in names
    )


def _by_moment(found: Iterable[Series]) -> dict[float, dict[str, float]]:
    times: dict[float, dict[str, float]] = {}
    for series in found:
        for at, scraped in series.points:
            times.setdefault(_key(at), {})[series.labels.get("instance", "")] = scraped
    return times


def _key(at: float) -> float:
    """Prometheus answers in milliseconds."""
    return round(at, 3)
