"""The newest samples of a subject → one look: counters of each front door, readings of each pool, what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from planner.adapters.prometheus.conditions import Condition
from planner.adapters.prometheus.dialect import COUNTS, GAUGES, SPREADS, Alternatives, Dialect
from planner.adapters.prometheus.reading import Instance, SignalError, instance_of, instances
from planner.adapters.prometheus.server import Sample
from planner.adapters.prometheus.subject import UP, Selector, Subject
from planner.core.observe import Cumulative, FrontDoor
from planner.core.types import PoolReading, Role

T = TypeVar("T")
FRONT = "front door"
"""What the front door is called among the pools."""
NEEDED: Mapping[Role, tuple[str, ...]] = {
    Role.PREFILL: ("running", "waiting"),
    Role.DECODE: ("running", "waiting", "kv_usage"),
    Role.AGGREGATED: ("running", "waiting", "kv_usage"),
}
"""Gauges whose absence is told; others are welcome where they exist."""


@dataclass(frozen=True, slots=True)
class Door:
    """Counters of one instance that counts requests."""

    at: float  # of the scrape
    counters: FrontDoor
    derived: bool = False  # ``started`` is a sum with gauges in it, so it may dip without a restart


@dataclass(frozen=True, slots=True)
class Worker:
    """Histograms of one worker."""

    at: float  # of the scrape
    steps: Cumulative | None = None  # None: it was read and shows none (yet)
    request_itl: Cumulative | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What Prometheus says of one of its targets."""

    up: bool
    at: float  # of the attempt


@dataclass(frozen=True, slots=True)
class Look:
    """All that one look at Prometheus holds of a subject."""

    at: float
    doors: Mapping[str, Door]
    pools: Mapping[str, PoolReading]  # gauges
    workers: Mapping[str, Mapping[str, Worker]]  # by pool and instance
    targets: Mapping[str, Target]  # by door; what is known of those that may be missing
    unknown: frozenset[str] = frozenset()  # signals that some instance cannot tell, so no sum over instances is
    broken: frozenset[str] = frozenset()  # those of them that are exposed and cannot be used
    problems: tuple[str, ...] = ()
    unfound: Mapping[str, Selector] = field(default_factory=dict)  # the front door or a pool that nothing is known of
    alive: bool = True  # Prometheus itself scrapes something


@dataclass(slots=True)
class _Notes:
    """Problems and unknown signals on the way."""

    problems: list[str] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    unfound: dict[str, Selector] = field(default_factory=dict)

    def tell(self, condition: Condition, detail: str, *signals: str) -> None:
        told = condition.of(detail)
        if told not in self.problems:
            self.problems.append(told)
        self.unknown.update(signals)
        if condition is not Condition.ABSENT:
            self.broken.update(signals)


@dataclass(frozen=True, slots=True)
class _Group:
    """The instances of one selector."""

    instances: Mapping[str, Instance]  # fresh
    old: Mapping[str, float]  # instance → newest sample, not fresh
    targets: Mapping[str, Target]
    alive: bool  # Prometheus itself scrapes something

    def is_gone(self, name: str, since: float) -> bool:
        """Whether Prometheus no longer tries: the target was taken off its list."""
        target = self.targets.get(name)
        return self.alive and target is not None and target.at < since


def serving(ready: int, **gauges: Any) -> PoolReading:
    """A pool of which Prometheus shows who serves; it does not know what was asked for."""
    return PoolReading(ready, ready, requested_known=False, **gauges)


