"""What share of requests a pool of n replicas would let down, and how long they would wait.

Each model answers ``miss(n, rate)``: non-increasing in ``n`` and in the target,
non-decreasing in the rate and in the engine's slowness. Beyond saturation it
goes on growing past 1, so that an overload still tells pools apart. What it
counts depends on the promise that the model is asked about: a share of requests,
or the part of a mean's slack that is used up.
``n`` may be fractional: prices are derivatives.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from planner.core import tuning
from planner.core.load import Load
from planner.core.policy import Pool, Promise, Sla, What

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
