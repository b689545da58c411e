"""The figures of a run, each with one meaning (docs/concepts.md): shares of arrivals, GPU-hours, percentiles.

Denominators are the requests that arrive in the window; what was rejected, lost, timed out or unfinished ten
minutes after its end is missed on every promise.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.simulation.promises import Outcomes, Verdict, verdicts
from planner.simulation.run import Promise, Run, WorkerSpan

SCHEMA = "sla-planner/simulation.v1"
COMPARISON = "sla-planner/comparison.v1"
MATCHED = 0.001
"""A bound within 0.1 points of a policy's share is told without its own."""
FIVE_MINUTES_S, HOUR_S = 300.0, 3600.0


@dataclass(frozen=True, slots=True)
class Attainment:
    """Shares of arriving requests that kept a promise; ``None`` without requests. Worst: aligned windows."""

    ttft: float | None
    itl: float | None
    both: float | None
    worst_5min: float | None
    worst_hour: float | None


@dataclass(frozen=True, slots=True)
class Latency:
    """Of requests that finished, in seconds; ``None`` without any."""

    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Replicas:
    """Replicas asked for and not ended, over the window."""

    mean: float
    min: int
    max: int


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything one run is judged by."""

    policy: str
    promise: Promise
    requests: int
    completed: int
    attainment: Attainment
    gpu_hours: float
    gpu_hours_by_pool: Mapping[str, float]
    goodput_per_s: float  # requests that kept both, per second
    goodput_per_gpu_hour: float | None
    changes_per_hour: float
    ttft: Latency
    itl: Latency
    pools: Mapping[str, Replicas]
    seed: int
    wall_seconds: float
    requests_per_second: float
    notes: tuple[str, ...] = ()
    feasible: bool = True  # False: most decisions said that no fleet can keep the promise
    verdicts: tuple[Verdict, ...] = ()  # of every promise

    @property
    def kept(self) -> bool:
        """Whether requests came and every promise was kept."""
        return self.requests > 0 and all(verdict.kept for verdict in self.verdicts)

    def to_json(self) -> dict[str, Any]:
        """The object that ``simulate --json`` prints."""
        return {
            "schema": SCHEMA,
            "policy": self.policy,
            "promise": {"ttft_s": self.promise.ttft_s, "itl_s": self.promise.itl_s, "goal": self.promise.goal},
            "promises": [verdict.to_json() for verdict in self.verdicts],
            "feasible": self.feasible,
            "requests": self.requests,
            "completed": self.completed,
            "attainment": _fields(self.attainment),
            "gpu_hours": self.gpu_hours,
            "gpu_hours_by_pool": dict(self.gpu_hours_by_pool),
            "goodput": {"per_second": self.goodput_per_s, "per_gpu_hour": self.goodput_per_gpu_hour},
            "changes_per_hour": self.changes_per_hour,
            "ttft_seconds": _fields(self.ttft),
            "itl_seconds": _fields(self.itl),
            "pools": {name: _fields(replicas) for name, replicas in self.pools.items()},
            "seed": self.seed,
            "wall_seconds": self.wall_seconds,
            "requests_per_second": self.requests_per_second,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Row:
    """One policy of a comparison, beside the clairvoyant bound at its own attainment."""

    summary: Summary
    ratio: float | None = None  # GPU-hours over the bound's
    at_attainment: float | None = None  # what the bound kept: the policy's within 0.05 points, where it can
    chosen: Mapping[str, float] = field(default_factory=dict)  # knobs found on the training half
    attainable: float | None = None  # share that any number of workers keeps

    @property
    def is_far(self) -> bool:
        """Whether the bound is at another share: no plan keeps as little, or as much."""
        mine, bound = self.summary.attainment.both, self.at_attainment
        return mine is not None and bound is not None and abs(bound - mine) > MATCHED

    def to_json(self) -> dict[str, Any]:
        """The row as ``compare --json`` prints it."""
        return {
            **self.summary.to_json(),
            "ratio_to_clairvoyant": {"gpu_hours": self.ratio, "at_attainment": self.at_attainment},
            "chosen": dict(self.chosen),
            "attainable": self.attainable,
        }


def summarise(run: Run) -> Summary:
    """All figures of a run."""
    traffic, promise = run.traffic, run.promise
    with np.errstate(invalid="ignore"):
        quick, steady = run.ttft_s <= promise.ttft_s, run.itl_s <= promise.itl_s
    both = quick & steady
    kept = int(both.sum())
    hours = {pool: gpu_hours(run, pool) for pool in run.gpus_per_replica}
    total = sum(hours.values())
    longer = traffic.output_tokens > 1
    feasible, beyond = reach(run)
    return Summary(
        policy=run.policy,
        promise=promise,
        requests=traffic.requests,
        completed=int(np.isfinite(run.itl_s).sum()),
        attainment=Attainment(
            _share(quick),
            _share(steady),
            _share(both),
            worst(traffic.arrivals_s, both, FIVE_MINUTES_S),
            worst(traffic.arrivals_s, both, HOUR_S),
        ),
        gpu_hours=total,
        gpu_hours_by_pool=hours,
        goodput_per_s=kept / traffic.duration_s,
        goodput_per_gpu_hour=kept / total if total > 0 else None,
        changes_per_hour=changes(run) / (traffic.duration_s / HOUR_S),
        ttft=_latency(run.ttft_s),
        itl=_latency(run.itl_s[longer]),
        pools={pool: replicas(run, pool) for pool in run.gpus_per_replica},
        seed=run.seed,
        wall_seconds=run.wall_seconds,
        requests_per_second=traffic.requests / run.plant_seconds if run.plant_seconds > 0 else 0.0,
        notes=(*run.notes, *beyond),
        feasible=feasible,
        verdicts=verdicts(promise, Outcomes(run.ttft_s, run.itl_s, longer)),
    )


def reach(run: Run) -> tuple[bool, tuple[str, ...]]:
    """(whether most sized decisions found the promise within reach, what the last of the others said)."""
    sized = [step.decision for step in run.steps if step.decision.expected is not None]
    beyond = [decision for decision in sized if not decision.feasible]
    if 2 * len(beyond) <= len(sized):
        return True, ()
    return False, beyond[-1].notes


def worst(arrivals_s: NDArray[np.float64], kept: NDArray[np.bool_], window_s: float) -> float | None:
    """Smallest share kept in any aligned window of ``window_s`` that had requests (the whole, if shorter)."""
    if len(arrivals_s) == 0:
        return None
    place = (arrivals_s / window_s).astype(np.int64)
    came = np.bincount(place)
    with np.errstate(invalid="ignore"):
        shares = np.bincount(place, kept) / came
    return float(np.nanmin(shares))


def gpu_hours(run: Run, pool: str) -> float:
    """GPU-hours of a pool: asked for until ended, inside the window."""
    end = run.traffic.duration_s
    seconds = sum(_paid_s(span, end) for span in run.spans if span.pool == pool)
    return seconds * run.gpus_per_replica[pool] / HOUR_S


def _paid_s(span: WorkerSpan, end: float) -> float:
    ended = end if span.ended_s is None else min(span.ended_s, end)
    return max(0.0, ended - max(0.0, min(span.asked_s, end)))


def replicas(run: Run, pool: str) -> Replicas:
    """Replicas that were paid for: mean over the window, fewest and most at any moment."""
    times, counts = steps_of(run, pool, lambda span: (span.asked_s, span.ended_s))
    if len(times) == 0:
        return Replicas(0.0, 0, 0)
    end = run.traffic.duration_s
    mean = float((np.diff(np.append(times, end)) * counts).sum() / end)
    return Replicas(mean, int(counts.min()), int(counts.max()))


def steps_of(run: Run, pool: str, life: Any) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(times, counts) of a staircase: how many spans of ``pool`` are alive from each time on; starts at 0.

    ``life(span)`` gives (from, to); ``None`` for from: never; for to: not yet.
    """
    end = run.traffic.duration_s
    changes: dict[float, int] = {0.0: 0}
    for span in run.spans:
        born, died = life(span)
        if span.pool != pool or born is None or born >= end:
            continue
        changes[max(0.0, born)] = changes.get(max(0.0, born), 0) + 1
        if died is not None and died < end:
            changes[max(0.0, died)] = changes.get(max(0.0, died), 0) - 1
    times = np.array(sorted(changes))
    return times, np.cumsum([changes[t] for t in times.tolist()])


def changes(run: Run) -> int:
    """How often the fleet asked for changed."""
    asked = [step.decision.replicas for step in run.steps]
    return sum(a != b for a, b in itertools.pairwise(asked))


def _share(kept: NDArray[np.bool_]) -> float | None:
    return float(kept.mean()) if len(kept) else None


def _latency(values: NDArray[np.float32]) -> Latency:
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return Latency(None, None, None, None)
    p50, p95, p99 = (float(x) for x in np.quantile(known, [0.5, 0.95, 0.99]))
    return Latency(float(known.mean(dtype=np.float64)), p50, p95, p99)


def _fields(value: Any) -> dict[str, Any]:
    """The fields of a flat dataclass; what is not finite becomes null."""
    found = {name: getattr(value, name) for name in value.__dataclass_fields__}
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in found.items()}
