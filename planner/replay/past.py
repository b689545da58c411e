"""The past as Prometheus kept it, in bins: what arrived, how long requests were, how they were served, what ran.

A bin that could not be measured is a gap. Gaps are counted and told; they are never zeros.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.core.histogram import Histogram, joined
from planner.core.types import Observation, Window
from planner.replay.moments import iso

MOST_BINS = 5
"""A window of more bins than this (Prometheus was away) says how many came, not when: that is a gap."""
LEAST_STRETCH_S = 900.0
"""A shorter stretch between two gaps is left out: a planner that knows nothing would spend it learning."""


@dataclass(frozen=True, slots=True)
class Bin:
    """What was measured from ``start`` to ``end`` (seconds since the epoch)."""

    start: float
    end: float
    window: Window
    ready: Mapping[str, int]  # replicas that served at its end, by pool; empty: not known

    @property
    def requests(self) -> float:
        """Requests that arrived."""
        assert self.window.started is not None  # a bin is made of nothing else
        return self.window.started


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bins without a gap between them."""

    bins: tuple[Bin, ...]

    @property
    def start(self) -> float:
        """Where it begins."""
        return self.bins[0].start

    @property
    def end(self) -> float:
        """Where it ends."""
        return self.bins[-1].end

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Past:
    """A period, and the stretches of it that are known."""

    start: float
    end: float
    stretches: tuple[Stretch, ...]
    problems: tuple[str, ...] = ()  # conditions that were met, most frequent first

    @property
    def bins(self) -> list[Bin]:
        """All bins that are known, in order."""
        return [one for stretch in self.stretches for one in stretch.bins]

    @property
    def known_s(self) -> float:
        """Seconds that were measured."""
        return sum(stretch.seconds for stretch in self.stretches)

    def gaps(self) -> list[tuple[float, float]]:
        """(from, to) of everything that is not known."""
        edges = [self.start, *(t for s in self.stretches for t in (s.start, s.end)), self.end]
        return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a > 1e-6]

    def to_json(self) -> dict[str, Any]:
        """The period as the JSON output has it."""
        return {
            "from": self.start,
            "to": self.end,
            "from_time": iso(self.start),
            "to_time": iso(self.end),
            "seconds": self.end - self.start,
            "known_seconds": self.known_s,
            "gaps": [[a, b] for a, b in self.gaps()],
            "problems": list(self.problems),
        }


def past_of(observations: Iterable[Observation], start: float, end: float, step_s: float) -> Past:
    """The period from ``start`` to ``end``, of looks every ``step_s`` from ``start`` on."""
    told: dict[str, int] = {}
    bins = []
    for seen in observations:
        for problem in seen.problems:
            told[problem] = told.get(problem, 0) + 1
        found = _bin(seen, step_s)
        if found is not None and found.start >= start - 1e-6:
            bins.append(found)
    stretches = tuple(s for s in _stretches(bins) if s.seconds >= min(LEAST_STRETCH_S, end - start) - 1e-6)
    return Past(start, end, stretches, tuple(sorted(told, key=lambda text: -told[text])))


def _bin(seen: Observation, step_s: float) -> Bin | None:
    """The bin that an observation closes; ``None``: it says nothing of when how many came."""
    window = seen.window
    if window is None or window.started is None or window.seconds <= 0:
        return None
    steps = max(1, round(window.seconds / step_s))
    if steps > MOST_BINS:
        return None
    ready = {name: reading.ready for name, reading in seen.pools.items()}
    return Bin(seen.at - steps * step_s, seen.at, window, ready)


def _stretches(bins: Sequence[Bin]) -> Iterator[Stretch]:
    together: list[Bin] = []
    for one in bins:
        if together and abs(one.start - together[-1].end) > 1e-6:
            yield Stretch(tuple(together))
            together = []
        together.append(one)
    if together:
        yield Stretch(tuple(together))


def merged_histogram(bins: Iterable[Bin], signal: str) -> Histogram | None:
    """All values of a signal of the windows (``input_tokens``, ``ttft``, …) in one histogram.

    Where the edges changed on the way, those of the end count. ``None``: it was never measured.
    """
    parts: list[Histogram | None] = [getattr(one.window, signal) for one in bins]
    return joined(*(part for part in parts if part is not None and part.count > 0))
