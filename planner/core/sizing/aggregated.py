"""Prefill and decode in the same workers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from planner.core import tuning
from planner.core.load import Load
from planner.core.policy import Pool, Sla, What
from planner.core.sizing.decode import Decoding
from planner.core.sizing.model import PoolModel, used_up
from planner.core.sizing.queue import MOST_STEPS, Queue

LEAST_FREE = 0.05
"""An aggregated replica is always left this share of its time for decode, so that a miss stays a number."""

MEAN_STEPS = 0.5
"""Decode steps, on average, to wait for until a prompt's first chunk starts."""


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
