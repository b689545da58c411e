"""The clairvoyant bound: what a fleet costs that knows every arrival, every length and the true plant.

For each window of 60 s the smallest fleet whose share of kept requests is at least α′; scale-ups are ordered
one start-up ahead and paid for; α′ is searched until the whole run keeps what the compared policy kept.
The tables of shares by window and pool size come from the engine itself: each window is run with the
traffic of the seconds before it, each pool alone with the others large.

The costly parts are independent pieces (``tables_of`` some windows, ``Bound.run`` of one plan), so that whoever
has more than one core can spread them. Method and weakness: docs/compare.md.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.core.buckets import DYNAMO_BUCKETS
from planner.core.types import Decision, Observation, Reason
from planner.ports import Step
from planner.simulation.cluster import SimulatedCluster
from planner.simulation.engine import Plant
from planner.simulation.fleets import enough
from planner.simulation.report.figures import Summary, summarise
from planner.simulation.run import Run
from planner.simulation.simulate import World, simulate

WINDOW_S = 60.0
LEAD_S, LEAD_TARGETS = 20.0, 8.0
"""Seconds of traffic before a window that fill its queues, plus this many TTFT targets: queues that a long target
allows take as long to fill."""
RELAXATIONS, LONGEST_LEAD_S = 3.0, 900.0
"""Batches forget where they began after this many of their relaxation times; nothing is run longer than the limit."""
TRAIL = 0.9
"""Sequences of a window are slowed by those that come after it, for as long as this share of answers takes at most."""
CLOSE = 0.0005
"""The bound is found at the policy's attainment within 0.05 points."""
EXACT = 0.99
"""The bound is within 1 % of the cheapest plan; a run that is cheaper than that breaks it."""
HOLD = 5
"""Windows that a plan which holds on keeps a replica longer than it needs it."""
Widening = tuple[int, int]
"""Windows that replicas are there (longer, earlier) than their own window needs them."""
ROUNDS = 8
"""Plans at most that are tried for one attainment."""
PERFECT = 0.99995
"""A share above this counts as all."""
HOPELESS = 0.9
"""A fleet that lets down a larger share of a window is the smallest that is looked at."""

Table = Mapping[int, float]
"""Share of a window's requests that one pool lets down, by its replicas."""
Plan = Mapping[str, NDArray[np.int64]]
"""Replicas by window, of each pool."""


class BoundBrokenError(RuntimeError):
    """A policy was cheaper than the bound at the same attainment: the bound is not one."""


@dataclass(frozen=True, slots=True)
class Tables:
    """What each pool alone lets down in each window, for as many replicas as matter there."""

    requests: NDArray[np.int64]  # that arrive, by window
    missed: Mapping[str, Sequence[Table]]  # by pool and window

    @property
    def windows(self) -> int:
        """How many windows there are."""
        return len(self.requests)


def windows_of(world: World) -> int:
    """How many windows the traffic has; the last may be shorter."""
    return math.ceil(world.traffic.duration_s / WINDOW_S)


