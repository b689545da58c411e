"""What share of requests a pool of n replicas would let down, and how long they would wait.

Each model answers ``miss(n, rate)``: non-increasing in ``n`` and in the target,
non-decreasing in the rate and in the engine's slowness. Beyond saturation it
goes on growing past 1, so that an overload still tells pools apart.
``n`` may be fractional: prices are derivatives.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from planner.core import tuning
from planner.core.load import Load
from planner.core.policy import Pool, Sla
from planner.core.profiles import DecodeSurface
from planner.core.types import Role

GRID = 32
"""Points of the throughput table of a replica: 3 % apart for a hundred sequences, enough for a headroom of 10 %."""


class PoolModel(Protocol):
    """What sizing needs to know of one pool under one load."""

    @property
    def pool(self) -> Pool:
        """Whose model it is."""

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
    mean_s: float  # of the services
    mean_square: float  # of the services, s²

    # A job whose service leaves (almost) no time to wait is sized as if it left ``LEAST_WAIT`` of that
    # service: nobody can be faster than alone, and the answer stays monotone in the target.

    @classmethod
    def of(cls, services_s: tuple[float, ...], shares: tuple[float, ...], allowed_s: float, load: Load) -> Queue:
        """The queue with its moments."""
        weighted = [s * p for s, p in zip(services_s, shares, strict=True)]
        square = sum(w * s for w, s in zip(weighted, services_s, strict=True))
        return cls(services_s, shares, allowed_s, load, sum(weighted), square)

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
        return rate * (self.mean_square + (self.load.dispersion_at(rate) - 1.0) * self.mean_s**2)

    def miss(self, n: float, rate: float) -> float:
        """Share of jobs with wait + service above ``allowed_s``; beyond saturation 1 + the shortage."""
        if rate <= tuning.LEAST_RATE:
            return 0.0
        busy = rate * self.mean_s
        if n <= busy:
            return 1.0 + (busy - n) / max(n, 1e-9)
        decay = 2.0 * (n - busy) * n / self.spread(rate)
        late = 0.0
        for service, share in zip(self.services_s, self.shares, strict=True):
            theta = decay * max(tuning.LEAST_WAIT * service, self.allowed_s - service)
            if theta > tuning.TAIL_KNEE:  # finite bursts make the tail fall more slowly
                theta = tuning.TAIL_KNEE + tuning.TAIL_SLOPE * (theta - tuning.TAIL_KNEE)
            late += share * math.exp(-theta)
        return late

    def wait_s(self, n: float, rate: float) -> float | None:
        """Mean wait in seconds (Kingman); ``None`` at or beyond saturation."""
        busy = rate * self.mean_s
        if n <= busy:
            return None
        waits = (busy / n) ** math.sqrt(2.0 * (n + 1.0) - 1.0) if self.load.dispersion <= 1.0 else busy / n
        return waits * self.spread(rate) / (2.0 * n * (n - busy))


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
        queue = Queue.of(services, load.input_tokens.shares, sla.ttft_s - tuning.HANDOVER_S, load)
        return cls(pool, sla, load, queue)

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
class Decoding:
    """What one replica can decode at a mean context: tokens per second by sequences in flight.

    More sequences must never count for less: measured throughput falls again when the KV cache is nearly
    full, and a looser ITL would then ask for more replicas. So the best throughput *up to* a number of
    sequences is what a replica is worth (a replica may always run fewer).
    """

    surface: DecodeSurface
    context_tokens: float
    sequences: tuple[float, ...]  # grid, ascending from 1
    tokens_per_s: tuple[float, ...]  # best up to there, non-decreasing

    @classmethod
    def of(cls, surface: DecodeSurface, context_tokens: float) -> Decoding:
        """The table of ``surface`` at ``context_tokens``, on a geometric grid up to a full KV cache."""
        fullest = max(1.0, surface.kv_capacity_tokens / context_tokens)
        grid = tuple(fullest ** (i / GRID) for i in range(GRID + 1))
        speeds = accumulate((n / surface.itl_s(n, context_tokens) for n in grid), max)
        return cls(surface, context_tokens, grid, tuple(speeds))

    def best(self, held: float) -> float:
        """Best tokens per second of one replica with at most ``held`` sequences."""
        grid, speeds = self.sequences, self.tokens_per_s
        i = bisect_right(grid, held)
        if i == 0:
            return speeds[0] * held / grid[0]
        if i == len(grid):
            return speeds[-1]
        return speeds[i - 1] + (speeds[i] - speeds[i - 1]) * (held - grid[i - 1]) / (grid[i] - grid[i - 1])

    def within(self, itl_s: float) -> float:
        """Sequences of a replica as full as ``itl_s`` allows; never below one."""
        return max(1.0, self.surface.sequences_within(itl_s, self.context_tokens))

    def in_flight(self, tokens_per_s: float) -> tuple[float, float] | None:
        """(sequences that sustain ``tokens_per_s``, tokens per second that one more would add).

        ``None`` when no number of sequences does.
        """
        speeds = self.tokens_per_s
        if tokens_per_s >= speeds[-1]:
            return None
        i = bisect_right(speeds, tokens_per_s)
        if i == 0:
            return max(tokens_per_s / speeds[0], 1e-9) * self.sequences[0], speeds[0] / self.sequences[0]
        slope = (speeds[i] - speeds[i - 1]) / (self.sequences[i] - self.sequences[i - 1])
        return self.sequences[i - 1] + (tokens_per_s - speeds[i - 1]) / slope, slope

    def itl_s(self, tokens_per_s: float, free: float) -> float | None:
        """ITL in seconds of a replica that gives ``free`` of its time to decode (Little's law: N over throughput)."""
        point = self.in_flight(tokens_per_s / free) if free > 0 else None
        if point is None:
            return None
        return max(point[0], 1.0) / max(tokens_per_s, self.tokens_per_s[0] * free)

    def slow(self, n: float, free: float, tokens_per_s: float, osl: float, held: float, dispersion: float) -> float:
        """Share of requests whose ITL is above what ``held`` sequences a replica have: P(N > n · held).

        The number N of sequences in flight goes back and forth around its fixed point (Little's law):
        arrivals push it with variance rate · I, departures with rate, and it relaxes within
        τ = OSL / (dX/dN), the slower the nearer throughput X is to its ceiling. So N is normal with variance
        rate · (I + 1) · τ / 2 (Ornstein-Uhlenbeck). Beyond the fixed point's end it grows with the shortage.
        """
        each = tokens_per_s / (n * free)
        shortage = each / self.best(held) - 1.0
        point = self.in_flight(each) if shortage < 0 else None
        if point is None:
            return 0.5 + max(0.0, shortage)
        mean, slope = point
        relaxes_s = min(osl / (free * slope), tuning.LONGEST_RELAXATION_S)
        spread = math.sqrt(tokens_per_s / osl * (dispersion + 1.0) * relaxes_s / 2.0)
        return 0.5 * math.erfc(n * (held - mean) / max(spread, 1.0) / math.sqrt(2.0))


@dataclass(frozen=True, slots=True)
class DecodeModel:
    """A pool whose replicas decode many sequences at once; all share the step.

    Little's law gives the sequences in flight and the ITL they share; ``Decoding.slow`` how far they stray.
    """

    pool: Pool
    sla: Sla
    load: Load
    slowness: float
    decoding: Decoding
    alone_s: float  # ITL of a single sequence: the best reachable
    held: float  # sequences of a replica as full as the target allows
    tokens: float  # mean output of a request

    @classmethod
    def of(cls, pool: Pool, sla: Sla, load: Load, slowness: float) -> DecodeModel:
        """The model of ``pool`` whose engine takes ``slowness`` × the profiled time."""
        decoding = Decoding.of(pool.profile.decode, load.context_tokens)
        alone = slowness * pool.profile.decode.itl_s(1.0, load.context_tokens)
        held = decoding.within(max(sla.itl_s, alone) / slowness)
        return cls(pool, sla, load, slowness, decoding, alone, held, load.output_tokens.mean)

    def miss(self, n: float, rate: float) -> float:
        if rate <= tuning.LEAST_RATE:
            return 0.0
        burst = self.load.dispersion_at(rate)
        return self.decoding.slow(n, 1.0 / self.slowness, rate * self.tokens, self.tokens, self.held, burst)

    def busy(self, rate: float) -> float:
        return rate * self.tokens * self.slowness / self.decoding.best(self.held)

    def ttft_s(self, n: float, rate: float) -> float | None:
        return None

    def itl_s(self, n: float, rate: float) -> float | None:
        return self.decoding.itl_s(rate * self.tokens / max(n, 1e-9), 1.0 / self.slowness)

    @property
    def hopeless(self) -> float:
        return 1.0 if self.alone_s > self.sla.itl_s else 0.0

    @property
    def reachable(self) -> tuple[str, float, float] | None:
        return ("ITL", self.sla.itl_s, self.alone_s) if self.alone_s > self.sla.itl_s else None


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
    decoding: Decoding
    alone_s: float  # ITL of a single sequence without prompts: the best reachable
    prompts: Queue  # the prompts' own work, whatever the steps add
    prompt_tokens: tuple[float, float, float]  # their mean, mean square, and mean product with that work
    answers: tuple[tuple[float, float], ...]  # (√tokens, share)
    tokens: float  # mean output of a request

    @classmethod
    def of(cls, pool: Pool, sla: Sla, load: Load, slowness: float) -> AggregatedModel:
        """The model of ``pool`` whose engine takes ``slowness`` × the profiled time."""
        alone = slowness * pool.profile.decode.itl_s(1.0, load.context_tokens)
        lengths = load.input_tokens
        services = tuple(slowness * pool.profile.prefill.service_s(tokens) for tokens in lengths.values)
        prompts = Queue.of(services, lengths.shares, sla.ttft_s - 1.5 * alone, load)
        decoding = Decoding.of(pool.profile.decode, load.context_tokens)
        product = sum(s * t * p for s, t, p in zip(services, lengths.values, lengths.shares, strict=True))
        moments, outputs = (lengths.mean, lengths.mean_square, product), load.output_tokens
        answers = tuple((math.sqrt(t), p) for t, p in zip(outputs.values, outputs.shares, strict=True))
        return cls(pool, sla, load, slowness, decoding, alone, prompts, moments, answers, outputs.mean)

    def miss(self, n: float, rate: float) -> float:
        if rate <= tuning.LEAST_RATE:
            return 0.0
        busy = rate * self.prompts.mean_s
        free = 1.0 - busy / n
        if free <= 0.05:
            return 2.0 + (busy - 0.95 * n) / n
        itl = self.itl_s(n, rate)
        slow = self.decoding.slow(
            n, free / self.slowness, rate * self.tokens, self.tokens, self._held(free), self.load.dispersion_at(rate)
        )
        if itl is None:
            return 1.0 + slow + self._waiting(max(self.sla.itl_s, self.alone_s) * free).miss(n, rate)
        return slow + self._unlucky(n, rate, itl * free) + self._waiting(itl * free).miss(n, rate)

    def busy(self, rate: float) -> float:
        """Fractional n that both kinds of work would keep busy if neither disturbed the other."""
        return rate * (self.prompts.mean_s + self.tokens * self.slowness / self.decoding.best(self._held(1.0)))

    def ttft_s(self, n: float, rate: float) -> float | None:
        step = self.itl_s(n, rate)
        if step is None:
            return None
        queue = self._waiting(step)
        wait = queue.wait_s(n, rate)
        return None if wait is None else wait + queue.mean_s + 0.5 * step

    def itl_s(self, n: float, rate: float) -> float | None:
        free = 1.0 - rate * self.prompts.mean_s / max(n, 1e-9)
        return self.decoding.itl_s(rate * self.tokens / max(n, 1e-9), free / self.slowness)

    @property
    def hopeless(self) -> float:
        return 1.0 if self.alone_s > self.sla.itl_s else self._waiting(self.alone_s).hopeless

    @property
    def reachable(self) -> tuple[str, float, float] | None:
        if self.alone_s > self.sla.itl_s:
            return ("ITL", self.sla.itl_s, self.alone_s)
        best = self._waiting(self.alone_s).within(self.sla.goal) + 1.5 * self.alone_s
        return ("TTFT", self.sla.ttft_s, best) if best > self.sla.ttft_s else None

    def _held(self, free: float) -> float:
        """Sequences of a replica that has ``free`` of its time for decode."""
        return self.decoding.within(max(self.sla.itl_s, self.alone_s) * free / self.slowness)

    def _unlucky(self, n: float, rate: float, step_s: float) -> float:
        """Share of requests whose tokens shared the worker with too many prompts, though the mean is fine.

        OSL tokens must come within T = OSL · target. Their steps need OSL · τ of it (``step_s``), prompts that
        arrive meanwhile φ · T on the mean; what those take is normal with the variance of bursts, which all
        workers feel alike, and of the prompts that fell to this one.
        """
        busy, target = rate * self.prompts.mean_s / n, max(self.sla.itl_s, tuning.LEAST_SLACK * self.alone_s)
        per_second = self.prompts.spread(rate) / n**2 + rate / n * self.prompts.mean_square
        slack = ((1.0 - busy) * target - step_s) / math.sqrt(2.0 * per_second * target)  # of one token
        return sum(0.5 * share * math.erfc(slack * root) for root, share in self.answers)

    def _waiting(self, step_s: float) -> Queue:
        """Prompts waiting for chunks; each chunk also carries a decode step of ``step_s``."""
        each, prompts = step_s / self.pool.chunk_tokens, self.prompts
        mean, square, product = self.prompt_tokens
        services = tuple([s + each * t for s, t in zip(prompts.services_s, self.load.input_tokens.values, strict=True)])
        mean_square = prompts.mean_square + 2.0 * each * product + each**2 * square
        allowed_s = self.sla.ttft_s - 1.5 * step_s
        return Queue(services, prompts.shares, allowed_s, self.load, prompts.mean_s + each * mean, mean_square)


def model_of(pool: Pool, sla: Sla, load: Load, slowness: float) -> PoolModel:
    """The model for the pool's role; ``slowness`` is observed over profiled time (1: the profile is right)."""
    if pool.role is Role.PREFILL:
        return PrefillModel.of(pool, sla, load, slowness)
    if pool.role is Role.DECODE:
        return DecodeModel.of(pool, sla, load, slowness)
    return AggregatedModel.of(pool, sla, load, slowness)
