"""Kthena's autoscaler: a target per role (``kthena``), and the two roles held to a ratio (``kthena-ratio``).

Source: volcano-sh/kthena v1.0.0 ``pkg/autoscaler/algorithm/{recommendation,revision,disaggregated_ratio}.go``,
``pkg/autoscaler/autoscaler/{scaler,status,disaggregated_scaler}.go``, defaults of ``webhook/*_mutator.go``.
Targets: 10 requests queued per instance (its user guide), and, as that says nothing of a decode role, KV cache in
use 80 % (none is shipped; llm-d's decode trigger). Ratio of prefill to decode 0.25 to 1 (its disaggregated example).

Two things are as its code has them, not as its API says. The collector adds the pods up and hands on one map, so
the tolerance compares the *sum* over the target with one, not with the current replicas. And scale-up per 15 s is
held to max(+1, × 2) of the least that was asked for in that time, but panic begins at twice the current replicas
and knows no such limit with its shipped period of 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import chain

from planner.core.policy import Pool
from planner.core.types import Decision, Observation, Reason, Role
from planner.ports import Decider
from planner.simulation.peers.api import Peer, Site
from planner.simulation.peers.objects import Answer, Look, OnePerPool, Spec, bounded, held
from planner.simulation.peers.signals import kv_sum, waiting
from planner.simulation.peers.windows import Recent

LOOP_S = 15.0
Bounds = tuple[int, int]


class Target:
    """The autoscaler of one role."""

    def __init__(self, pool: Pool, knobs: Mapping[str, float]) -> None:
        self.pool, self._knobs = pool, knobs
        self._advice: Recent[int] | None = None
        self._asked: Recent[int] = Recent(2 * LOOP_S)
        self._panic_until = -math.inf

    def look(self, look: Look) -> Answer:
        answer = self.advise(look)
        self.remember(look.at, answer)
        return answer

    def advise(self, look: Look) -> Answer:
        """Recommendation, then what the behaviour makes of it; nothing is recorded yet but panic."""
        if self._advice is None:
            self._advice = Recent(self._knobs["down_window_s"])
            self._advice.add(look.at, look.current)
        wanted = self._recommended(look)
        if wanted is None:
            return held(self.pool, look)
        if wanted * 100 >= look.current * self._knobs["panic_threshold_percent"]:
            self._panic_until = look.at + self._knobs["panic_hold_s"]
        if look.at <= self._panic_until:
            return Answer(wanted, bounded(self.pool, max(wanted, look.current)))
        if wanted < look.current:
            highest = max([wanted, *self._advice.up_to(look.at, self._knobs["down_window_s"])])
            return Answer(wanted, bounded(self.pool, min(highest, look.current)))
        return Answer(wanted, bounded(self.pool, max(min(wanted, self._step(look)), look.current)))

    def remember(self, at: float, answer: Answer) -> None:
        """Record what was advised and what came of it, for the windows; a look without metrics leaves no trace."""
        if self._advice is not None and answer.reason is not Reason.HELD_BLIND:
            self._advice.add(at, answer.wanted)
            self._asked.add(at, answer.replicas)

    def _recommended(self, look: Look) -> int | None:
        """The most that any metric asks for, within the bounds; ``None`` without metrics."""
        inside = bounded(self.pool, look.current)
        if inside != look.current:
            return inside
        totals = {"waiting": waiting(look.reading), "kv_usage": kv_sum(look.reading)}
        asked = [_for_sum(look, total, self._knobs[name], self._knobs["tolerance_percent"] / 100)
                 for name, total in totals.items() if total is not None]  # fmt: skip
        return bounded(self.pool, max(asked)) if asked else None

    def _step(self, look: Look) -> int:
        least = min([look.current, *self._asked.up_to(look.at, 2 * LOOP_S)])
        return max(least + 1, 2 * least)


def _for_sum(look: Look, total: float, target: float, tolerance: float) -> int:
    """Replicas for a metric whose pods were added up, against the target of one pod."""
    ratio = total / target
    if look.unready == 0 or ratio < 1:
        return look.current if abs(ratio - 1) <= tolerance else math.ceil(ratio - 1e-9)
    share = ratio / (1 + look.unready)  # the sum counts as one pod, those that start as idle ones
    return look.current if share - 1 <= tolerance else max(math.ceil(ratio - 1e-9), look.current)


class Ratio:
    """Both roles advised on their own, then moved to the nearest pair whose ratio is allowed.

    When one role has no metrics, neither moves. A pair that is out of the ratio is mended upwards as far as the
    bounds allow: the role that is short grows.
    """

    def __init__(self, site: Site, knobs: Mapping[str, float]) -> None:
        by_role = {pool.role: Target(pool, knobs) for pool in site.pools}
        self._targets = {t.pool.name: t for t in (by_role[Role.PREFILL], by_role[Role.DECODE])}
        self._low, self._high = (Fraction(str(knobs[name])) for name in ("min_ratio", "max_ratio"))
        self._spec = Spec(site)

    def step(self, seen: Observation) -> Decision:
        """Both roles at once, or neither."""
        looks = self._spec.looks(seen)
        answers = {name: target.advise(looks[name]) for name, target in self._targets.items() if name in looks}
        pair = self._mended([answer.replicas for answer in answers.values() if answer.reason is not Reason.HELD_BLIND])
        if pair is None:
            return self._spec.decided(
                seen, {name: held(self._targets[name].pool, look) for name, look in looks.items()}
            )
        for name, answer in answers.items():
            self._targets[name].remember(seen.at, answer)
        final = {name: replace(answers[name], replicas=n) for name, n in zip(answers, pair, strict=True)}
        return self._spec.decided(seen, final)

    def _mended(self, replicas: list[int]) -> tuple[int, int] | None:
        if len(replicas) < 2:
            return None
        prefill, decode = ((t.pool.min_replicas, t.pool.max_replicas) for t in self._targets.values())
        return mended(replicas[0], replicas[1], prefill, decode, self._low, self._high)


def mended(
    num: int, den: int, num_bounds: Bounds, den_bounds: Bounds, low: Fraction, high: Fraction
) -> tuple[int, int] | None:
    """The first pair with ``low`` <= num / den <= ``high`` within the bounds; ``None``: there is none.

    The denominator begins where it is, or where it must be for the numerator, and is tried upwards, then
    downwards; the numerator moves as little as it can. Both at zero stay there, one alone becomes one.
    """
    if num == den == 0:
        return 0, 0
    num, den = max(num, 1), max(den, 1)
    if low <= Fraction(num, den) <= high:
        return num, den
    least = max(1, den_bounds[0], math.ceil(num_bounds[0] / high))
    most = min(den_bounds[1], math.floor(num_bounds[1] / low)) if low > 0 else den_bounds[1]
    start = min(max(den, math.ceil(num / high), least), most)
    for candidate in chain(range(start, most + 1), range(start - 1, least - 1, -1)):
        allowed = (max(num_bounds[0], math.ceil(low * candidate)), min(num_bounds[1], math.floor(high * candidate)))
        if allowed[0] <= allowed[1]:
            return min(max(num, allowed[0]), allowed[1]), candidate
    return None


def _make(site: Site, knobs: Mapping[str, float]) -> Decider:
    return OnePerPool(site, lambda pool: Target(pool, knobs))


_COMMON = {
    "waiting": 10.0,
    "kv_usage": 0.8,
    "tolerance_percent": 10.0,
    "down_window_s": 300.0,
    "panic_threshold_percent": 200.0,
    "panic_hold_s": 60.0,
}
_SEARCHED = {"waiting": (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 10.0), "kv_usage": (0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8)}
_SOURCE = "volcano-sh/kthena v1.0.0 pkg/autoscaler; targets: docs/user-guide/autoscaler.md"

KTHENA = Peer("kthena", _SOURCE, LOOP_S, _make, _COMMON, _SEARCHED)
KTHENA_RATIO = Peer(
    name="kthena-ratio",
    source=f"{_SOURCE}; ratio: examples/prometheus-autoscaler/disaggregated-autoscaler",
    tick_s=LOOP_S,
    make=Ratio,
    defaults={**_COMMON, "min_ratio": 0.25, "max_ratio": 1.0},
    searched=_SEARCHED,
    modes=("disaggregated",),
)
