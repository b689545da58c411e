"""Whether a run kept what was promised, promise by promise.

A share or a percentile is of all requests that arrive: what was rejected, lost, timed out or unfinished is late
without end. A mean is of the requests that were answered (for ITL of those with more than one token), and a promise
of one is kept only if ``goal`` of all requests were.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.core.policy import Promise, Sla, What

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One promise beside what was observed."""

    promise: Promise
    target: float  # seconds; of both latencies: a share
    observed: float | None  # in the target's unit; infinite: so many were never answered. None: no request came
    kept: bool

    def to_json(self) -> dict[str, Any]:
        """The promise as ``simulate --json`` has it: seconds, or shares of requests for both latencies."""
        known = self.observed is not None and math.isfinite(self.observed)
        return {
            "promise": self.promise.name,
            "latency": self.promise.what.value,
            "measure": "share" if self.promise.what is What.BOTH else str(self.promise.measure),
            "target": self.target,
            "observed": self.observed if known else None,
            "kept": self.kept,
        }


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of every request: seconds by latency, NaN where it was never answered."""

    ttft_s: F32
    itl_s: F32
    spoke: NDArray[np.bool_]  # more than one output token: has an ITL of its own

    def of(self, what: What) -> F32:
        """One of the two latencies."""
        return self.ttft_s if what is What.TTFT else self.itl_s

    def within(self, sla: Sla, latencies: Sequence[What]) -> NDArray[np.bool_]:
        """Which requests kept the targets of all of these latencies."""
        kept = np.ones(len(self.ttft_s), np.bool_)
        with np.errstate(invalid="ignore"):
            for what in latencies:
                kept &= self.of(what) <= np.float32(sla.target_s(what))
        return kept


def verdicts(sla: Sla, outcomes: Outcomes) -> tuple[Verdict, ...]:
    """Every promise, and whether it was kept; without requests none was broken."""
    return tuple(_verdict(sla, promise, outcomes) for promise in sla.promises)


def _verdict(sla: Sla, promise: Promise, outcomes: Outcomes) -> Verdict:
    target = sla.goal if promise.what is What.BOTH else sla.target_s(promise.what)
    if len(outcomes.ttft_s) == 0:
        return Verdict(promise, target, None, kept=True)
    kept = score(sla, promise, promise.latencies, outcomes) >= required(sla, promise)
    return Verdict(promise, target, observed(promise, outcomes, sla), kept)


def observed(promise: Promise, outcomes: Outcomes, sla: Sla) -> float:
    """The share of requests that kept both targets, or the percentile or mean of a latency in seconds."""
    if promise.what is What.BOTH:
        return float(outcomes.within(sla, promise.latencies).mean())
    if promise.measure.share is None:
        return mean_s(promise.what, outcomes)
    values = np.nan_to_num(outcomes.of(promise.what), nan=np.inf)
    return float(np.quantile(values, promise.measure.share, method="inverted_cdf"))


def mean_s(what: What, outcomes: Outcomes) -> float:
    """Mean of a latency over the requests that were answered, in seconds; infinite when none was."""
    values = outcomes.of(what)
    values = values[np.isfinite(values) & (outcomes.spoke if what is What.ITL else True)]
    return float(values.mean(dtype=np.float64)) if len(values) else 0.0 if what is What.ITL else math.inf


def score(sla: Sla, promise: Promise, latencies: Sequence[What], outcomes: Outcomes) -> float:
    """How well those of a promise's ``latencies`` did: a share of requests, or up to 1 as far as a mean was kept."""
    if promise.measure.share is not None:
        return float(outcomes.within(sla, latencies).mean())
    answered, mean = np.isfinite(outcomes.itl_s).mean(), mean_s(promise.what, outcomes)
    return min(1.0, sla.target_s(promise.what) / max(1e-9, mean)) * min(1.0, float(answered) / sla.goal)


def required(sla: Sla, promise: Promise) -> float:
    """The score from which on a promise is kept."""
    return 1.0 if promise.measure.share is None else promise.measure.share
