"""What share of requests a pool of n replicas would let down, and how long they would wait.

Each model answers ``miss(n, rate)``: non-increasing in ``n`` and in the target,
non-decreasing in the rate and in the engine's slowness. Beyond saturation it
goes on growing past 1, so that an overload still tells pools apart. What it
counts depends on the promise that the model is asked about: a share of requests,
or the part of a mean's slack that is used up.
``n`` may be fractional: prices are derivatives.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from planner.core import tuning
from planner.core.load import Load
from planner.core.policy import Pool, Promise, Sla, What
from planner.core.profiles import DecodeCurve, DecodeSurface
from planner.core.types import Role

LEAST_FREE = 0.05
"""An aggregated replica is always left this share of its time for decode, so that a miss stays a number."""

GRID = 32
"""Points of the throughput table of a replica: 3 % apart for a hundred sequences, enough for a headroom of 10 %."""

MOST_STEPS, MEAN_STEPS = 1.5, 0.5
"""Decode steps to wait for until a prompt's first chunk starts: at most, on average."""

NEGLIGIBLE = 1e-6
"""A share of misses below this is none: a thousandth of the miss budget of a 99.9 % goal."""


@dataclass(frozen=True, slots=True)
class PoolModel(ABC):
    """What sizing needs to know of one pool under one load, asked about one promise."""

    pool: Pool
    sla: Sla
    load: Load
    promise: Promise
    _counted: dict[float, float] = field(init=False, repr=False, compare=False, default_factory=dict)

    def about(self, promise: Promise) -> PoolModel:
        """The same pool, asked about another promise."""
        return self if promise == self.promise else replace(self, promise=promise)

    def missed_per_s(self, n: float) -> float:
        """Expected missed requests per second over the equally likely rates of the pool's work; remembered."""
        if n not in self._counted:
            *_, (missed, _) = self._narrowing(n)
            self._counted[n] = missed
        return self._counted[n]

    def keeps_within(self, n: float, allowed: float) -> bool:
        """Whether ``missed_per_s`` is at most ``allowed``: most often a few of the rates tell."""
        if n in self._counted:
            return self._counted[n] <= allowed
        bounds = self._narrowing(n)
        return next(most <= allowed for least, most in bounds if most <= allowed or least > allowed)

    def _narrowing(self, n: float) -> Iterator[tuple[float, float]]:
        """Bounds of the missed requests per second, ever narrower, in the end equal.

        From the highest rate down, since lower ones miss less: next to nothing where one does.
        """
        rates = self.load.rates_of(self.pool.role)
        missed, left = 0.0, sum(rates)
        for rate in sorted(rates, reverse=True):
            share = self.miss(n, rate)
            if share < NEGLIGIBLE:
                break
            missed, left = missed + rate * share, left - rate
            yield missed / len(rates), (missed + left * share) / len(rates)
        yield missed / len(rates), missed / len(rates)

    def miss(self, n: float, rate: float) -> float:
        """What this pool alone takes from the promise with ``n`` replicas, of every request (``Measure.allowance``).

        Of a share: the requests that miss it. Of a mean: latency beyond what nobody can avoid, over what the target
        leaves for that.
        """
        return 0.0 if rate <= tuning.LEAST_RATE else self._miss(n, rate)

    @abstractmethod
    def _miss(self, n: float, rate: float) -> float:
        """``miss`` at a rate that is some."""

    @abstractmethod
    def busy(self, rate: float) -> float:
        """Replicas that would be busy all the time: what utilisation 1 would need."""

    @abstractmethod
    def ttft_s(self, n: float, rate: float) -> float | None:
        """Expected TTFT contribution in seconds; ``None`` when there is no steady state."""

    @abstractmethod
    def itl_s(self, n: float, rate: float) -> float | None:
        """Expected ITL in seconds; ``None`` when there is no steady state or no decode here."""

    @property
    @abstractmethod
    def hopeless(self) -> float:
        """Share of requests that miss with any number of replicas."""

    @property
    @abstractmethod
    def best_s(self) -> Mapping[What, float]:
        """The best that the promise's measure of each latency can be, in seconds, with any number of replicas."""

    @property
    def reachable(self) -> tuple[str, float, float] | None:
        """(what, target, best reachable) when no fleet keeps the goal, else ``None``."""
        for what, best in self.best_s.items():
            if what in self.promise.latencies and best > self.sla.target_s(what):
                name = what.value.upper() if self.promise.what is What.BOTH else self.promise.name
                return name, self.sla.target_s(what), best
        return None

    @property
    def _is_mean(self) -> bool:
        return self.promise.measure.share is None


