"""What really ran in a past period, beside what the planner would have had run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from planner.core.histogram import Histogram, mean_of
from planner.core.policy import Sla
from planner.core.types import Observation
from planner.replay.demand import Demand, demand_of, shape_of
from planner.replay.moments import offset, shown
from planner.replay.past import Past, merged_histogram, past_of
from planner.units import show_duration

Look = Callable[[float, float, float], Iterable[Observation]]
"""``look(start, end, step_s)``: observations at ``start``, ``start + step_s``, … up to ``end``."""
Progress = Callable[[float], None]
SAMPLES, SAMPLE_LOOKS = 12, 100
"""Burstiness is learnt from so many stretches of so many looks, evenly over the period."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What really ran, and how it served, in the bins that are known; ``None``: not measured."""

    gpu_hours: float | None  # of replicas that served
    mean_replicas: Mapping[str, float]  # by pool; a pool that was never seen is left out
    ttft_s: float | None  # mean
    ttft_kept: tuple[float, float] | None  # bracket of the share of requests within the target
    itl_s: float | None  # mean gap between tokens
    itl_kept: tuple[float, float] | None  # bracket of the share of token gaps within the target

    def to_json(self) -> dict[str, Any]:
        """The figures as the JSON output has them."""
        return {
            "gpu_hours": self.gpu_hours,
            "pools": {pool: {"mean": mean} for pool, mean in self.mean_replicas.items()},
            "ttft_seconds": {"mean": self.ttft_s},
            "ttft_kept": None if self.ttft_kept is None else list(self.ttft_kept),
            "itl_seconds": {"mean": self.itl_s},
            "itl_gaps_kept": None if self.itl_kept is None else list(self.itl_kept),
        }


def read_past(look: Look, start: float, end: float, bin_s: float, scrape_s: float, most_gaps: float,
              progress: Progress | None = None) -> Demand:  # fmt: skip
    """The demand of a period.

    Raises:
        SourceError: Prometheus cannot be read.
        ValueError: too much of it was not measured, nothing arrived, or no length was measured.
    """
    steps = (end - start) / bin_s + 1.0
    seen = _counted(look(start, end, bin_s), steps, progress)
    past = past_of(seen, start, end, bin_s)
    _refuse_gaps(past, most_gaps)
    length = SAMPLE_LOOKS * scrape_s
    return demand_of(past, shape_of(look(at, at + length, scrape_s) for at in _samples(past, scrape_s)))


def _counted(found: Iterable[Observation], steps: float, progress: Progress | None) -> Iterator[Observation]:
    for i, one in enumerate(found):
        yield one
        if progress is not None and i % 20 == 0:
            progress(i / steps)


def _samples(past: Past, scrape_s: float) -> list[float]:
    """Starts of the stretches that burstiness is learnt from, all inside what is known."""
    length = SAMPLE_LOOKS * scrape_s
    every = max(length, past.known_s / SAMPLES)
    found = []
    for stretch in past.stretches:
        at = stretch.start + 0.5 * min(every - length, max(0.0, stretch.seconds - length))
        while at + length <= stretch.end + 1e-6:
            found.append(at)
            at += every
    return found or [past.stretches[0].start]


def _refuse_gaps(past: Past, most: float) -> None:
    whole = past.end - past.start
    missing = 1.0 - past.known_s / whole
    if past.known_s <= 0 or missing > most:
        longest = max(past.gaps(), key=lambda gap: gap[1] - gap[0])
        why = f"; most often: {past.problems[0]}" if past.problems else ""
        raise ValueError(
            f"{missing:.1%} of the period was not measured, more than --gaps {most:.0%}: the longest gap is "
            f"{show_duration(longest[1] - longest[0])} from {shown(longest[0])}{why}"
        )


def gap_notes(past: Past) -> tuple[str, ...]:
    """What is left out, for people."""
    gaps = past.gaps()
    if not gaps:
        return ()
    missing = sum(b - a for a, b in gaps)
    listed = ", ".join(f"{show_duration(b - a)} at {offset(a - past.start)}" for a, b in gaps[:5])
    more = f" and {len(gaps) - 5} more" if len(gaps) > 5 else ""
    return (
        f"{missing / (past.end - past.start):.1%} of the period was not measured and is left out ({listed}{more}); "
        "pictures and hours run on without it",
    )


def recorded_of(past: Past, gpus: Mapping[str, int], sla: Sla) -> Recorded:
    """What really ran; ``gpus`` are those of one replica, by pool."""
    mean: dict[str, float] = {}
    for pool in gpus:
        known = [(one.ready[pool], one.end - one.start) for one in past.bins if pool in one.ready]
        if known:
            mean[pool] = sum(n * s for n, s in known) / sum(s for _, s in known)
    hours = sum(n * gpus[pool] for pool, n in mean.items()) * past.known_s / 3600.0 if len(mean) == len(gpus) else None
    ttft, itl = merged_histogram(past.bins, "ttft"), merged_histogram(past.bins, "itl")
    return Recorded(hours, mean, mean_of(ttft), _kept(ttft, sla.ttft_s), mean_of(itl), _kept(itl, sla.itl_s))


def _kept(values: Histogram | None, target_s: float) -> tuple[float, float] | None:
    return None if values is None else values.share_at_most(target_s)
