"""Work that waits for replicas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from planner.core import tuning
from planner.core.load import Load

MOST_STEPS = 1.5
"""Decode steps, at most, to wait for until a prompt's first chunk starts."""


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