def used_up(mean_s: float, best_s: float, target_s: float, least: float) -> float:
    """The part of a mean target's slack that ``mean_s`` takes; slack is never below ``least`` of the best there is."""
    return max(0.0, mean_s - best_s) / max(least * best_s, target_s - best_s)


@dataclass(frozen=True, slots=True)
class Queue:
    """Work that waits for n servers: each job takes its own time, and that of the decode steps that carry it, if any.

    Wait tail: the work in the system drains at n seconds per second and has variance rate
    rate · E[s²]-like · (dispersion + c²), so P(W > b) ≈ exp(−2 (n − A) n b / (rate s̄² (I + c²)))
    with A = rate · s̄ (Kingman's heavy-traffic exponential; Kingman 1962, Whitt's GI/G/n form).
    """

    jobs: tuple[tuple[float, float, float], ...]  # (seconds, steps, share)
    allowed_s: float  # wait + service, and as many steps as pass until a job may start
    load: Load
    mean_s: float  # of the seconds, without steps
    mean_square: float  # of the seconds, s²
    steps: tuple[float, float, float]  # their mean, mean square, and mean product with the seconds

    # A job whose service leaves (almost) no time to wait is sized as if it left ``LEAST_WAIT`` of that
    # service: nobody can be faster than alone, and the answer stays monotone in the target.

    @classmethod
    def of(cls, services_s: Sequence[float], steps: Sequence[float], allowed_s: float, load: Load) -> Queue:
        """The queue of the load's prompts, with its moments."""
        jobs = tuple(zip(services_s, steps, load.input_tokens.shares, strict=True))
        moments = (
            sum(k * p for _, k, p in jobs),
            sum(k * k * p for _, k, p in jobs),
            sum(s * k * p for s, k, p in jobs),
        )
        return cls(jobs, allowed_s, load, sum(s * p for s, _, p in jobs), sum(s * p * s for s, _, p in jobs), moments)

    def hopeless(self, step_s: float = 0.0) -> float:
        """Share of jobs whose service alone outlasts what is allowed."""
        allowed_s = self.allowed_s - MOST_STEPS * step_s
        return sum(p for s, k, p in self.jobs if s + step_s * k > allowed_s)

    def within(self, share: float, step_s: float = 0.0) -> float:
        """Service time in seconds that ``share`` of the jobs do not exceed."""
        reached, services = 0.0, sorted((s + step_s * k, p) for s, k, p in self.jobs)
        for service, part in services:
            reached += part
            if reached >= share - 1e-9:
                return service
        return services[-1][0]

    def typical(self, share: float | None, step_s: float = 0.0) -> float:
        """Service time in seconds that ``share`` of the jobs do not exceed; without a share the mean."""
        return self.mean(step_s) if share is None else self.within(share, step_s)

    def mean(self, step_s: float = 0.0) -> float:
        """Mean service time in seconds."""
        return self.mean_s + step_s * self.steps[0]

    def spread(self, rate: float, step_s: float = 0.0) -> float:
        """Variance of the work that arrives per second, in s²/s."""
        mean, square, product = self.steps
        own = self.mean_square + step_s * (2.0 * product + step_s * square)
        return rate * (own + (self.load.dispersion_at(rate) - 1.0) * (self.mean_s + step_s * mean) ** 2)

    def miss(self, n: float, rate: float, step_s: float = 0.0) -> float:
        """Share of jobs with wait + service above ``allowed_s``; beyond saturation 1 + the shortage."""
        if rate <= tuning.LEAST_RATE:
            return 0.0
        busy = rate * self.mean(step_s)
        if n <= busy:
            return 1.0 + (busy - n) / max(n, 1e-9)
        decay, allowed_s = 2.0 * (n - busy) * n / self.spread(rate, step_s), self.allowed_s - MOST_STEPS * step_s
        least, knee, slope, late = tuning.LEAST_WAIT, tuning.TAIL_KNEE, tuning.TAIL_SLOPE, 0.0
        for seconds, steps, share in self.jobs:
            service = seconds + step_s * steps
            spare, floor = allowed_s - service, least * service
            theta = decay * (spare if spare > floor else floor)
            if theta > knee:  # finite bursts make the tail fall more slowly
                theta = knee + slope * (theta - knee)
            late += share * math.exp(-theta)
        return late

    def wait_s(self, n: float, rate: float, step_s: float = 0.0) -> float | None:
        """Mean wait in seconds (Kingman); ``None`` at or beyond saturation."""
        busy = rate * self.mean(step_s)
        if n <= busy:
            return None
        return self._waits(n, busy) * self.spread(rate, step_s) / (2.0 * n * (n - busy))

    def mean_wait_s(self, n: float, rate: float, step_s: float = 0.0) -> float:
        """Mean wait in seconds over a stretch of T = ``OVERLOAD_S`` that begins without a queue, saturated or not.

        Below saturation it is Kingman's w / (1 - ρ), far above it half of what is too much by the end, T (ρ - 1) / 2,
        and between the two what bends one into the other (the coordinate transformation of Kimber and Hollis 1979).
        """
        busy, stretch = rate * self.mean(step_s), tuning.OVERLOAD_S
        over = busy / n - 1.0
        w = self._waits(n, min(busy, n)) * self.spread(rate, step_s) / (2.0 * n * n)
        return 0.25 * stretch * (over + math.sqrt(over * over + 8.0 * w / stretch))

    def _waits(self, n: float, busy: float) -> float:
        """Share of jobs that must wait (Sakasegawa's exponent for smooth arrivals)."""
        return (busy / n) ** math.sqrt(2.0 * (n + 1.0) - 1.0) if self.load.dispersion <= 1.0 else busy / n


