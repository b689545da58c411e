"""Looks → observations: a window is told only when every front door was read at both of its ends.

Each door counts between its own two newest scrapes; the window's length is the mean of theirs. While a door
cannot be read the window waits, so that nothing is lost when it can be read again; after ``patience_s`` the
door counts as gone. The increases themselves are ``planner.core.observe``'s, as in simulation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from planner.adapters.prometheus.conditions import Condition
from planner.adapters.prometheus.dialect import BY_WORKER
from planner.adapters.prometheus.looks import Door, Look, Worker, serving
from planner.core.observe import ByWorker, Cumulative, FrontDoor, Scrape, observe
from planner.core.types import Observation, PoolReading


@dataclass(frozen=True, slots=True)
class _Change:
    """What became of the doors since the base look."""

    both: tuple[str, ...]  # readable now and then
    unreadable: tuple[str, ...]
    vanished: tuple[str, ...]
    fresh: tuple[str, ...]
    restarted: tuple[str, ...]
    still: bool  # nothing was scraped since


class Windows:
    """Remembers the look that the next window starts from."""

    def __init__(self, late_s: float) -> None:
        self._late_s = late_s
        self._patience_s = max(30.0, 3.0 * late_s)
        self._base: Look | None = None
        self._replicas: dict[str, PoolReading] = {}  # as last seen, gauges left out
        self._told: dict[str, frozenset[str]] = {}  # by door, the signals it has ever told

    def observe(self, look: Look, fleet: Mapping[str, PoolReading] | None = None) -> Observation:
        """The observation of a look; ``fleet`` knows better than Prometheus how many replicas there are."""
        base = self._base
        pools = self._remembered(look) if fleet is None else _counted(look.pools, fleet)
        problems = list(look.problems)
        back: frozenset[str] = frozenset() if base is None else self._back(base, look)
        self._remember(base, look)
        if base is None:
            self._base = look
            return observe(*_scrapes(look, look, pools, problems))
        change = self._change(base, look)
        problems += _told(change, base, look)
        before, after = _scrapes(base, look, pools, problems)
        if change.both and not (change.unreadable or change.restarted or change.still):
            look = replace(look, doors={n: _undipped(base.doors.get(n), door) for n, door in look.doors.items()})
            before, after = _ends(base, look, change, back, before, after)
        if not (change.unreadable or change.still):
            self._base = look
        return observe(before, after)

    def _remember(self, base: Look | None, look: Look) -> None:
        """What doors have told, of those that still matter."""
        looks = [look] if base is None else [base, look]
        for name, door in ((n, d) for one in looks for n, d in one.doors.items()):
            self._told[name] = self._told.get(name, frozenset()) | _tells(door)
        self._told = {n: told for n, told in self._told.items() if any(n in one.doors for one in looks)}

    def _remembered(self, look: Look) -> dict[str, PoolReading]:
        """All pools ever seen: one without targets has no replicas now, unless Prometheus itself stands still."""
        gone = {name: serving(0) if look.alive else last for name, last in self._replicas.items()}
        pools = {**gone, **look.pools}
        self._replicas = {name: serving(reading.ready) for name, reading in pools.items()}
        return pools

    def _back(self, base: Look, look: Look) -> frozenset[str]:
        """Signals that a door did not tell at the base look, tells now, and has told before: not counted from zero.

        One never told before is: the scrape at the base look proves that there was nothing to count.
        """
        known = [name for name in look.doors if name in base.doors]
        back = [(_tells(look.doors[n]) - _tells(base.doors[n])) & self._told.get(n, frozenset()) for n in known]
        return frozenset().union(*back)

    def _change(self, base: Look, look: Look) -> _Change:
        both: list[str] = []
        unreadable: list[str] = []
        vanished: list[str] = []
        restarted: list[str] = []
        for name, old in base.doors.items():
            new, target = look.doors.get(name), look.targets.get(name)
            removed = target is not None and look.alive and look.at - target.at > self._late_s
            if new is not None and look.at - new.at <= self._late_s and (target is None or target.up):
                (restarted if _fell(old, new) else both).append(name)
            elif removed or look.at - old.at > self._patience_s:
                vanished.append(name)
            else:
                unreadable.append(name)
        fresh = tuple(name for name in look.doors if name not in base.doors)
        still = bool(both) and not restarted and all(look.doors[n].at <= base.doors[n].at for n in both)
        return _Change(tuple(both), tuple(unreadable), tuple(vanished), fresh, tuple(restarted), still)


def _ends(
    base: Look, look: Look, change: _Change, back: frozenset[str], before: Scrape, after: Scrape
) -> tuple[Scrape, Scrape]:
    """Both ends of the window: the doors to compare, and the mean time between their scrapes."""
    seconds = sum(look.doors[n].at - base.doors[n].at for n in change.both) / len(change.both)
    then = {n: base.doors[n].counters for n in change.both} | {n: look.doors[n].counters for n in change.fresh}
    unknown = look.unknown | base.broken | back  # what one end does not know is no increase
    now = {n: _known(look.doors[n].counters, unknown) for n in (*change.both, *change.fresh)}
    ended = max(look.doors[n].at for n in change.both)
    return replace(before, front=then, counted_at=ended - seconds), replace(after, front=now, counted_at=ended)


def _told(change: _Change, base: Look, look: Look) -> list[str]:
    told = []
    if change.still:
        newest = max(look.doors[n].at for n in change.both)
        told.append(
            Condition.NOTHING_NEW.of(f"the newest scrape is of {look.at - newest:.1f} s ago, as at the last look")
        )
    for name in change.unreadable:
        ago = look.at - base.doors[name].at
        told.append(Condition.PARTIAL_SCRAPE.of(f"{name} was last read {ago:.0f} s ago; the window waits for it"))
    for name in change.restarted:
        what = _fell(base.doors[name], look.doors[name])
        told.append(Condition.COUNTER_RESET.of(f"{name} was restarted ({what}); what it counted last is lost"))
    told += [Condition.VANISHED.of(f"{name} is gone, with what it counted last") for name in change.vanished]
    told += [Condition.NEW_INSTANCE.of(f"{name} counts from its first scrape on") for name in change.fresh]
    return told + _mixed(look)


def _mixed(look: Look) -> list[str]:
    doors = [door.counters for door in look.doors.values()]
    told = []
    for signal in fields(FrontDoor):
        cuts = {v.edges for v in (getattr(d, signal.name) for d in doors) if isinstance(v, Cumulative)}
        if len(cuts) > 1:
            told.append(Condition.MIXED_BUCKETS.of(f"{signal.name} is cut in {len(cuts)} ways by its instances"))
    return told


def _fell(old: Door, new: Door) -> str:
    """Which counter of a door went down, in words; empty if none did."""
    for signal in fields(FrontDoor):
        was, now = getattr(old.counters, signal.name), getattr(new.counters, signal.name)
        if was is None or now is None or (new.derived and signal.name == "started"):
            continue
        if isinstance(was, Cumulative):
            was, now = was.buckets[-1], now.buckets[-1]
        if now < was:
            return f"{signal.name} fell from {was:g} to {now:g}"
    return ""


def _undipped(old: Door | None, new: Door) -> Door:
    """A count made of a counter and gauges may dip by what was in flight between both; it is held instead."""
    if old is None or not new.derived or old.counters.started is None or new.counters.started is None:
        return new
    return replace(new, counters=replace(new.counters, started=max(old.counters.started, new.counters.started)))


def _tells(door: Door) -> frozenset[str]:
    return frozenset(f.name for f in fields(FrontDoor) if getattr(door.counters, f.name) is not None)


def _known(counters: FrontDoor, unknown: frozenset[str]) -> FrontDoor:
    """Without the signals that another door cannot tell: a sum over some doors is no measurement."""
    known = {field.name for field in fields(FrontDoor)}
    return replace(counters, **dict.fromkeys(unknown & known, None)) if unknown else counters


def _scrapes(base: Look, look: Look, pools: Mapping[str, PoolReading], problems: list[str]) -> tuple[Scrape, Scrape]:
    """Both ends of what the workers tell; the doors are not compared yet."""
    steps, request_itl = (_paired(base.workers, look.workers, signal) for signal in BY_WORKER)
    before = Scrape(base.at, {}, {}, steps[0], request_itl=request_itl[0])
    return before, Scrape(look.at, {}, pools, steps[1], tuple(problems), request_itl=request_itl[1])


def _paired(
    then: Mapping[str, Mapping[str, Worker]], now: Mapping[str, Mapping[str, Worker]], signal: str
) -> tuple[ByWorker, ByWorker]:
    """A histogram at both ends. A worker seen for the first time starts with what it shows now; one that was read and
    showed none starts from zero.
    """
    before, after = _of_workers(then, signal), _of_workers(now, signal)
    for pool, own in after.items():
        first = {name: shown for name, shown in own.items() if name not in then.get(pool, {})}
        before[pool] = {**before.get(pool, {}), **first}
    return before, after


def _of_workers(workers: Mapping[str, Mapping[str, Worker]], signal: str) -> dict[str, dict[str, Cumulative]]:
    told = {pool: {name: getattr(worker, signal) for name, worker in own.items()} for pool, own in workers.items()}
    return {pool: {n: shown for n, shown in own.items() if shown is not None} for pool, own in told.items()}


def _counted(pools: Mapping[str, PoolReading], fleet: Mapping[str, PoolReading]) -> dict[str, PoolReading]:
    """The gauges of Prometheus with the replicas of whoever runs them."""
    none = serving(0)
    return {
        name: replace(
            pools.get(name, none), requested=known.requested, ready=known.ready, starting_s=known.starting_s,
            startups_s=known.startups_s, requested_known=known.requested_known,
        )
        for name, known in fleet.items()
    }  # fmt: skip
