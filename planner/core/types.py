"""The planner's vocabulary: what it is told and what it answers.

Seconds and tokens, everywhere. ``None`` means *not measured*; zero means
*measured, and nothing was there*. Replicas are mappings by pool name; a pool's
role is an attribute of the policy's pool, never a special case here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from planner.core.histogram import Histogram


class Role(StrEnum):
    """What the workers of a pool do."""

    PREFILL = "prefill"
    DECODE = "decode"
    AGGREGATED = "aggregated"


@dataclass(frozen=True, slots=True)
class Window:
    """What the front door counted between two scrapes, ``seconds`` apart.

    Requests and input lengths are of the load that *arrived* or got its first
    token in the window; output lengths of requests that *finished* in it.
    """

    seconds: float
    started: float | None = None  # requests that arrived
    finished: float | None = None  # requests that ended, well or badly
    input_tokens: Histogram | None = None  # ISL of requests that got their first token
    output_tokens: Histogram | None = None  # OSL of requests that finished
    cached_tokens: float | None = None  # input tokens answered from the prefix cache, same requests as input_tokens
    generated_tokens: float | None = None  # output tokens produced, live
    ttft: Histogram | None = None  # seconds, requests that got their first token
    itl: Histogram | None = None  # seconds, one value per token gap
    duration: Histogram | None = None  # seconds, requests that finished


@dataclass(frozen=True, slots=True)
class WorkerReading:
    """One replica that serves: its gauges, and its last step as an engine's own events would tell.

    Simulated peers see it where their original does; it is neither logged nor part of equality.
    """

    name: str
    running: float
    waiting: float
    waiting_tokens: float  # of the requests that wait: prompts, and what preempted ones had grown to
    kv_usage: float  # 0 … 1
    gaps: float  # token gaps since the worker started
    gaps_s: float  # and the seconds they took together
    prompt_tokens: float = 0.0  # being prefilled in the step under way, cached ones left out
    prompt_s: float = 0.0  # how long that takes


@dataclass(frozen=True, slots=True)
class PoolReading:
    """What one pool looked like at the moment of the scrape."""

    requested: int  # asked for, started or not; what is ready where nobody says (``requested_known``)
    ready: int  # serving now
    starting_s: tuple[float, ...] = ()  # age of each replica that was asked for and is not ready yet
    startups_s: tuple[float, ...] = ()  # creation → ready of replicas that became ready since the last scrape
    running: float | None = None  # requests being worked on, all replicas
    waiting: float | None = None  # requests queued, all replicas
    pending_tokens: float | None = None  # prompt tokens queued or being prefilled, all replicas
    kv_usage: float | None = None  # mean share of KV blocks in use, 0 … 1
    kv_usage_max: float | None = None  # of the fullest replica
    step_seconds: Histogram | None = None  # engine's own inter-token latency over the window
    request_itl: Histogram | None = None  # aggregated: seconds, one value per request that finished: its own mean
    worker_steps: tuple[tuple[float, float], ...] = ()  # (mean ITL in seconds, token gaps) of each worker, window
    backlog: tuple[float, ...] | None = None  # waiting requests per replica, where the source tells
    requested_known: bool = True  # False: the source counts what serves, and nobody says what was asked for
    workers: tuple[WorkerReading, ...] = field(default=(), compare=False, metadata={"logged": False})


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything one step may know about the world, as of ``at``."""

    at: float  # seconds since the epoch of the driver's clock
    pools: Mapping[str, PoolReading]
    window: Window | None = None  # None: blind since the last observation
    problems: tuple[str, ...] = ()  # named conditions met while reading, for people


class Reason(StrEnum):
    """Why a number is what it is."""

    SIZED = "sized"
    FAST_PATH = "fast-path"
    HELD_BLIND = "held-no-data"
    HELD_BETWEEN = "held-between-decisions"
    HELD_STARTING = "held-nothing-learnt-yet"
    IDLE = "no-traffic"
    FIXED = "fixed"
    MIN_REPLICAS = "min-replicas"
    MAX_REPLICAS = "max-replicas"
    STABILIZATION = "scale-down-stabilization"
    STEP_UP = "scale-up-step"
    GPU_BUDGET = "gpu-budget"
    SHARED_BUDGET = "shared-budget"
    INFEASIBLE = "infeasible-sla"
    OVERDUE = "overdue-replicas"


@dataclass(frozen=True, slots=True)
class Adjustment:
    """One rule changing one number, and its name."""

    pool: str
    reason: Reason
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class DemandForecast:
    """The load one decision was made for."""

    horizon_s: float
    rate: float  # requests per second, point forecast
    rate_low: float  # quantile 0.05 over the horizon
    rate_high: float  # quantile 0.95 over the horizon
    input_tokens: float  # per request, prefix-cache hits taken off
    output_tokens: float  # per request
    dispersion: float = 1.0  # variance over mean of arrivals per second; 1 is Poisson


@dataclass(frozen=True, slots=True)
class Expected:
    """What the decision's own model expects of the allowed fleet."""

    ttft_s: float | None
    itl_s: float | None
    attainment: float | None  # share of requests that keep both promises


@dataclass(frozen=True, slots=True)
class Decision:
    """Replicas to ask for, the replicas we wanted, what came between, and why."""

    at: float
    replicas: Mapping[str, int]  # allowed: what to ask for
    wanted: Mapping[str, int]  # before any rule
    reason: Reason
    adjustments: tuple[Adjustment, ...] = ()
    forecast: DemandForecast | None = None
    expected: Expected | None = None
    feasible: bool = True
    corrections: Mapping[str, float] = field(default_factory=dict)  # by pool: observed over profiled speed
    notes: tuple[str, ...] = ()  # sentences for people

    def summary(self) -> str:
        """One line: what, why, and what was in the way."""
        fleet = " ".join(f"{pool}={n}" for pool, n in self.replicas.items())
        rules = ", ".join(f"{a.reason.value} {a.pool} {a.before}→{a.after}" for a in self.adjustments)
        return f"{fleet} ({self.reason.value}{'; ' + rules if rules else ''})"