@dataclass(frozen=True, slots=True)
class PrefillModel(PoolModel):
    """A pool that prefills prompts first come, first served, one at a time per replica."""

    queue: Queue

    @classmethod
    def of(cls, pool: Pool, sla: Sla, load: Load, slowness: float) -> PrefillModel:
        """The model of ``pool`` whose engine takes ``slowness`` × the profiled time."""
        curve = pool.profile.prefill
        services = tuple(slowness * curve.service_s(tokens) for tokens in load.input_tokens.values)
        queue = Queue.of(services, [0.0] * len(services), sla.ttft_s - tuning.HANDOVER_S, load)
        return cls(pool, sla, load, sla.joint, queue)

    def _miss(self, n: float, rate: float) -> float:
        if not self._is_mean:
            return self.queue.miss(n, rate)
        alone = self.queue.mean_s + tuning.HANDOVER_S
        return used_up(alone + self.queue.mean_wait_s(n, rate), alone, self.sla.ttft_s, tuning.LEAST_WAIT)

    def busy(self, rate: float) -> float:
        return rate * self.queue.mean_s

    def ttft_s(self, n: float, rate: float) -> float | None:
        wait = self.queue.wait_s(n, rate)
        return None if wait is None else wait + self.queue.mean_s + tuning.HANDOVER_S

    def itl_s(self, n: float, rate: float) -> float | None:
        return None

    @property
    def hopeless(self) -> float:
        return 0.0 if self._is_mean else self.queue.hopeless()

    @property
    def best_s(self) -> Mapping[What, float]:
        return {What.TTFT: self.queue.typical(self.promise.measure.share) + tuning.HANDOVER_S}