def look(subject: Subject, at: float, samples: Sequence[Sample]) -> Look:
    """What the newest samples say of a subject at ``at``."""
    notes = _Notes()
    front = subject.front_selector()
    doors: dict[str, Door] = {}
    targets: dict[str, Target] = {}
    if front is not None:
        group = _group(subject, subject.dialect, front, at, samples, notes)
        own = {s: ways for s, ways in subject.dialect.signals.items() if s in (*COUNTS, *SPREADS)}
        doors |= {name: _door(one, own, notes) for name, one in group.instances.items()}
        targets |= group.targets
        queues = _queues(subject, group, notes)
        if not group.instances and not group.old:
            notes.unfound[FRONT] = front
    else:
        queues = {}
    readings, workers = {}, {}
    for name, selector in subject.pool_selectors().items():
        group = _group(subject, subject.engine, selector, at, samples, notes)
        reading = _reading(subject, name, group, at, notes)
        if reading is not None:
            readings[name] = _with_queue(reading, queues.get(name, {}))
        workers[name] = _workers(subject, name, group, notes)
        lent = {s: subject.engine.signals[s] for s in subject.borrowed() if name in subject.lenders(s)}
        if lent:
            doors |= {f"{name}/{key}": _door(one, lent, notes) for key, one in group.instances.items()}
            targets |= {f"{name}/{key}": target for key, target in group.targets.items()}
    for signal in subject.borrowed():
        if not subject.lenders(signal):
            notes.tell(
                Condition.NOT_BY_ROLE,
                f"{signal} cannot be told by {subject.engine.title} when prefill and decode are split; "
                "a front door that counts it is needed",
            )
    return Look(at, doors, readings, workers, targets, frozenset(notes.unknown), frozenset(notes.broken),
                tuple(notes.problems), notes.unfound, _alive(subject, at, samples))  # fmt: skip


def _alive(subject: Subject, at: float, samples: Sequence[Sample]) -> bool:
    return any(at - sample.at <= subject.late_s for sample in samples)


def _group(
    subject: Subject, dialect: Dialect, selector: Selector, at: float, samples: Sequence[Sample], notes: _Notes
) -> _Group:
    """The instances of a selector: those that can be read, those that no longer can, what their targets say."""
    own = [sample for sample in samples if selector.matches(sample)]
    found = [subject.stripped(sample) for sample in own]
    targets = {instance_of(s): Target(s.value == 1, s.at) for s in own if s.name == UP}
    there = instances(found, dialect)
    fresh = {one.name: one for one in there if at - one.at <= subject.stale_s}
    old = {one.name: one.at for one in there if one.name not in fresh}
    group = _Group(fresh, old, targets, _alive(subject, at, samples))
    read = {*fresh, *old, *(targets if selector == subject.front_selector() else ())}  # a worker may be starting
    for name in sorted(read):
        _tell_old(subject, group, name, at, notes)
    return group


def _tell_old(subject: Subject, group: _Group, name: str, at: float, notes: _Notes) -> None:
    target, newest = group.targets.get(name), group.old.get(name)
    if target is not None and not target.up and at - target.at <= subject.late_s:
        notes.tell(Condition.PARTIAL_SCRAPE, f"the last scrape of {name} failed (up is 0)")
    elif newest is not None and not group.is_gone(name, at - subject.late_s):
        notes.tell(
            Condition.STALE,
            f"the newest sample of {name} is {at - newest:.0f} s old; scrapes every {subject.scrape_s:g} s "
            "were expected (a stopped scrape, another scrape interval, or clocks that differ)",
        )


def _door(one: Instance, signals: Mapping[str, Alternatives], notes: _Notes) -> Door:
    """An instance's counters. Silence is zero beside a sign of presence, and unknown beside signs of traffic."""
    counts = {s: _tried(one.count, s, ways, notes) for s, ways in signals.items() if s in COUNTS}
    spreads = {s: _tried(one.spread, s, ways, notes) for s, ways in signals.items() if s in SPREADS}
    busy = any(c for c in counts.values()) or any(s.buckets[-1] for s in spreads.values() if s is not None)
    present = any(one.series.get(name) for name in one.dialect.presence)
    for signal, ways in signals.items():
        missing = counts.get(signal) is None and spreads.get(signal) is None and signal not in notes.unknown
        if missing and signal in ("started", "finished") and present and not busy:
            counts[signal] = 0.0
        elif missing and (busy or signal == "started"):
            names = ", ".join(metric.name for metric in ways)
            notes.tell(Condition.ABSENT, f"{signal} of {one.name}: {names} is not exposed", signal)
    derived = any(metric.form == "sum" for metric in signals.get("started", ()))
    counters = replace(FrontDoor(), **counts, **spreads)  # type: ignore[arg-type]
    return Door(one.at, counters, derived)


def _tried(read: Callable[[Alternatives], T | None], signal: str, ways: Alternatives, notes: _Notes) -> T | None:
    try:
        return read(ways)
    except SignalError as problem:
        notes.tell(problem.condition, f"{signal}: {problem}", signal)
        return None


