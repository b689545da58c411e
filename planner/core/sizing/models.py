"""What share of requests a pool of n replicas would let down, and how long they would wait.

Each model answers ``miss(n, rate)``: non-increasing in ``n`` and in the target,
non-decreasing in the rate and in the engine's slowness. Beyond saturation it
goes on growing past 1, so that an overload still tells pools apart.
``n`` may be fractional: prices are derivatives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from planner.core import tuning
from planner.core.load import Load
from planner.core.policy import Pool, Sla
from planner.core.types import Role


class PoolModel(Protocol):
    """What sizing needs to know of one pool under one load."""

    def miss(self, n: float, rate: float) -> float:
        """Share of requests that this pool alone makes miss its promise with ``n`` replicas."""

    def busy(self, rate: float) -> float:
        """Replicas that would be busy all the time: what utilisation 1 would need."""

    def ttft_s(self, n: float, rate: float) -> float | None:
        """Expected TTFT contribution in seconds; ``None`` when there is no steady state."""

    def itl_s(self, n: float, rate: float) -> float | None:
        """Expected ITL in seconds; ``None`` when there is no steady state or no decode here."""

    @property
    def hopeless(self) -> float:
        """Share of requests that miss with any number of replicas."""

    @property
    def reachable(self) -> tuple[str, float, float] | None:
        """(what, target, best reachable) when no fleet keeps the goal, else ``None``."""


@dataclass(frozen=True, slots=True)
class Queue:
    """Work that waits for n servers: each job takes ``services_s`` with ``shares``.

    Wait tail: the work in the system drains at n seconds per second and has variance rate
    rate · E[s²]-like · (dispersion + c²), so P(W > b) ≈ exp(−2 (n − A) n b / (rate s̄² (I + c²)))
    with A = rate · s̄ (Kingman's heavy-traffic exponential; Kingman 1962, Whitt's GI/G/n form).
    """

    services_s: tuple[float, ...]
    shares: tuple[float, ...]
    allowed_s: float  # wait + service
    load: Load

    # A job whose service leaves (almost) no time to wait is sized as if it left ``LEAST_WAIT`` of a mean
    # service: nobody can be faster than alone, and the answer stays monotone in the target.

    @property
    def mean_s(self) -> float:
        """Mean service time in seconds."""
        return sum(s * p for s, p in zip(self.services_s, self.shares, strict=True))

    @property
    def hopeless(self) -> float:
        """Share of jobs whose service alone outlasts what is allowed."""
        return sum(p for s, p in zip(self.services_s, self.shares, strict=True) if s > self.allowed_s)

    def within(self, share: float) -> float:
        """Service time in seconds that ``share`` of the jobs do not exceed."""
        reached = 0.0
        for service, part in sorted(zip(self.services_s, self.shares, strict=True)):
            reached += part
            if reached >= share - 1e-9:
                return service
        return max(self.services_s)

    def spread(self, rate: float) -> float:
        """Variance of the work that arrives per second, in s²/s."""
        square = sum(s * s * p for s, p in zip(self.services_s, self.shares, strict=True))
        return rate * (square + (self.load.dispersion_at(rate) - 1.0) * self.mean_s**2)

    def miss(self, n: float, rate: float) -> float:
        """Share of jobs with wait + service above ``allowed_s``; beyond saturation 1 + the shortage."""
        if rate <= 0:
            return 0.0
        busy = rate * self.mean_s
        if n <= busy:
            return 1.0 + (busy - n) / max(n, 1e-9)
        decay = 2.0 * (n - busy) * n / self.spread(rate)
        least = tuning.LEAST_WAIT * self.mean_s
        late = 0.0
        for service, share in zip(self.services_s, self.shares, strict=True):
            late += share * math.exp(-_flattened(decay * max(least, self.allowed_s - service)))
        return late

    def wait_s(self, n: float, rate: float) -> float | None:
        """Mean wait in seconds (Kingman); ``None`` at or beyond saturation."""
        busy = rate * self.mean_s
        if n <= busy:
            return None
        waits = (busy / n) ** math.sqrt(2.0 * (n + 1.0) - 1.0) if self.load.dispersion <= 1.0 else busy / n
        return waits * self.spread(rate) / (2.0 * n * (n - busy))


def _flattened(theta: float) -> float:
    """Exponent of the wait tail, falling more slowly beyond the knee."""
    knee = tuning.TAIL_KNEE
    return theta if theta <= knee else knee + tuning.TAIL_SLOPE * (theta - knee)


@dataclass(frozen=True, slots=True)
class PrefillModel:
    """A pool that prefills prompts first come, first served, one at a time per replica."""

    pool: Pool
    sla: Sla
    load: Load
    queue: Queue

    @classmethod
    def of(cls, pool: Pool, sla: Sla, load: Load, slowness: float) -> PrefillModel:
        """The model of ``pool`` whose engine takes ``slowness`` × the profiled time."""
        curve = pool.profile.prefill
        services = tuple(slowness * curve.service_s(tokens) for tokens in load.input_tokens.values)
        return cls(pool, sla, load, Queue(services, load.input_tokens.shares, sla.ttft_s - tuning.HANDOVER_S, load))

    def miss(self, n: float, rate: float) -> float:
        return self.queue.miss(n, rate)

    def busy(self, rate: float) -> float:
        return rate * self.queue.mean_s

    def ttft_s(self, n: float, rate: float) -> float | None:
        wait = self.queue.wait_s(n, rate)
        return None if wait is None else wait + self.queue.mean_s + tuning.HANDOVER_S

    def itl_s(self, n: float, rate: float) -> float | None:
        return None

    @property
    def hopeless(self) -> float:
        return self.queue.hopeless

    @property
    def reachable(self) -> tuple[str, float, float] | None:
        best = self.queue.within(self.sla.goal) + tuning.HANDOVER_S
        return ("TTFT", self.sla.ttft_s, best) if self.sla.ttft_s < best else None


@dataclass(frozen=True, slots=True)
class DecodeModel:
    """A pool whose replicas decode many sequences at once; all share the step.

    Little's law: at the target ITL there are N = rate · OSL · ITL sequences in flight, against n times
    what a replica holds within the target. N fluctuates: Poisson arrivals over a residence give √N,
    burstiness inflates it, and a request's *mean* ITL averages over its residence, which halves it:
    σ/N = √((I + 1) / (4 N)). Miss = P(N > n · held), normal tail.
    """

    pool: Pool
    sla: Sla
    load: Load
    slowness: float
    held: float  # sequences one replica holds within the ITL, at least 1
    target_s: float  # the ITL aimed for: the SLA's, or the best reachable

    @classmethod
    def of(cls, pool: Pool, sla: Sla, load: Load, slowness: float) -> DecodeModel:
        """The model of ``pool`` whose engine takes ``slowness`` × the profiled time."""
        surface = pool.profile.decode
        best = slowness * surface.itl_s(1.0, load.context_tokens)
        fullest = max(1.0, surface.kv_capacity_tokens / load.context_tokens)
        worst = slowness * surface.itl_s(fullest, load.context_tokens)  # a full KV cache: slower it cannot get
        target = min(max(sla.itl_s, best), max(worst, best))
        held = max(1.0, surface.sequences_within(target / slowness, load.context_tokens))
        return cls(pool, sla, load, slowness, held, target)

    def miss(self, n: float, rate: float) -> float:
        if rate <= 0:
            return 0.0
        flight = rate * self.load.output_tokens.mean * self.target_s
        slack = n * self.held / flight - 1.0
        if slack <= -0.5:
            return 0.5 - slack  # continued linearly: 1 at half, growing with the shortage
        spread = math.sqrt((self.load.dispersion_at(rate) + 1.0) / (4.0 * max(flight, 1.0)))
        return min(1.0, 0.5 * math.erfc(slack / spread / math.sqrt(2.0)))

    def busy(self, rate: float) -> float:
        return rate * self.load.output_tokens.mean * self.target_s / self.held

    def ttft_s(self, n: float, rate: float) -> float | None:
        return None

    def itl_s(self, n: float, rate: float) -> float | None:
        per_replica = rate * self.load.output_tokens.mean / max(n, 1e-9)
        return _step_s(self.pool, self.slowness, per_replica, self.load.context_tokens, 0.0)

    @property
    def hopeless(self) -> float:
        return 1.0 if self.target_s > self.sla.itl_s else 0.0

    @property
    def reachable(self) -> tuple[str, float, float] | None:
        return ("ITL", self.sla.itl_s, self.target_s) if self.target_s > self.sla.itl_s else None


@dataclass(frozen=True, slots=True)
class AggregatedModel:
    """A pool that prefills in chunks between decode steps: both promises at once.

    A share φ = rate · s̄ / n of the time goes to prompts, so a step that takes τ alone takes τ / (1 − φ);
    a prompt of S tokens needs S / chunk steps, each as long as the decode step that carries it.
    """

    pool: Pool
    sla: Sla
    load: Load
    slowness: float

    @classmethod
    def of(cls, pool: Pool, sla: Sla, load: Load, slowness: float) -> AggregatedModel:
        """The model of ``pool`` whose engine takes ``slowness`` × the profiled time."""
        return cls(pool, sla, load, slowness)

    def miss(self, n: float, rate: float) -> float:
        if rate <= 0:
            return 0.0
        busy = self._prefill_busy(rate)
        free = 1.0 - busy / n
        if free <= 0.05:
            return 2.0 + (busy - 0.95 * n) / n
        return self._late(n, rate, free) + self._slow(n, rate, free)

    def busy(self, rate: float) -> float:
        """Smallest fractional n with both kinds of work done in time on the mean."""
        tokens = rate * self.load.output_tokens.mean
        low, high = self._prefill_busy(rate), self._prefill_busy(rate) + tokens * self._target_s + 1.0
        for _ in range(40):
            n = 0.5 * (low + high)
            free = 1.0 - self._prefill_busy(rate) / n
            fits = free > 0 and n * self._held(free) >= tokens * self._target_s
            low, high = (low, n) if fits else (n, high)
        return high

    def ttft_s(self, n: float, rate: float) -> float | None:
        step = self.itl_s(n, rate)
        if step is None:
            return None
        queue = self._queue(n, rate, step)
        wait = queue.wait_s(n, rate)
        return None if wait is None else wait + queue.mean_s + 0.5 * step

    def itl_s(self, n: float, rate: float) -> float | None:
        per_replica = rate * self.load.output_tokens.mean / max(n, 1e-9)
        share = self._prefill_busy(rate) / max(n, 1e-9)
        return _step_s(self.pool, self.slowness, per_replica, self.load.context_tokens, share)

    @property
    def hopeless(self) -> float:
        if self._alone_s > self.sla.itl_s:
            return 1.0
        return self._queue(1.0, 0.0, self._alone_s).hopeless

    @property
    def reachable(self) -> tuple[str, float, float] | None:
        if self._alone_s > self.sla.itl_s:
            return ("ITL", self.sla.itl_s, self._alone_s)
        best = self._queue(1.0, 0.0, self._alone_s).within(self.sla.goal) + 1.5 * self._alone_s
        return ("TTFT", self.sla.ttft_s, best) if best > self.sla.ttft_s else None

    @property
    def _alone_s(self) -> float:
        return self.slowness * self.pool.profile.decode.itl_s(1.0, self.load.context_tokens)

    @property
    def _target_s(self) -> float:
        surface = self.pool.profile.decode
        fullest = max(1.0, surface.kv_capacity_tokens / self.load.context_tokens)
        worst = 2.0 * self.slowness * surface.itl_s(fullest, self.load.context_tokens)  # half of it for prompts
        return min(max(self.sla.itl_s, self._alone_s), max(worst, self._alone_s))

    def _services(self) -> tuple[float, ...]:
        curve = self.pool.profile.prefill
        return tuple(self.slowness * curve.service_s(tokens) for tokens in self.load.input_tokens.values)

    def _prefill_busy(self, rate: float) -> float:
        shares = self.load.input_tokens.shares
        return rate * sum(s * p for s, p in zip(self._services(), shares, strict=True))

    def _held(self, free: float) -> float:
        surface = self.pool.profile.decode
        return max(1.0, surface.sequences_within(self._target_s * free / self.slowness, self.load.context_tokens))

    def _slow(self, n: float, rate: float, free: float) -> float:
        flight = rate * self.load.output_tokens.mean * self._target_s
        slack = n * self._held(free) / flight - 1.0
        if slack <= -0.5:
            return 0.5 - slack
        spread = math.sqrt((self.load.dispersion_at(rate) + 1.0) / (4.0 * max(flight, 1.0)))
        return min(1.0, 0.5 * math.erfc(slack / spread / math.sqrt(2.0)))

    def _late(self, n: float, rate: float, free: float) -> float:
        step = self.itl_s(n, rate)
        decode = self._target_s if step is None else step
        return self._queue(n, rate, decode * free).miss(n, rate)

    def _queue(self, n: float, rate: float, step_s: float) -> Queue:
        """Prompts waiting for chunks; each chunk also carries a decode step."""
        lengths = self.load.input_tokens
        services = tuple(
            s + step_s * tokens / self.pool.chunk_tokens
            for s, tokens in zip(self._services(), lengths.values, strict=True)
        )
        return Queue(services, lengths.shares, self.sla.ttft_s - 1.5 * step_s, self.load)


def _step_s(pool: Pool, slowness: float, tokens_per_s: float, context: float, prefill_share: float) -> float | None:
    """Fixed point of Little's law: the step time τ with τ = slowness · itl(tokens_per_s · τ / (1 − φ)) seen as ITL.

    Solved by bisection between the step of one sequence and 2 s; ``None`` when tokens come faster than they go.
    """
    free = 1.0 - prefill_share
    if free <= 0:
        return None
    surface = pool.profile.decode

    def excess(itl: float) -> float:
        return slowness * surface.itl_s(max(1.0, tokens_per_s * itl), context) / free - itl

    low, high = slowness * surface.itl_s(1.0, context) / free, 2.0
    if excess(low) <= 0:
        return low
    if excess(high) > 0:
        return None
    for _ in range(30):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return high


MODELS = {Role.PREFILL: PrefillModel, Role.DECODE: DecodeModel, Role.AGGREGATED: AggregatedModel}


def model_of(pool: Pool, sla: Sla, load: Load, slowness: float) -> PoolModel:
    """The model for the pool's role; ``slowness`` is observed over profiled time (1: the profile is right)."""
    return MODELS[pool.role].of(pool, sla, load, slowness)
