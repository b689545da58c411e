"""A contest: every policy of every case, each beside the bound at its own attainment.

The work is done kind by kind over all cases (what is common, settings tried for tuned peers, tables of the bound,
runs, clairvoyant runs), so that no core waits for the slowest policy of a case.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeGuard

from planner.adapters import profile_files
from planner.arena import jobs, store
from planner.arena.contenders import Contender, contender, steers
from planner.arena.crew import Crew, Piece
from planner.arena.search import Score, Search, search
from planner.config import CompareSettings
from planner.simulation import clairvoyant
from planner.simulation.clairvoyant import Point, Tables
from planner.simulation.peers import PEERS
from planner.simulation.report.figures import Row, Summary
from planner.simulation.report.standings import CaseFigures
from planner.simulation.traffic import generators, lengths, servegen, sources

PIECE = 24
"""Windows of the bound that are one piece of work: a second or a few."""


@dataclass(frozen=True, slots=True)
class Case:
    """One world and the policies that meet in it."""

    name: str
    settings: CompareSettings
    variation: str = ""  # what differs from the case as the suite describes it; empty: nothing

    @property
    def contenders(self) -> list[Contender]:
        """Its policies; those that cannot steer its mode are left out."""
        named = [contender(name) for name in self.settings.policies]
        return [one for one in named if steers(one, self.settings.mode)]


@dataclass(slots=True)
class _Case:
    """A case on its way."""

    case: Case
    site: jobs.Site
    prepared: jobs.Prepared
    known: Tables | None = None
    fixed: Mapping[str, int] = field(default_factory=dict)
    chosen: dict[str, Mapping[str, float]] = field(default_factory=dict)  # by policy
    summaries: dict[str, Summary] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)

    @property
    def settings(self) -> CompareSettings:
        return self.case.settings

    def key(self, made_by: str, *more: object) -> str:
        """What a result depends on: digest of the sources, the world, whatever else is said."""
        said = json.dumps((dict(self.prepared.initial), *more), sort_keys=True)
        return "\n".join((made_by, self.site.key, said))


def held(cases: Sequence[Case], crew: Crew) -> list[CaseFigures]:
    """Run everything with all seeds; what came of each case, in their order."""
    seeded = [_with_seeds(case) for case in cases]
    under_way = _prepared([case for group in seeded for case in group], crew)
    _tabulate(under_way, crew)
    _tune(under_way, crew)
    _run(under_way, crew)
    _close_in(under_way, crew)
    going = iter(under_way)
    return [_figures([next(going) for _ in group]) for group in seeded]


def _with_seeds(case: Case) -> list[Case]:
    first = case.settings.seed
    seeds = range(first, first + case.settings.seeds)
    return [replace(case, settings=case.settings.model_copy(update={"seed": seed})) for seed in seeds]


WORLD = ("planner.arena.jobs", "planner.wiring", "planner.config.settings")
"""Modules through which every result comes; they import everything, so they are not followed."""


def _of_the_bound() -> str:
    """Digest of what finds the fleet at the start, fixed fleets, tables and plans: no law is part of it."""
    return store.sources("planner.simulation.clairvoyant", "planner.simulation.traffic.load", *WORLD, stop=WORLD)


def _of(one: Contender) -> str:
    """Digest of what makes the run of a policy."""
    if one.is_plan:
        return _of_the_bound()
    law = PEERS[one.law].make.__module__ if one.is_peer else "planner.wiring"
    stop = WORLD if one.is_peer else ("planner.arena",)
    return store.sources("planner.simulation.simulate", "planner.simulation.traffic.load", law, *WORLD, stop=stop)


def _prepared(cases: Sequence[Case], crew: Crew) -> list[_Case]:
    sites = [jobs.Site(case.settings, _files(case.settings)) for case in cases]
    pieces = [Piece(jobs.prepare, (site,), "\n".join((_of_the_bound(), site.key))) for site in sites]
    found = crew.do("traffic", pieces)
    return [_Case(*parts) for parts in zip(cases, sites, found, strict=True)]


def _tabulate(cases: Sequence[_Case], crew: Crew) -> None:
    """The tables of the bound and the best fixed fleets, once for all cases that share a truth."""
    worlds = {one.prepared.truth: one for one in cases}
    wanted = [one for one in cases if any(c.law == "static" for c in one.case.contenders)]
    fleets = {(one.prepared.truth, one.settings.sla.goal): one for one in wanted if not one.settings.replicas}
    searches = [
        Piece(jobs.best_fixed, (one.site,), one.key(_of_the_bound()), 100.0 * one.prepared.requests)
        for one in fleets.values()
    ]
    windows = [piece for truth, one in worlds.items() for piece in _windows(truth, one)]
    results = crew.do("windows of the bound, best fixed fleets", [*searches, *windows])
    found = iter(results[len(searches) :])
    known = {
        truth: clairvoyant.joined([next(found) for _ in range(0, one.prepared.windows, PIECE)])
        for truth, one in worlds.items()
    }
    best = dict(zip(fleets, results, strict=False))
    for one in cases:
        one.known = known[one.prepared.truth]
    for one in wanted:
        one.fixed = dict(one.settings.replicas) or best[one.prepared.truth, one.settings.sla.goal]


def _windows(truth: str, one: _Case) -> Iterator[Piece]:
    for first in range(0, one.prepared.windows, PIECE):
        last = min(first + PIECE, one.prepared.windows)
        key = "\n".join((_of_the_bound(), truth, f"{first}-{last}"))
        yield Piece(jobs.tables, (one.site, first, last), key, one.prepared.requests)


def _tune(cases: Iterable[_Case], crew: Crew) -> None:
    """Choose knobs of tuned peers on the training half, all searches side by side."""
    searches: list[tuple[_Case, Contender, Search, list[Mapping[str, float]]]] = []
    for one in cases:
        goal = one.settings.sla.goal if one.prepared.attainable >= one.settings.sla.goal else (
            one.settings.sla.goal * one.prepared.attainable)  # fmt: skip
        for c in one.case.contenders:
            if c.tuned:
                looking = search(PEERS[c.law].searched, PEERS[c.law].defaults, goal)
                searches.append((one, c, looking, next(looking)))
    while searches:
        pieces = [
            Piece(jobs.trained, (one.site, c.law, one.prepared.initial, knobs),
                  one.key(_of(c), c.law, knobs), one.prepared.requests)
            for one, c, _, batch in searches for knobs in batch
        ]  # fmt: skip
        scores = iter(Score(s.attainment.both or 0.0, s.gpu_hours) for s in crew.do("settings of tuned peers", pieces))
        going = []
        for one, c, looking, batch in searches:
            try:
                going.append((one, c, looking, looking.send([next(scores) for _ in batch])))
            except StopIteration as over:
                one.chosen[c.name] = over.value
        searches = going


def _run(cases: Sequence[_Case], crew: Crew) -> None:
    places = [(one, c) for one in cases for c in one.case.contenders if c.law != "clairvoyant"]
    pieces = []
    for one, c in places:
        knobs = one.chosen.get(c.name, {})
        fixed = one.fixed if c.law == "static" else {}
        known = one.known if c.law == "late" else None
        pieces.append(
            Piece(jobs.run, (one.site, c.name, one.prepared.initial, fixed, knobs, known),
                  one.key(_of(c), c.name, knobs, dict(fixed)), one.prepared.requests)
        )  # fmt: skip
    for (one, c), summary in zip(places, crew.do("runs", pieces), strict=True):
        one.summaries[c.name] = summary


def _close_in(cases: Sequence[_Case], crew: Crew) -> None:
    """The bound at every attainment that is asked for, round by round, every run of a case helping the others."""
    for number in range(max(len(one.prepared.widenings) for one in cases)):
        asks = [
            (one, one.prepared.widenings[number], share, list[float]())
            for one in cases if number < len(one.prepared.widenings) for share in _shares(one)
        ]  # fmt: skip
        while asks:
            asks = _round(asks, crew)


_Ask = tuple[_Case, clairvoyant.Widening, float, list[float]]
"""A case, a widening, the share to be kept, what the tables have been asked for on its behalf."""


def _round(asks: Sequence[_Ask], crew: Crew) -> list[_Ask]:
    going: list[_Ask] = []
    wanted: dict[tuple[int, clairvoyant.Widening, float], _Case] = {}
    for one, by, share, tried in asks:
        asked = clairvoyant.next_asked(share, [p for p in one.points if p.widening == by], tried)
        if asked is not None:
            asked = float(f"{asked:.3g}")
            wanted[id(one), by, asked] = one
            going.append((one, by, share, [*tried, asked]))
    pieces = [
        Piece(jobs.point, (one.site, one.known, asked, by), one.key(_of_the_bound(), asked, by), one.prepared.requests)
        for (_, by, asked), one in wanted.items()
    ]
    for one, point in zip(wanted.values(), crew.do("clairvoyant runs", pieces), strict=True):
        one.points.append(point)
    return going


def _shares(one: _Case) -> list[float]:
    """What the bound is asked to keep: the goal's part of what is attainable, and what every policy kept."""
    goal = one.settings.sla.goal
    kept = [s.attainment.both for s in one.summaries.values() if s.attainment.both is not None and s.gpu_hours > 0]
    return [goal * one.prepared.attainable, *([goal] if _has_bound_row(one) else []), *kept]


