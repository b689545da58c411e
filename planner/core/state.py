"""What one step remembers for the next. Plain data, so it can be saved and read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from planner.core.correction import Correction, Evidence
from planner.core.histogram import Histogram
from planner.core.load import Load
from planner.core.memory import Memory
from planner.core.supply import Supply
from predictors.api import Predictor


@dataclass(frozen=True, slots=True)
class Price:
    """What a kept promise has cost of late, in GPU-seconds: a fading, request-weighted log mean."""

    log_sum: float = 0.0
    weight: float = 0.0  # requests per second, added up over the decisions
    square: float = 0.0  # squares of them, likewise

    def then(self, log: float, rate: float, keep: float) -> Price:
        """After one more decision, at ``rate`` requests per second; of what was before, the share ``keep`` counts."""
        return Price(keep * self.log_sum + rate * log, keep * self.weight + rate, keep * self.square + rate * rate)

    @property
    def log(self) -> float | None:
        """Mean log price; ``None`` before the first decision under load."""
        return self.log_sum / self.weight if self.weight > 0 else None

    @property
    def usual_rate(self) -> float:
        """Requests per second as requests have met it, so that silences do not count; 0 before the first."""
        return self.square / self.weight if self.weight > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Wish:
    """Replicas that were wanted: no later decision goes below them before the time is over."""

    at: float
    until: float
    replicas: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class PlannerState:
    """Everything ``decide`` carries from one observation to the next."""

    at: float | None = None  # of the last observation
    decided_at: float | None = None  # of the last full decision
    asked: Mapping[str, int] | None = None  # allowed by the last decision
    memory: Memory = field(default_factory=Memory)
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    corrections: Mapping[str, Correction] = field(default_factory=dict)
    supply: Mapping[str, Supply] = field(default_factory=dict)  # by pool: how replicas come
    made_up: Mapping[str, int] = field(default_factory=dict)  # part of what was asked: in place of overdue replicas
    predictors: Mapping[str, Predictor] = field(default_factory=dict)  # by series; never changed in place
    budgets: Mapping[str, float] = field(default_factory=dict)  # by promise: what was let down beyond its allowance
    prices: Mapping[str, Price] = field(default_factory=dict)  # by promise
    request_itl: Mapping[str, Histogram] = field(default_factory=dict)  # by pool that tells: of late, fading
    answering: float | None = None  # answer tokens per second offered, over as long as an answer takes
    crowd: float = 0.0  # sequences in decode beyond what the ITL target allows, at the last full decision
    load: Load | None = None  # what the last full decision was made for
    recent: tuple[Wish, ...] = ()  # those that are still held

    @property
    def slowness(self) -> dict[str, float]:
        """What each pool's profiled times are multiplied by; pools of which nothing was learnt are left out."""
        return {name: correction.slowness for name, correction in self.corrections.items()}
