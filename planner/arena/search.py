"""The knobs that a careful operator would set: searched on the training half, never on what is judged."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass

MOST = 24
"""A grid of at most this many settings is tried whole; a larger one knob by knob, then around what was found."""

Knobs = Mapping[str, float]
Search = Generator[list[Knobs], "Sequence[Score]", Knobs]
"""Yields settings to try, is sent their scores, returns the choice."""


@dataclass(frozen=True, slots=True)
class Score:
    """What a setting kept on the training half, and what it cost."""

    kept: float
    gpu_hours: float

    def worth(self, goal: float) -> tuple[float, float]:
        """Smaller is better: the cheapest that keeps the goal, else who keeps most (ties: the cheaper)."""
        return (-math.inf, self.gpu_hours) if self.kept >= goal else (-self.kept, self.gpu_hours)


def search(searched: Mapping[str, Sequence[float]], shipped: Knobs, goal: float) -> Search:
    """Try what ``searched`` lists for each knob, beginning with what is shipped, and choose."""
    names = list(searched)
    start = {name: shipped[name] for name in names}
    known: dict[tuple[float, ...], Score] = {}

    def best() -> Knobs:
        return dict(zip(names, _best(known, goal), strict=True))

    for batch in _batches(searched, start, best):
        fresh = [knobs for knobs in batch if tuple(knobs.values()) not in known]
        if not fresh:
            continue
        scores = yield list(fresh)
        known.update({tuple(knobs.values()): score for knobs, score in zip(fresh, scores, strict=True)})
    return best()


def _best(known: Mapping[tuple[float, ...], Score], goal: float) -> tuple[float, ...]:
    return min(known, key=lambda values: known[values].worth(goal))


def _batches(searched: Mapping[str, Sequence[float]], start: Knobs,
             best: Callable[[], Knobs]) -> Iterator[list[Knobs]]:  # fmt: skip
    """What to try together: the whole grid; or one knob after the other around the best so far, then its neighbours."""
    names = list(searched)
    if math.prod(len(values) for values in searched.values()) <= MOST:
        grid = [dict(zip(names, values, strict=True)) for values in itertools.product(*searched.values())]
        yield [start, *(knobs for knobs in grid if knobs != start)]
        return
    yield [start]
    for name in names:
        yield [{**best(), name: value} for value in searched[name]]
    for name in names:
        yield [{**best(), name: value} for value in _beside(searched[name], best()[name])]


def _beside(values: Sequence[float], value: float) -> list[float]:
    """The values next to ``value``, below and above."""
    ordered = sorted(values)
    below = [v for v in ordered if v < value][-1:]
    return below + [v for v in ordered if v > value][:1]