def _has_bound_row(one: _Case) -> bool:
    return any(c.law == "clairvoyant" for c in one.case.contenders)


def _figures(seeds: Sequence[_Case]) -> CaseFigures:
    """A case over its seeds."""
    first = seeds[0]
    rows = [found for one in seeds for found in _rows(one)]
    attainable = sum(one.prepared.attainable for one in seeds) / len(seeds)
    return CaseFigures(
        name=first.case.name,
        variation=first.case.variation,
        requests=first.prepared.requests,
        attainable=attainable,
        goal=first.settings.sla.goal * attainable,
        rows=tuple(row for row, _ in rows),
        references={one.settings.seed: _reference(one).summary.gpu_hours for one in seeds},
        curve=tuple(sorted((p.summary.gpu_hours, p.kept) for p in first.points)),
        notes=first.prepared.notes,
        broken=tuple(broken for _, broken in rows if broken),
    )


def _reference(one: _Case) -> Point:
    return clairvoyant.best(one.settings.sla.goal * one.prepared.attainable, one.points)


def _rows(one: _Case) -> Iterator[tuple[Row, str]]:
    """A row for every policy beside the bound at its own attainment, and what is wrong with the bound if it is."""
    attainable = one.prepared.attainable
    for c in one.case.contenders:
        if c.law == "clairvoyant":
            ideal = clairvoyant.best(one.settings.sla.goal, one.points)
            yield Row(ideal.summary, 1.0, ideal.kept, attainable=attainable), ""
            continue
        summary, chosen = one.summaries[c.name], one.chosen.get(c.name, {})
        share = summary.attainment.both
        if share is None or summary.gpu_hours <= 0:
            yield Row(summary, chosen=chosen, attainable=attainable), ""
            continue
        ideal = clairvoyant.best(share, one.points)
        ratio = summary.gpu_hours / ideal.summary.gpu_hours
        yield Row(summary, ratio, ideal.kept, chosen, attainable), clairvoyant.broken(summary, ideal)


def _files(settings: CompareSettings) -> str:
    """Digest of what a world is made from: the profile's figures, the files of the traffic."""
    paths = [sources.locate(name) for name in (settings.traffic.source, settings.traffic.lengths) if _is_file(name)]
    paths += filter(None, map(servegen.totals_beside, paths))
    return "\n".join((repr(profile_files.load(settings.profile)), *map(store.content, paths)))


def _is_file(name: str | None) -> TypeGuard[str]:
    return name is not None and not generators.is_generator(name) and not lengths.is_length_spec(name)