def _workers(subject: Subject, pool: str, group: _Group, notes: _Notes) -> dict[str, Worker]:
    found = {}
    for name, one in group.instances.items():
        try:
            told = {signal: one.spread(one.dialect.ways(signal)) for signal in subject.by_worker(pool)}
        except SignalError as problem:
            notes.tell(problem.condition, f"ITL of pool {pool}: {problem}")
            continue
        found[name] = Worker(one.at, **told)
    return found


def _reading(subject: Subject, pool: str, group: _Group, at: float, notes: _Notes) -> PoolReading | None:
    """Gauges over all workers of a pool; ``None`` if Prometheus knows nothing of it."""
    tried = {name: t for name, t in group.targets.items() if at - t.at <= subject.late_s}
    if not group.instances:
        notes.unfound[pool] = subject.pool_selectors()[pool]
    if not group.instances and not tried:
        return None
    ready = sum(target.up for target in tried.values()) if group.targets else len(group.instances)
    silent = [name for name, target in tried.items() if target.up and name not in group.instances]
    if silent or not group.instances:
        if group.instances:
            notes.tell(
                Condition.ABSENT, f"{', '.join(silent)} of pool {pool}: up, and no series of {subject.engine.title}"
            )
        return serving(ready)
    late = [name for name, one in group.instances.items() if at - one.at > subject.late_s]
    late += list(group.old)
    late = [name for name in late if not group.is_gone(name, at - subject.late_s)]
    if late:
        notes.tell(Condition.PARTIAL_SCRAPE, f"gauges of pool {pool} leave out {', '.join(sorted(late))}")
        return serving(ready)
    live = [one for name, one in group.instances.items() if not group.is_gone(name, at - subject.late_s)]
    if not live:
        return serving(ready)
    needed = NEEDED[subject.pools[pool].role]
    gauges = {s: _gauge(live, pool, s, s in needed, notes) for s in GAUGES}
    usage = [value for values in gauges["kv_usage"] or () for value in values]
    waiting = gauges["waiting"]
    return serving(
        ready,
        running=_added(gauges["running"]),
        waiting=_added(waiting),
        pending_tokens=_added(gauges["pending_tokens"]),
        kv_usage=sum(usage) / len(usage) if usage else None,
        kv_usage_max=max(usage, default=None),
        backlog=tuple(sum(values) for values in waiting) if waiting is not None else None,
    )


def _gauge(live: Sequence[Instance], pool: str, signal: str, needed: bool, notes: _Notes) -> list[list[float]] | None:
    """A gauge's values by worker; ``None`` unless every worker tells it."""
    values = []
    for one in live:
        ways = one.dialect.signals.get(signal, ())
        try:
            own = one.gauges(ways)
        except SignalError as problem:
            notes.tell(problem.condition, f"{signal} of pool {pool}: {problem}")
            return None
        if own is None:
            if needed and ways:
                names = ", ".join(metric.name for metric in ways)
                notes.tell(Condition.ABSENT, f"{signal} of pool {pool}: {one.name} exposes none of {names}")
            return None
        values.append(own)
    return values


def _queues(subject: Subject, group: _Group, notes: _Notes) -> dict[str, dict[str, float]]:
    """Requests and tokens that wait in front of a role's workers, for the one pool of that role."""
    found: dict[str, dict[str, float]] = {}
    for role, signals in subject.dialect.pools.items():
        pools = [name for name, pool in subject.pools.items() if pool.role is role]
        if len(pools) != 1:
            continue
        for signal, ways in signals.items():
            try:
                parts = [one.gauges(ways) for one in group.instances.values()]
            except SignalError as problem:
                notes.tell(problem.condition, f"{signal} in front of pool {pools[0]}: {problem}")
                continue
            known = [sum(part) for part in parts if part is not None]
            if known:
                found.setdefault(pools[0], {})[signal] = sum(known)
    return found


def _with_queue(reading: PoolReading, queue: Mapping[str, float]) -> PoolReading:
    """What waits in front of the workers added to what waits in them."""
    known = {s: v + (getattr(reading, s) or 0.0) for s, v in queue.items()}
    if reading.waiting is None:
        known.pop("waiting", None)
    return replace(reading, **known)  # type: ignore[arg-type]


def _added(values: Iterable[Sequence[float]] | None) -> float | None:
    return None if values is None else float(sum(sum(part) for part in values))
