"""``MetricsSource`` over Prometheus; many policies share the questions of one tick."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace

from planner.adapters.prometheus.elsewhere import Elsewhere, missing
from planner.adapters.prometheus.looks import look
from planner.adapters.prometheus.server import Sample, Server
from planner.adapters.prometheus.subject import Selector, Subject, questions
from planner.adapters.prometheus.windows import Windows
from planner.core.types import Observation, PoolReading
from planner.ports import SourceError

Fleet = Callable[[], Mapping[str, PoolReading]]
"""Who runs the replicas says how many there are; gauges in its readings are not looked at."""


class SharedReader:
    """Asks once per moment for all subjects that joined, and hands each its own samples."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._subjects: list[Subject] = []
        self._at: float | None = None
        self._samples: list[Sample] = []
        self._failed: SourceError | None = None
        self._lock = threading.Lock()
        self._elsewhere = Elsewhere(server)

    def join(self, subject: Subject) -> None:
        """Take a subject's series into the shared questions."""
        with self._lock:
            self._subjects.append(subject)
            self._at = None

    def samples(self, subject: Subject, at: float) -> list[Sample]:
        """The newest samples of a subject's series as of ``at``.

        Raises:
            SourceError: the server could not be read at this moment.
        """
        with self._lock:
            if at != self._at:
                self._ask(at)
            if self._failed is not None:
                raise self._failed
            wanted = selectors(subject)
            return [sample for sample in self._samples if any(s.matches(sample) for s in wanted)]

    def missing(self, subject: Subject, what: str, selector: Selector, at: float) -> str:
        """Why nothing is known of the front door or a pool, as a problem of an observation."""
        with self._lock:
            return missing(subject, what, selector, self._elsewhere.seen(subject, what, selector, at))

    def _ask(self, at: float) -> None:
        self._at, self._samples, self._failed = at, [], None
        within_s = max(4.0 * subject.scrape_s for subject in self._subjects)
        try:
            for question in questions(s for subject in self._subjects for s in selectors(subject)):
                self._samples += self.server.newest(question.promql(), at, within_s)
        except SourceError as problem:
            self._failed = problem


class PrometheusSource:
    """What one deployment's Prometheus says, as observations."""

    def __init__(self, reader: SharedReader, subject: Subject, fleet: Fleet | None = None) -> None:
        self._reader, self._subject, self._fleet = reader, subject, fleet
        self._windows = Windows(subject.late_s)
        reader.join(subject)

    def observe(self, at: float) -> Observation:
        """What happened up to ``at``; see ``MetricsSource``."""
        samples = self._reader.samples(self._subject, at)
        fleet = self._fleet() if self._fleet is not None else None
        seen = look(self._subject, at, samples)
        told = [self._reader.missing(self._subject, what, own, at) for what, own in seen.unfound.items()]
        return self._windows.observe(replace(seen, problems=(*seen.problems, *told)), fleet)


def selectors(subject: Subject) -> list[Selector]:
    """All series of a subject."""
    front = subject.front_selector()
    return [*([front] if front else []), *subject.pool_selectors().values()]