def tables_of(world: World, first: int, last: int) -> Tables:
    """Every window ``first`` … ``last - 1`` run with every number of replicas that matters: a piece of the whole."""
    big = {pool: enough(world, pool) for pool in world.pools}
    missed: dict[str, list[Table]] = {pool: [] for pool in world.pools}
    requests = []
    for k in range(first, last):
        for pool in world.pools:
            window = _Window(world, k, pool)
            before = missed[pool][-1] if missed[pool] else {}
            guess = min((n for n, m in before.items() if m <= 0.01), default=max(1, big[pool] // 4))
            missed[pool].append(window.table(guess, big))
        requests.append(window.requests)
    return Tables(np.array(requests, np.int64), missed)


def joined(pieces: Sequence[Tables]) -> Tables:
    """The tables of all windows from pieces that follow each other."""
    missed = {pool: [table for piece in pieces for table in piece.missed[pool]] for pool in pieces[0].missed}
    return Tables(np.concatenate([piece.requests for piece in pieces]), missed)


def around(world: World, pool: str) -> tuple[float, float]:
    """Seconds of traffic (before, after) a window that a pool is run with."""
    queues = LEAD_S + LEAD_TARGETS * world.promise.ttft_s
    if pool == "prefill":
        return queues, 0.0
    slowed_s = float(np.quantile(world.traffic.output_tokens, TRAIL)) * world.promise.itl_s
    return queues + min(RELAXATIONS * relaxation_s(world), LONGEST_LEAD_S), slowed_s


def relaxation_s(world: World) -> float:
    """How long a batch takes to forget a disturbance, where the ITL promise is just kept.

    With a step time a + b·n for n sequences, n follows dn/dt = λ − n / (OSL · (a + b·n)); around an ITL it comes
    back with the time constant OSL · ITL² / a, which is long where the promise is many times the lone step.
    """
    lone_s = world.plant.decode_scale * world.plant.step.base_s
    return float(world.traffic.output_tokens.mean()) * world.promise.itl_s**2 / max(lone_s, 1e-4)


class _Window:
    """One window's requests and those around it, ready to be run again and again through one pool."""

    def __init__(self, world: World, k: int, pool: str) -> None:
        traffic, (before_s, after_s) = world.traffic, around(world, pool)
        start, end = k * WINDOW_S, min((k + 1) * WINDOW_S, traffic.duration_s)
        bounds = [start - before_s, start, end, end + after_s]
        first, begin, over, last = np.searchsorted(traffic.arrivals_s, bounds)
        self._world, self._pool = world, pool
        self._arrivals = traffic.arrivals_s[first:last] - max(0.0, start - before_s)
        self._isl, self._osl = traffic.input_tokens[first:last], traffic.output_tokens[first:last]
        self._counted = slice(int(begin - first), int(over - first))
        self._blocks: tuple[NDArray[np.int32], NDArray[np.int64]] | None = None
        if traffic.block_ids is not None and traffic.block_starts is not None:
            lo, hi = traffic.block_starts[first], traffic.block_starts[last]
            _used, dense = np.unique(traffic.block_ids[lo:hi], return_inverse=True)
            self._blocks = dense.astype(np.int32), traffic.block_starts[first : last + 1] - lo

    @property
    def requests(self) -> int:
        """How many arrive in the window."""
        return len(self._arrivals[self._counted])

    def table(self, guess: int, big: Mapping[str, int]) -> dict[int, float]:
        """Missed shares from far too few replicas to enough, around ``guess``."""
        if self.requests == 0:
            return {1: 0.0}
        found = {guess: self._missed(guess, big)}
        n = guess
        while found[n] > 1.0 - PERFECT and n < big[self._pool]:
            n += 1
            found[n] = self._missed(n, big)
        n = guess
        while found[n] < HOPELESS and n > 1:
            n -= 1
            found[n] = self._missed(n, big)
        return dict(sorted(found.items()))

    def _missed(self, n: int, big: Mapping[str, int]) -> float:
        world = self._world
        ids, starts = self._blocks or (None, None)
        plant = Plant(self._arrivals, self._isl, self._osl, world.plant, world.pools, DYNAMO_BUCKETS, ids, starts)
        for name, count in {**big, self._pool: n}.items():
            plant.add_many(name, count)
        # whoever has not finished by then has missed one promise or the other
        slowest = world.promise.ttft_s + float(self._osl.max()) * world.promise.itl_s
        plant.advance(float(self._arrivals[-1]) + slowest + 1.0)
        ttft, itl = (x[self._counted] for x in plant.outcomes())
        with np.errstate(invalid="ignore"):
            quick, steady = ttft <= world.promise.ttft_s, itl <= world.promise.itl_s
        own = {"prefill": quick, "decode": steady, "aggregated": quick & steady}[self._pool]
        return 1.0 - float(own.mean())


@dataclass(frozen=True, slots=True)
class _Front:
    """The choices of one window that nothing beats: dearer ones let down fewer."""

    beyond: NDArray[np.float64]  # share let down beyond what any fleet lets down, ascending
    lost: NDArray[np.float64]  # share let down
    fleets: list[dict[str, int]]

    def place(self, allowed: float) -> int:
        """The cheapest choice that lets down at most ``allowed`` beyond what any fleet does."""
        return max(0, int(np.searchsorted(self.beyond, allowed + 1e-12, "right")) - 1)


def _front(per_pool: Mapping[str, Table], gpus: Mapping[str, int]) -> _Front:
    """Of all joint choices in one window those that nothing beats.

    The pools' misses are added. Requests that no fleet can serve in time are not held against a choice: they
    buy nothing.
    """
    joint: list[tuple[float, float, dict[str, int]]] = [(0.0, 0.0, {})]
    for pool, table in per_pool.items():
        joint = [(c + n * gpus[pool], m + own, {**f, pool: n}) for c, m, f in joint for n, own in table.items()]
    least = sum(min(table.values()) for table in per_pool.values())
    kept: list[tuple[float, float, dict[str, int]]] = []
    for choice in sorted(joint, key=lambda choice: choice[:2]):
        if not kept or choice[1] < kept[-1][1] - 1e-12:
            kept.append(choice)
    kept.reverse()
    lost = np.array([m for _, m, _ in kept], np.float64)
    return _Front(lost - least, lost, [fleet for _, _, fleet in kept])


@dataclass(frozen=True, slots=True)
class Point:
    """One clairvoyant run: what the tables were asked to give up, and what came of it."""

    asked: float  # share of all requests
    widening: Widening
    summary: Summary

    @property
    def kept(self) -> float:
        """Share of requests that kept both promises."""
        return self.summary.attainment.both or 0.0


class Bound:
    """Plans of one world, and the search among them."""

    def __init__(self, world: World, known: Tables) -> None:
        self.world, self.known = world, known
        self._fronts = [
            _front({pool: known.missed[pool][k] for pool in world.pools}, world.gpus_per_replica)
            for k in range(known.windows)
        ]

    def plan(self, allowed: float) -> dict[str, NDArray[np.int64]]:
        """The cheapest replicas by window that let down at most ``allowed`` of its requests."""
        chosen = [front.fleets[front.place(allowed)] for front in self._fronts]
        return {pool: np.array([fleet[pool] for fleet in chosen], np.int64) for pool in self.world.pools}

    def allowed(self, missed: float) -> float:
        """The share every window may let down so that ``missed`` of all requests are, by the tables."""
        low, high = 0.0, 1.0
        for _ in range(24):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if self._gives_up(middle) <= missed else (low, middle)
        return low

    def _gives_up(self, allowed: float) -> float:
        """Share of all requests that the plan gives up, windows not disturbing each other."""
        lost = sum(
            requests * min(1.0, float(front.lost[front.place(allowed)]))
            for requests, front in zip(self.known.requests.tolist(), self._fronts, strict=True)
        )
        return float(lost / max(1, self.known.requests.sum()))

    def point(self, asked: float, widening: Widening = (0, 0)) -> Point:
        """Run the plan that gives up ``asked`` of all requests by the tables."""
        return Point(asked, widening, summarise(self.run(widened(self.plan(self.allowed(asked)), widening))))

    def run(self, plan: Plan) -> Run:
        """Follow a plan to the second; nothing fails, and nobody looks at metrics."""
        world, started = self.world, time.perf_counter()
        traffic = world.traffic
        schedule = Scheduled(plan, world.startup.mean_s, traffic.epoch_s)
        cluster = SimulatedCluster(world.new_plant(), schedule.fleet(0.0), world.startup.reliable(), traffic.epoch_s)
        steps: list[Step] = []
        for at in schedule.moments(traffic.duration_s):
            fleet = schedule.fleet(at)
            if steps and fleet == steps[-1].decision.replicas:
                continue
            decision = Decision(traffic.epoch_s + at, fleet, fleet, Reason.FIXED)
            cluster.finish(at)
            cluster.apply(decision)
            steps.append(Step(Observation(decision.at, {}), decision))
        return world.ended("clairvoyant", cluster, steps, started)


def widenings_of(world: World) -> tuple[Widening, ...]:
    """How plans are widened in search of the cheapest.

    A worker that goes takes its prefix cache along, so with blocks it is tried to keep it. Sequences stay with
    their worker; where batches take minutes to even out, workers that come when the load does come too late.
    """
    found = [(0, 0)]
    if world.traffic.block_ids is not None:
        found += [(HOLD, 0), (windows_of(world), 0)]
    minutes = math.ceil(relaxation_s(world) / WINDOW_S)
    if minutes > 1:
        found += [(0, earlier) for earlier in sorted({math.ceil(minutes / part) for part in (1, 2, 4, 8)})]
    return tuple(found)


def next_asked(attainment: float, points: Sequence[Point], tried: Sequence[float]) -> float | None:
    """What to ask the tables for next, so that a run keeps ``attainment``; ``None``: close enough, or no use.

    ``points`` are the runs so far (of one widening). Between a run that keeps too much and one that keeps too little
    the logarithms are interpolated; outside, what a run kept beside what it was asked for tells how far to
    trust the tables. ``tried`` are the shares that were asked for on behalf of this attainment.
    """
    wanted = max(1.0 - attainment, 0.1 * CLOSE)
    if any(abs(point.kept - attainment) <= CLOSE for point in points) or len(tried) >= ROUNDS:
        return None
    if not points:
        return wanted
    more = max((p for p in points if 1.0 - p.kept > wanted), key=lambda p: p.kept, default=None)
    fewer = min((p for p in points if 1.0 - p.kept <= wanted), key=lambda p: p.kept, default=None)
    if more is not None and fewer is not None and more.asked > fewer.asked > 0:
        got_more, got_fewer = math.log(1.0 - more.kept), math.log(max(1.0 - fewer.kept, 0.1 * CLOSE))
        part = min(0.9, max(0.1, (math.log(wanted) - got_fewer) / max(1e-9, got_more - got_fewer)))
        asked = fewer.asked * (more.asked / fewer.asked) ** part
    else:
        nearest = more or fewer
        assert nearest is not None
        asked = nearest.asked * min(10.0, max(0.1, wanted / max(1.0 - nearest.kept, 0.1 * CLOSE)))
    asked = min(1.0, asked)
    return None if any(abs(asked - point.asked) <= 1e-3 * asked for point in points) else asked


def best(attainment: float, points: Iterable[Point]) -> Point:
    """The cheapest of the runs that keep ``attainment`` within 0.05 points; else the one that lacks least."""
    return min(
        points,
        key=lambda p: (max(0.0, attainment - p.kept) if p.kept < attainment - CLOSE else 0.0, p.summary.gpu_hours),
    )


def broken(summary: Summary, ideal: Point) -> str:
    """What is wrong with the bound when a run was cheaper than it with as much kept everywhere; empty: nothing.

    The bound keeps a floor under every window; a policy that lets whole minutes down may be cheaper.
    """
    share = summary.attainment.both or 0.0
    worst, floor = summary.attainment.worst_5min or 0.0, ideal.summary.attainment.worst_5min or 0.0
    cheaper = summary.gpu_hours < ideal.summary.gpu_hours * EXACT
    if not cheaper or ideal.kept > share + CLOSE or worst < floor - CLOSE:
        return ""
    return (
        f"{summary.policy} kept {share:.2%} with {summary.gpu_hours:.2f} GPU-hours, "
        f"the bound needs {ideal.summary.gpu_hours:.2f}"
    )


def late(world: World, known: Tables) -> Run:
    """The same plan a start-up and a window late, replicas held for five minutes: what reaction alone can reach.

    The loop that follows it asks one look early, so as not to be one late.
    """
    plan = widened(Bound(world, known).plan(1.0 - world.promise.goal), (HOLD, 0))
    behind = math.ceil((world.startup.mean_s + WINDOW_S) / WINDOW_S)
    delayed = {pool: np.concatenate([np.full(behind, needs[0]), needs])[: len(needs)] for pool, needs in plan.items()}
    planner = Scheduled(delayed, world.startup.mean_s, world.traffic.epoch_s, world.scrape_s)
    return simulate(world, "late", planner, planner.fleet(0.0))


def widened(plan: Plan, by: Widening) -> dict[str, NDArray[np.int64]]:
    """The plan with every replica there for some more windows, after and before its own."""
    longer, earlier = by
    return {
        pool: np.array([needs[max(0, k - longer) : k + earlier + 1].max() for k in range(len(needs))])
        for pool, needs in plan.items()
    }


class Scheduled:
    """A plan in time: at every moment the most that any window needs that is on, or a start-up away."""

    def __init__(self, plan: Plan, startup_s: float, epoch_s: float, early_s: float = 0.0) -> None:
        self._plan, self._lead_s, self._epoch_s = plan, startup_s + early_s, epoch_s

    def step(self, seen: Observation) -> Decision:
        """The plan's replicas at this moment, for the loop."""
        fleet = self.fleet(seen.at - self._epoch_s)
        return Decision(seen.at, fleet, fleet, Reason.FIXED)

    def fleet(self, now: float) -> dict[str, int]:
        """Replicas to have asked for at ``now`` seconds of the traffic."""
        first = int((now + 1e-6) // WINDOW_S)
        last = int((now + self._lead_s + 1e-6) // WINDOW_S) + 1
        return {
            pool: int(needs[first:last].max(initial=1)) if first < len(needs) else 1
            for pool, needs in self._plan.items()
        }

    def moments(self, until_s: float) -> list[float]:
        """When the fleet may change: a window ends, or one is a start-up away."""
        starts = WINDOW_S * np.arange(math.ceil(until_s / WINDOW_S))
        moments = np.unique(np.concatenate([starts, starts - self._lead_s]))
        return [float(at) for at in moments if at >= 0]
