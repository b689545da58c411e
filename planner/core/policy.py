"""What the operator asked for, as the core sees it. Never changes inside a step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from planner.core.tuning import Tuning
from planner.core.types import Role
from planner.units import show_duration

if TYPE_CHECKING:
    from planner.core.profiles import Profile


class What(StrEnum):
    """Which latency a promise is about; ``BOTH``: each request must keep the two of them."""

    BOTH = "both"
    TTFT = "ttft"
    ITL = "itl"


@dataclass(frozen=True, slots=True)
class Measure:
    """How latencies are held against a target: ``share`` of all requests within it, or (``None``) their mean.

    A mean is taken over requests; for ITL over each request's own mean, as everywhere here.
    """

    share: float | None = None

    def __post_init__(self) -> None:
        if self.share is not None and not 0 < self.share < 1:
            raise ValueError(f"share ({self.share}) must be between 0 and 1, like 0.95")

    def __str__(self) -> str:
        return "mean" if self.share is None else f"p{100.0 * self.share:.6g}"

    @property
    def allowance(self) -> float:
        """What may be let down on average: a share of requests; of a mean's slack, all."""
        return 1.0 if self.share is None else 1.0 - self.share


@dataclass(frozen=True, slots=True)
class Promise:
    """One thing that is promised, with a miss budget and a price of its own."""

    what: What
    measure: Measure

    @property
    def latencies(self) -> tuple[What, ...]:
        """The latencies that count."""
        return (What.TTFT, What.ITL) if self.what is What.BOTH else (self.what,)

    @property
    def roles(self) -> tuple[Role, ...]:
        """Whose workers keep or break it."""
        return _ROLES[self.what]

    @property
    def name(self) -> str:
        """``p95 TTFT``, ``mean ITL``, ``both``."""
        return self.what.value if self.what is What.BOTH else f"{self.measure} {self.what.value.upper()}"


_ROLES = {
    What.BOTH: (Role.PREFILL, Role.DECODE, Role.AGGREGATED),
    What.TTFT: (Role.PREFILL, Role.AGGREGATED),
    What.ITL: (Role.DECODE, Role.AGGREGATED),
}


@dataclass(frozen=True, slots=True)
class Sla:
    """Share ``goal`` of requests with TTFT <= ``ttft_s`` and mean ITL <= ``itl_s``: one joint promise.

    A latency with a measure of its own makes two promises of it, each kept for itself: ``goal`` is then the share for
    the other one, if that has none.
    """

    ttft_s: float
    itl_s: float
    goal: float = 0.99
    ttft: Measure | None = None
    itl: Measure | None = None

    def __post_init__(self) -> None:
        problems = [f"{name} ({value}) must be above 0 seconds" for name, value in
                    (("ttft_s", self.ttft_s), ("itl_s", self.itl_s)) if not 0 < value < float("inf")]  # fmt: skip
        if not 0 < self.goal < 1:
            problems.append(f"goal ({self.goal}) must be a share between 0 and 1, like 0.99")
        if problems:
            raise ValueError("; ".join(problems))

    def __str__(self) -> str:
        ttft, itl = show_duration(self.ttft_s), show_duration(self.itl_s)
        if self.is_joint:
            return f"TTFT ≤ {ttft} and ITL ≤ {itl} for {100 * self.goal:.4g} % of requests"
        return " and ".join(f"{p.name} ≤ {s}" for p, s in zip(self.promises, (ttft, itl), strict=True))

    @property
    def joint(self) -> Promise:
        """Both latencies request by request, whatever else is promised: what attainment means."""
        return Promise(What.BOTH, Measure(self.goal))

    @property
    def is_joint(self) -> bool:
        """Whether one promise is about both latencies."""
        return self.ttft is None and self.itl is None

    @property
    def promises(self) -> tuple[Promise, ...]:
        """Everything that is promised."""
        if self.is_joint:
            return (self.joint,)
        goal = Measure(self.goal)
        return Promise(What.TTFT, self.ttft or goal), Promise(What.ITL, self.itl or goal)

    def target_s(self, what: What) -> float:
        """The target of a latency, in seconds."""
        return self.ttft_s if what is What.TTFT else self.itl_s


@dataclass(frozen=True, slots=True)
class Pool:
    """Workers of one kind: what they do, how fast one is, how many there may be."""

    name: str
    role: Role
    profile: Profile
    gpus: int = 1  # per replica
    min_replicas: int = 1
    max_replicas: int = 1_000_000
    startup_s: float = 120.0  # believed until start-ups have been measured
    chunk_tokens: int = 2048  # prompt tokens an aggregated worker takes into one step
    cost: float = 1.0  # of a GPU-hour, in any currency: only ratios count

    def __post_init__(self) -> None:
        if self.gpus < 1:
            raise ValueError(f"pool {self.name}: gpus ({self.gpus}) must be at least 1 per replica")
        if not 0 < self.cost < float("inf"):
            raise ValueError(f"pool {self.name}: cost ({self.cost}) must be above 0 per GPU-hour")
        if self.min_replicas < 0:
            raise ValueError(f"pool {self.name}: min_replicas ({self.min_replicas}) must not be negative")
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"pool {self.name}: min_replicas ({self.min_replicas}) exceeds max_replicas ({self.max_replicas})"
            )

    @property
    def price(self) -> float:
        """Cost of one replica per hour."""
        return self.gpus * self.cost


@dataclass(frozen=True, slots=True)
class Policy:
    """One SLA, the pools that keep it, and how to decide."""

    law: str  # "slo", "classic" or "static"
    sla: Sla
    pools: tuple[Pool, ...]
    interval_s: float = 60.0  # between full decisions
    predictor: str = "default"
    budget_gpus: int | None = None  # hard: never asked for more in all pools together
    stabilization_s: float = 300.0  # a dip must outlive this before replicas go
    fixed: Mapping[str, int] = field(default_factory=dict)  # replicas by pool, law "static" only
    tuning: Tuning = field(default_factory=Tuning)  # constants of law "slo"

    def __post_init__(self) -> None:
        if not self.pools:
            raise ValueError("a policy needs at least one pool")
        names = [pool.name for pool in self.pools]
        if len(set(names)) < len(names):
            raise ValueError(f"pool names must differ: {', '.join(names)}")
        least = sum(max(1, pool.min_replicas) * pool.gpus for pool in self.pools)
        if self.budget_gpus is not None and least > self.budget_gpus:
            raise ValueError(
                f"budget ({self.budget_gpus} GPUs) is below the smallest fleet that serves ({least} GPUs: "
                + ", ".join(f"{max(1, p.min_replicas)} × {p.gpus} in {p.name}" for p in self.pools)
                + ")"
            )

    def slot_s(self, at: float) -> float:
        """The start of the interval that ``at`` lies in, on the epoch's grid; series are learnt on this grid."""
        return math.floor(at / self.interval_s + 1e-9) * self.interval_s

    def pool(self, name: str) -> Pool:
        """The pool called ``name``; ``KeyError`` if there is none."""
        for pool in self.pools:
            if pool.name == name:
                return pool
        raise KeyError(name)
