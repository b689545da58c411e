"""Questions to a Prometheus server: samples with their own timestamps, or an error in one sentence.

A failed question is asked again with a jittered, growing pause, as long as the look has time left. Whatever
goes wrong is a ``SourceError`` that names the address and the reason.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

import requests
import tenacity
import urllib3
from prometheus_api_client import PrometheusConnect
from urllib3.util.retry import Retry

from planner.adapters.prometheus.access import Access, NoAnswerError, TimedSession
from planner.ports import SourceError

_PAUSE_S = 0.1  # of the first retry at most; doubles with each
_HISTORY_PATIENCE = 6.0  # times the patience of a look: a stretch of history is more to read, and nobody waits


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of one series, as scraped at ``at`` (seconds since the epoch)."""

    name: str
    labels: Mapping[str, str]  # without the name
    at: float
    value: float  # NaN where a native histogram stands: it is no number


@dataclass(frozen=True, slots=True)
class Series:
    """One series over a stretch of time: values at moments."""

    name: str
    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]  # (seconds since the epoch, value)


class Server:
    """One Prometheus, through prometheus-api-client."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._session = TimedSession(access)
        self._client = PrometheusConnect(access.url.rstrip("/"), session=self._session, retry=Retry(0, read=False))

    def newest(self, selector: str, at: float, within_s: float) -> list[Sample]:
        """The newest sample of each series in the ``within_s`` seconds before ``at``, with its own time.

        Raises:
            SourceError: no answer, or only part of one.
        """
        answer = self._ask(lambda: self._client.custom_query(f"{selector}[{math.ceil(within_s)}s]", {"time": at}))
        return [Sample(name, labels, *points[-1]) for name, labels, points in self._series(answer)]

    def value(self, expression: str, at: float) -> list[Sample]:
        """The value of an expression at ``at``.

        Raises:
            SourceError: no answer, or only part of one.
        """
        answer = self._ask(lambda: self._client.custom_query(expression, {"time": at}))
        return [Sample(name, labels, *points[-1]) for name, labels, points in self._series(answer)]

    def over(self, expression: str, start: float, end: float, step_s: float) -> list[Series]:
        """The value of an expression at ``start``, ``start + step_s``, … up to ``end``.

        Raises:
            SourceError: no answer, or only part of one.
        """
        exact = {"start": start, "end": end, "step": step_s}  # the client alone would round to seconds
        first, last = datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)
        answer = self._ask(
            lambda: self._client.custom_query_range(expression, first, last, str(step_s), exact), _HISTORY_PATIENCE
        )
        return [Series(name, labels, tuple(points)) for name, labels, points in self._series(answer)]

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def _ask(self, question: Callable[[], Any], patience: float = 1.0) -> Any:
        """The answer; asked again while time and retries are left."""
        timeout_s = patience * self.access.timeout_s
        self._session.deadline = time.monotonic() + timeout_s
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(1 + self.access.retries) | tenacity.stop_after_delay(0.8 * timeout_s),
            wait=tenacity.wait_random_exponential(multiplier=_PAUSE_S, max=timeout_s / 4),
            retry=tenacity.retry_if_exception(lambda problem: isinstance(problem, NoAnswerError) and problem.again),
            reraise=True,
        )
        try:
            return retrying(self._once, question, timeout_s)
        except NoAnswerError as problem:
            raise SourceError(f"Prometheus at {self.access.url} {problem}") from problem

    def _once(self, question: Callable[[], Any], timeout_s: float) -> Any:
        try:
            return question()
        except (requests.Timeout, urllib3.exceptions.TimeoutError) as problem:
            raise NoAnswerError(f"did not answer within {timeout_s:g} s", again=False) from problem
        except requests.exceptions.SSLError as problem:
            raise NoAnswerError(f"and we do not trust each other: {_root(problem)}", again=False) from problem
        except requests.exceptions.InvalidJSONError as problem:
            raise NoAnswerError(f"answered with something that is not JSON: {problem}", again=True) from problem
        except (requests.ConnectionError, urllib3.exceptions.ProtocolError) as problem:
            raise NoAnswerError(f"cannot be reached: {_root(problem)}", again=True) from problem
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as problem:
            raise NoAnswerError(f"cannot be asked: {problem}", again=False) from problem
        except (KeyError, TypeError, AttributeError) as problem:
            raise NoAnswerError(f"gave an answer without data.result ({problem!r})", again=True) from problem

    def _series(self, answer: Any) -> list[tuple[str, dict[str, str], list[tuple[float, float]]]]:
        """Name, labels and points of each series of an answer that has any."""
        try:
            found = [(dict(series["metric"]), _points(series)) for series in answer]
        except (KeyError, TypeError, ValueError) as problem:
            raise SourceError(
                f"Prometheus at {self.access.url} gave an answer without metric and values ({problem!r})"
            ) from problem
        return [(labels.pop("__name__", ""), labels, points) for labels, points in found if points]


def _points(series: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Values at moments, in order; a native histogram among them is no number, and shows as NaN.

    Raises:
        KeyError: there are neither values nor histograms.
    """
    if not {"value", "values", "histogram", "histograms"} & set(series):
        raise KeyError("values")
    numbers = [*series.get("values", ()), *([series["value"]] if "value" in series else ())]
    shapes = [*series.get("histograms", ()), *([series["histogram"]] if "histogram" in series else ())]
    points = [(float(at), float(value)) for at, value in numbers] + [(float(at), math.nan) for at, _ in shapes]
    return sorted(points, key=itemgetter(0))


def _root(problem: BaseException) -> str:
    """The innermost reason of a failed connection, without addresses of objects."""
    reason: BaseException = problem
    while True:
        inner = (
            reason.__cause__ or reason.__context__ or next((a for a in reason.args if isinstance(a, Exception)), None)
        )
        inner = getattr(reason, "reason", None) if isinstance(getattr(reason, "reason", None), Exception) else inner
        if inner is None or inner is reason:
            return str(reason)
        reason = inner
