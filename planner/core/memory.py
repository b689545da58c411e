"""What the planner remembers between steps about the traffic: counts, mix, burstiness.

Windows are merged until a full decision is due; the mix of lengths fades; the
dispersion is learnt from how much neighbouring windows differ. Values only:
every function returns a new memory.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from operator import itemgetter

from planner.core.histogram import Histogram, joined
from planner.core.tuning import Tuning
from planner.core.types import Window


@dataclass(frozen=True, slots=True)
class Mix:
    """Lengths of the requests of late, fading: bucket counts and what the prefix cache took."""

    input_tokens: Histogram | None = None
    output_tokens: Histogram | None = None
    cached_share: float = 0.0  # of input tokens


@dataclass(frozen=True, slots=True)
class Memory:
    """Windows since the last full decision, and what fades more slowly."""

    gathered: Window | None = None  # merged since the last full decision
    blind_s: float = 0.0  # of that time, not observed
    ticks: tuple[tuple[float, float], ...] = ()  # (requests, seconds) of each recent window
    mix: Mix = Mix()


def remember(memory: Memory, window: Window | None, elapsed_s: float, tuning: Tuning) -> Memory:
    """Add one window (``None``: ``elapsed_s`` seconds went by unseen)."""
    if window is None:
        return replace(memory, blind_s=memory.blind_s + max(0.0, elapsed_s))
    gathered = window if memory.gathered is None else merged(memory.gathered, window)
    ticks = memory.ticks
    if window.started is not None and window.seconds > 0:
        keep = max(8, int(tuning.dispersion_memory_s / window.seconds))
        ticks = (*ticks, (window.started, window.seconds))[-keep:]
    return replace(memory, gathered=gathered, ticks=ticks)


def turn_page(memory: Memory, tuning: Tuning) -> Memory:
    """Fold the gathered windows into the fading mix and start gathering anew."""
    seen = memory.gathered
    if seen is None:
        return replace(memory, blind_s=0.0)
    cached = memory.mix.cached_share
    if seen.cached_tokens is not None and seen.input_tokens is not None and seen.input_tokens.total > 0:
        now = min(1.0, seen.cached_tokens / seen.input_tokens.total)
        cached += (1.0 - tuning.mix_memory) * (now - cached)
    mix = Mix(
        faded(memory.mix.input_tokens, seen.input_tokens, tuning.mix_memory),
        faded(memory.mix.output_tokens, seen.output_tokens, tuning.mix_memory),
        cached,
    )
    return Memory(None, 0.0, memory.ticks, mix)


def merged(a: Window, b: Window) -> Window:
    """Two windows, one after the other, as one. What either does not know, the whole knows from the other."""
    return Window(
        seconds=a.seconds + b.seconds,
        started=_plus(a.started, b.started),
        finished=_plus(a.finished, b.finished),
        input_tokens=joined(a.input_tokens, b.input_tokens),
        output_tokens=joined(a.output_tokens, b.output_tokens),
        cached_tokens=_plus(a.cached_tokens, b.cached_tokens),
        generated_tokens=_plus(a.generated_tokens, b.generated_tokens),
        ttft=joined(a.ttft, b.ttft),
        itl=joined(a.itl, b.itl),
        duration=joined(a.duration, b.duration),
    )


def dispersion(memory: Memory, tuning: Tuning) -> tuple[float, float]:
    """(variance over mean of arrivals, requests per second at which it was seen); at least 1 (Poisson).

    For counts x of equal windows (x_k − x_{k−1})² / (x_k + x_{k−1}) has the index of dispersion as its
    mean, whatever the slow trend does (von Neumann's successive differences). Steps of the rate are
    trimmed off. Few windows say nothing: the estimate starts at Poisson.
    """
    pairs = itertools.pairwise(memory.ticks)
    ratios = [((b - a) * (b - a) / (a + b), (a + b) / (sa + sb))
              for (a, sa), (b, sb) in pairs if 0.7 < sa / sb < 1.4 and a + b > 0]  # fmt: skip
    if len(ratios) < 6:
        return 1.0, 0.0
    ratios.sort(key=itemgetter(0))
    kept = ratios[: max(1, int(len(ratios) * tuning.dispersion_trim))]
    index, rate = (sum(part) / len(kept) for part in zip(*kept, strict=True))
    return max(1.0, tuning.dispersion_untrim * index), rate


def recent_rate(memory: Memory, over_s: float) -> float | None:
    """Requests per second over the last ``over_s`` seconds of windows; ``None`` without any."""
    requests = seconds = 0.0
    for count, length in reversed(memory.ticks):
        requests, seconds = requests + count, seconds + length
        if seconds >= over_s:
            break
    return requests / seconds if seconds > 0 else None


def faded(old: Histogram | None, new: Histogram | None, keep: float) -> Histogram | None:
    """What was counted before, of which ``keep`` is left, and since; of other buckets than now, nothing."""
    if new is None or new.count <= 0:
        return old
    if old is None or old.edges != new.edges:
        return new
    counts = tuple(keep * a + b for a, b in zip(old.counts, new.counts, strict=True))
    return Histogram(new.edges, counts, keep * old.total + new.total)


def _plus(a: float | None, b: float | None) -> float | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b