@dataclass(frozen=True, slots=True)
class Decoding:
    """What one replica can decode at a mean context: tokens per second by sequences in flight.

    More sequences must never count for less: measured throughput falls again when the KV cache is nearly
    full, and a looser ITL would then ask for more replicas. So the best throughput *up to* a number of
    sequences is what a replica is worth (a replica may always run fewer).
    """

    curve: DecodeCurve
    sequences: tuple[float, ...]  # grid, ascending from 1
    tokens_per_s: tuple[float, ...]  # best up to there, non-decreasing

    @classmethod
    def of(cls, surface: DecodeSurface, context_tokens: float) -> Decoding:
        """The table of ``surface`` at ``context_tokens``, on a geometric grid up to a full KV cache."""
        curve, fullest = surface.at(context_tokens), max(1.0, surface.kv_capacity_tokens / context_tokens)
        grid = tuple(fullest ** (i / GRID) for i in range(GRID + 1))
        return cls(curve, grid, tuple(accumulate((n / curve.itl_s(n) for n in grid), max)))

    @property
    def alone_s(self) -> float:
        """ITL of a single sequence, in seconds."""
        return self.curve.itl_s(1.0)

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
        return max(1.0, self.curve.sequences_within(itl_s))

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

    def mean_itl_s(self, tokens_per_s: float, free: float) -> float:
        """``itl_s``, and beyond saturation that of a full KV cache, growing with the shortage."""
        steady = self.itl_s(tokens_per_s, free)
        most = self.tokens_per_s[-1] * free
        return self.sequences[-1] / most * max(1.0, tokens_per_s / most) if steady is None else steady

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
class DecodeModel(PoolModel):
    """A pool whose replicas decode many sequences at once; all share the step.

    Little's law gives the sequences in flight and the ITL they share; ``Decoding.slow`` how far they stray.
    """

    slowness: float
    decoding: Decoding
    alone_s: float  # ITL of a single sequence: the best reachable
    held: float  # sequences of a replica as full as the target allows
    tokens: float  # mean output of a request

    @classmethod
    def of(cls, pool: Pool, sla: Sla, load: Load, slowness: float) -> DecodeModel:
        """The model of ``pool`` whose engine takes ``slowness`` × the profiled time."""
        decoding = Decoding.of(pool.profile.decode, load.context_tokens)
        alone = slowness * decoding.alone_s
        held = decoding.within(max(sla.itl_s, alone) / slowness)
        return cls(pool, sla, load, sla.joint, slowness, decoding, alone, held, load.output_tokens.mean)

    def _miss(self, n: float, rate: float) -> float:
        if self._is_mean:
            return self._dragging(n, rate)
        above = self._above(self.held, n, rate)
        if self.promise.what is What.BOTH:
            return above
        return max(above, self.promise.measure.allowance * self._crowded(n, rate))

    def _dragging(self, n: float, rate: float) -> float:
        """Mean ITL beyond the best reachable, over what the target leaves."""
        mean = self.decoding.mean_itl_s(rate * self.tokens / n, 1.0 / self.slowness)
        return max(used_up(mean, self.alone_s, self.sla.itl_s, tuning.LEAST_SLACK - 1.0), self._crowded(n, rate))

    def _above(self, held: float, n: float, rate: float) -> float:
        """Share of requests that find more than ``held`` sequences in a replica."""
        burst = self.load.dispersion_at(rate)
        return self.decoding.slow(n, 1.0 / self.slowness, rate * self.tokens, self.tokens, held, burst)

    def _crowded(self, n: float, rate: float) -> float:
        """Share of requests that find the KV cache full, over what may: they wait to get in, or push others out."""
        return self._above(self.decoding.sequences[-1], n, rate) / tuning.CROWDED

    def busy(self, rate: float) -> float:
        return rate * self.tokens * self.slowness / self.decoding.best(self.held)

    def ttft_s(self, n: float, rate: float) -> float | None:
        return None

    def itl_s(self, n: float, rate: float) -> float | None:
        return self.decoding.itl_s(rate * self.tokens / max(n, 1e-9), 1.0 / self.slowness)

    @property
    def hopeless(self) -> float:
        return 1.0 if self.alone_s > self.sla.itl_s and not self._is_mean else 0.0

    @property
    def best_s(self) -> Mapping[What, float]:
        return {What.ITL: self.alone_s}


