"""What a worker process does: one small piece of a sweep, from plain values to plain values.

Every piece builds the world that it needs from the settings; the last one built in a process is kept, since
pieces of a case follow each other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from planner import wiring
from planner.arena import runs
from planner.arena.contenders import PLANS
from planner.config import CompareSettings
from planner.simulation import clairvoyant
from planner.simulation.fleets import beginning, enough, share_kept, smallest_fleet
from planner.simulation.report.figures import Summary, summarise

if TYPE_CHECKING:
    from planner.core.profiles import Profile
    from planner.simulation.simulate import World

NOT_THE_WORLD = ("policies", "outputs", "description", "min_attainment", "seeds")
"""Settings that change nothing of a run."""
_kept: dict[str, tuple[Profile, World]] = {}


@dataclass(frozen=True, slots=True)
class Site:
    """What a world is built from: settings, and a digest of the files that they name."""

    settings: CompareSettings
    files: str

    @property
    def key(self) -> str:
        """Equal for sites whose worlds are equal."""
        return "\n".join((self.files, digest(self.settings)))


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is the same for every policy of a case."""

    requests: int
    duration_s: float
    windows: int
    widenings: tuple[clairvoyant.Widening, ...]  # of clairvoyant plans
    initial: Mapping[str, int]  # replicas that are ready at the start
    attainable: float  # share kept with as many workers as anyone could want
    truth: str  # digest of traffic, plant and promise: all that the tables of the bound depend on
    notes: tuple[str, ...]


def digest(settings: CompareSettings) -> str:
    """The settings of a world as text; equal for cases that differ in policies or outputs only."""
    return json.dumps(settings.model_dump(mode="json", by_alias=True, exclude=set(NOT_THE_WORLD)), sort_keys=True)


def prepare(site: Site) -> Prepared:
    """Look at the traffic, find the fleet at the start and what can be had at all."""
    profile, world = _world(site)
    big = {pool: enough(world, pool) for pool in world.pools}
    return Prepared(
        requests=world.traffic.requests,
        duration_s=world.traffic.duration_s,
        windows=clairvoyant.windows_of(world),
        widenings=clairvoyant.widenings_of(world),
        initial=wiring.initial_of(site.settings, profile, world),
        attainable=share_kept(world, big)[1],
        truth=_truth(world),
        notes=(*world.traffic.notes, *world.notes),
    )


def best_fixed(site: Site) -> dict[str, int]:
    """The best fixed fleet in hindsight."""
    return smallest_fleet(_world(site)[1])


def tables(site: Site, first: int, last: int) -> clairvoyant.Tables:
    """The tables of some windows of the clairvoyant bound."""
    return clairvoyant.tables_of(_world(site)[1], first, last)


def point(site: Site, known: clairvoyant.Tables, asked: float, by: clairvoyant.Widening) -> clairvoyant.Point:
    """One run of the clairvoyant bound."""
    return clairvoyant.Bound(_world(site)[1], known).point(asked, by)


def run(site: Site, name: str, initial: Mapping[str, int], fixed: Mapping[str, int],
        knobs: Mapping[str, float], known: clairvoyant.Tables | None = None) -> Summary:  # fmt: skip
    """One policy on the whole traffic."""
    profile, world = _world(site)
    with _named(name, site.settings):
        if name in PLANS:
            assert known is not None  # late: the other plan is the bound itself
            return summarise(clairvoyant.late(world, known))
        return summarise(runs.run(_bounded(site.settings, world), profile, world, name, initial, fixed, knobs))


def trained(site: Site, name: str, initial: Mapping[str, int], knobs: Mapping[str, float]) -> Summary:
    """One policy with these knobs on the first half of the traffic."""
    profile, world = _world(site)
    with _named(name, site.settings):
        half = beginning(world, 0.5 * world.traffic.duration_s)
        return summarise(runs.run(_bounded(site.settings, world), profile, half, name, initial, None, knobs))


def _bounded(settings: CompareSettings, world: World) -> CompareSettings:
    """The settings with an upper bound for every pool, as any operator writes one: twice what its peak needs.

    Without it a law that runs away asks for thousands of workers, and is worse than it would be anywhere.
    """
    most = {pool: max(enough(world, pool), settings.min_replicas.get(pool, 0)) for pool in world.pools}
    return settings.model_copy(update={"max_replicas": {**most, **settings.max_replicas}})


def _world(site: Site) -> tuple[Profile, World]:
    found = _kept.get(site.key)
    if found is None:
        profile = wiring.profile_of(site.settings)
        found = profile, wiring.world_of(site.settings, profile)
        _kept.clear()
        _kept[site.key] = found
    return found


def _truth(world: World) -> str:
    traffic, seen = world.traffic, hashlib.sha256()
    arrays: list[Any] = [traffic.arrivals_s, traffic.input_tokens, traffic.output_tokens]
    arrays += [a for a in (traffic.block_ids, traffic.block_starts) if a is not None]
    for array in arrays:
        seen.update(array.tobytes())
    promise = replace(world.promise, goal=0.5)  # the tables are of all goals
    seen.update(repr((traffic.duration_s, traffic.block_tokens, world.plant, promise, tuple(world.pools))).encode())
    return seen.hexdigest()


@contextmanager
def _named(name: str, settings: CompareSettings) -> Iterator[None]:
    """A failure says whose it is."""
    try:
        yield
    except Exception as problem:
        problem.add_note(f"policy {name} on {settings.traffic.source}, seed {settings.seed}")
        raise
