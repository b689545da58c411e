"""Prefill in workers of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planner.core import tuning
from planner.core.load import Load
from planner.core.policy import Pool, Sla, What
from planner.core.sizing.model import PoolModel, used_up
from planner.core.sizing.queue import Queue


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