@dataclass(frozen=True, slots=True)
class AggregatedModel(PoolModel):
    """A pool that prefills in chunks between decode steps: both promises at once.

    A share φ = rate · s̄ / n of the time goes to prompts, so a step that takes τ alone takes τ / (1 − φ);
    a prompt of S tokens needs S / chunk steps, each as long as the decode step that carries it.
    """

    slowness: float
    decoding: Decoding
    alone_s: float  # ITL of a single sequence without prompts: the best reachable
    prompts: Queue  # carried by decode steps, one a chunk
    answers: tuple[tuple[float, float], ...]  # (√tokens, share)
    tokens: float  # mean output of a request

    @classmethod
    def of(cls, pool: Pool, sla: Sla, load: Load, slowness: float) -> AggregatedModel:
        """The model of ``pool`` whose engine takes ``slowness`` × the profiled time."""
        decoding, lengths = Decoding.of(pool.profile.decode, load.context_tokens), load.input_tokens
        alone = slowness * decoding.alone_s
        services = [slowness * pool.profile.prefill.service_s(tokens) for tokens in lengths.values]
        prompts = Queue.of(services, [tokens / pool.chunk_tokens for tokens in lengths.values], sla.ttft_s, load)
        outputs = load.output_tokens
        answers = tuple((math.sqrt(t), p) for t, p in zip(outputs.values, outputs.shares, strict=True))
        return cls(pool, sla, load, sla.joint, slowness, decoding, alone, prompts, answers, outputs.mean)

    def _miss(self, n: float, rate: float) -> float:
        if self.promise.what is What.BOTH:
            return self._either(n, rate)
        if self.promise.what is What.TTFT:
            return self._lagging(n, rate) if self._is_mean else self._late(n, rate)
        return self._dragging(n, rate) if self._is_mean else self._slow(n, rate)

    def _either(self, n: float, rate: float) -> float:
        """Share of requests that miss a target because of this pool; misses of both count twice.

        Where prompts alone take nearly all the time the shortage comes on top.
        """
        free, short = self._free(n, rate), max(0.0, rate * self.prompts.mean_s / n - (1.0 - LEAST_FREE))
        itl = self.decoding.itl_s(rate * self.tokens / n, free / self.slowness)
        slow = short + self._above(self._held(free), free, n, rate)
        if itl is None:
            return 1.0 + slow + self.prompts.miss(n, rate, max(self.sla.itl_s, self.alone_s) * free)
        return slow + self._unlucky(n, rate, itl * free) + self.prompts.miss(n, rate, itl * free)

    def _late(self, n: float, rate: float) -> float:
        """Share of requests whose TTFT is above its target."""
        return self.prompts.miss(n, rate, self._step_s(n, rate))

    def _lagging(self, n: float, rate: float) -> float:
        """Mean TTFT beyond the best reachable, over what the target leaves."""
        step = self._step_s(n, rate)
        mean = self.prompts.mean_wait_s(n, rate, step) + self.prompts.mean(step) + MEAN_STEPS * step
        return used_up(mean, self._best_ttft_s(None), self.sla.ttft_s, tuning.LEAST_WAIT)

    def _slow(self, n: float, rate: float) -> float:
        """Share of requests whose ITL is above its target."""
        free = self._free(n, rate)
        above = self._above(self._held(free), free, n, rate) + self._unlucky(n, rate, self._step_s(n, rate))
        return max(above, self.promise.measure.allowance * self._crowded(n, rate))

    def _dragging(self, n: float, rate: float) -> float:
        """Mean ITL beyond the best reachable, over what the target leaves."""
        mean = self._step_s(n, rate) / self._free(n, rate)
        return max(used_up(mean, self.alone_s, self.sla.itl_s, tuning.LEAST_SLACK - 1.0), self._crowded(n, rate))

    def busy(self, rate: float) -> float:
        """Fractional n that both kinds of work would keep busy if neither disturbed the other."""
        return rate * (self.prompts.mean_s + self.tokens * self.slowness / self.decoding.best(self._held(1.0)))

    def ttft_s(self, n: float, rate: float) -> float | None:
        step = self.itl_s(n, rate)
        if step is None:
            return None
        wait = self.prompts.wait_s(n, rate, step)
        return None if wait is None else wait + self.prompts.mean(step) + MEAN_STEPS * step

    def itl_s(self, n: float, rate: float) -> float | None:
        free = 1.0 - rate * self.prompts.mean_s / max(n, 1e-9)
        return self.decoding.itl_s(rate * self.tokens / max(n, 1e-9), free / self.slowness)

    @property
    def hopeless(self) -> float:
        if self._is_mean:
            return 0.0
        slow = What.ITL in self.promise.latencies and self.alone_s > self.sla.itl_s
        late = self.prompts.hopeless(self.alone_s) if What.TTFT in self.promise.latencies else 0.0
        return 1.0 if slow else late

    @property
    def best_s(self) -> Mapping[What, float]:
        return {What.ITL: self.alone_s, What.TTFT: self._best_ttft_s(self.promise.measure.share)}

    def _best_ttft_s(self, share: float | None) -> float:
        steps = MEAN_STEPS if share is None else MOST_STEPS
        return self.prompts.typical(share, self.alone_s) + steps * self.alone_s

    def _free(self, n: float, rate: float) -> float:
        """Share of the time that is left for decode, as far as can be told."""
        return max(LEAST_FREE, 1.0 - rate * self.prompts.mean_s / n)

    def _step_s(self, n: float, rate: float) -> float:
        """A decode step without prompts in it, also beyond saturation."""
        free = self._free(n, rate)
        return self.decoding.mean_itl_s(rate * self.tokens / n, free / self.slowness) * free

    def _above(self, held: float, free: float, n: float, rate: float) -> float:
        """Share of requests that find more than ``held`` sequences in a replica."""
        burst = self.load.dispersion_at(rate)
        return self.decoding.slow(n, free / self.slowness, rate * self.tokens, self.tokens, held, burst)

    def _crowded(self, n: float, rate: float) -> float:
        """Share of requests that find the KV cache full, over what may."""
        return self._above(self.decoding.sequences[-1], self._free(n, rate), n, rate) / tuning.CROWDED

    def _held(self, free: float) -> float:
        """Sequences of a replica that has ``free`` of its time for decode."""
        return self.decoding.within(max(self.sla.itl_s, self.alone_s) * free / self.slowness)

    def _unlucky(self, n: float, rate: float, step_s: float) -> float:
        """Share of requests whose tokens shared the worker with too many prompts, though the mean is fine.

        OSL tokens must come within T = OSL · target. Their steps need OSL · τ of it (``step_s``), prompts that
        arrive meanwhile φ · T on the mean; what those take is normal with the variance of bursts, which all
        workers feel alike, and of the prompts that fell to this one. Nobody is slowed who meets no prompt at all, in
        its OSL · τ or left over from before: for short answers and few prompts that says more than the normal tail.
        """
        each, left_s, target = rate / n, self.prompts.mean_s, max(self.sla.itl_s, tuning.LEAST_SLACK * self.alone_s)
        per_second = self.prompts.spread(rate) / n**2 + each * self.prompts.mean_square
        slack = ((1.0 - each * left_s) * target - step_s) / math.sqrt(2.0 * per_second * target)  # of one token
        unlucky = 0.0
        for root, share in self.answers:
            slowed = 0.5 * math.erfc(slack * root)
            met = -math.expm1(-each * (root * root * step_s + left_s))
            unlucky += share * (slowed if slowed < met else met)
        return unlucky


def model_of(pool: Pool, sla: Sla, load: Load, slowness: float) -> PoolModel:
    """The model for the pool's role; ``slowness`` is observed over profiled time (1: the profile is right)."""
    if pool.role is Role.PREFILL:
        return PrefillModel.of(pool, sla, load, slowness)
    if pool.role is Role.DECODE:
        return DecodeModel.of(pool, sla, load, slowness)
    return AggregatedModel.of(pool, sla, load, slowness)
