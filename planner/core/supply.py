"""Supply that fails: how long start-ups take, which replicas are overdue, and what is asked for in their place.

A replica that has been starting for far longer than start-ups take may hang, or there may be no GPUs for it.
From outside the two look alike until a replica that was asked for later is ready: then it is the replica. So
one that was overtaken is made up for; one that was not, only by a try or two, since asking for more of what is
not to be had helps nobody. Nothing is made up for once all that was planned is ready: the platform then takes
back first what is not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from planner.core.policy import Policy, Pool
from planner.core.tuning import STARTUPS, Tuning
from planner.core.types import Adjustment, Observation, PoolReading, Reason

LEAST_S = 10.0
"""Start-ups believed to be shorter are given this long before anything is called overdue."""


@dataclass(frozen=True, slots=True)
class Supply:
    """What is known of how replicas of one pool come."""

    startups_s: tuple[float, ...] = ()  # the last ones measured, each at most what makes a replica overdue
    newest_at: float | None = None  # when the youngest of all that became ready was asked for

    def startup_s(self, pool: Pool) -> float:
        """How long a start-up takes: the median of late, so that neither tail moves it.

        What the pool was said to take counts as the first two.
        """
        return median(((pool.startup_s,) * 2 + self.startups_s)[-STARTUPS:])

    def overdue_s(self, pool: Pool, tuning: Tuning) -> float:
        """The age at which a replica that is not ready counts as supply no longer."""
        return tuning.patience * max(self.startup_s(pool), LEAST_S)

    def learnt(self, pool: Pool, reading: PoolReading, at: float, tuning: Tuning) -> Supply:
        """With the start-ups that ended since the last look.

        What waited long for its GPUs says little about start-ups: none counts for more than what is overdue,
        so one bad hour at most multiplies the belief by the patience, and a true change is still followed.
        """
        if not reading.startups_s:
            return self
        most = self.overdue_s(pool, tuning)
        startups = (*self.startups_s, *(min(startup, most) for startup in reading.startups_s))
        newest = max(at - startup for startup in reading.startups_s)
        return Supply(startups[-STARTUPS:], newest if self.newest_at is None else max(newest, self.newest_at))

    def help_in_s(self, pool: Pool, reading: PoolReading, tuning: Tuning) -> float:
        """When the next replica is going to be ready: the oldest that is not overdue, or one that is asked for now."""
        limit = self.overdue_s(pool, tuning)
        return max(0.0, self.startup_s(pool) - max((age for age in reading.starting_s if age <= limit), default=0.0))

    def overdue(self, pool: Pool, reading: PoolReading, tuning: Tuning) -> int:
        """Replicas that have been starting for too long."""
        limit = self.overdue_s(pool, tuning)
        return sum(age > limit for age in reading.starting_s)

    def made_up(self, pool: Pool, reading: PoolReading, planned: int, at: float, tuning: Tuning) -> int:
        """Replicas to ask for beside ``planned``, in place of those that are overdue.

        Those that were overtaken, up to a share of what is planned; of the others one, and another whenever
        the age of the oldest has doubled: five in an hour, where start-ups take two minutes.
        """
        limit = self.overdue_s(pool, tuning)
        late = [age for age in reading.starting_s if age > limit]
        if not late or reading.ready >= planned or not tuning.made_up:
            return 0
        stuck = [age for age in late if self.newest_at is None or at - age >= self.newest_at]
        overtaken = min(len(late) - len(stuck), math.ceil(tuning.made_up * planned))
        return overtaken + (min(len(stuck), 1 + int(math.log2(max(stuck) / limit))) if stuck else 0)


def planned(asked: Mapping[str, int], made_up: Mapping[str, int]) -> dict[str, int]:
    """What was asked for without what it contains in place of overdue replicas."""
    return {name: n - made_up.get(name, 0) for name, n in asked.items()}


def make_up(policy: Policy, supply: Mapping[str, Supply], seen: Observation,
            allowed: Mapping[str, int]) -> tuple[dict[str, int], tuple[Adjustment, ...]]:  # fmt: skip
    """``allowed`` with more in place of what is overdue, as far as bounds and budget leave room."""
    fleet, moved = dict(allowed), []
    for pool in policy.pools:
        reading, n = seen.pools.get(pool.name), allowed.get(pool.name)
        if reading is None or n is None:
            continue
        known = supply.get(pool.name, Supply())
        more = min(known.made_up(pool, reading, n, seen.at, policy.tuning), max(0, pool.max_replicas - n))
        if policy.budget_gpus is not None:
            room = policy.budget_gpus - sum(fleet.get(p.name, 0) * p.gpus for p in policy.pools)
            more = min(more, max(0, room // pool.gpus))
        if more > 0:
            fleet[pool.name] = n + more
            moved.append(Adjustment(pool.name, Reason.OVERDUE, n, n + more))
    return fleet, tuple(moved)


def counted(
    policy: Policy, supply: Mapping[str, Supply], seen: Observation, fleet: Mapping[str, int]
) -> dict[str, int]:
    """Replicas of ``fleet`` that are ready or going to be in time."""
    found = dict(fleet)
    for pool in policy.pools:
        reading = seen.pools.get(pool.name)
        if reading is not None:
            n, late = fleet[pool.name], supply.get(pool.name, Supply()).overdue(pool, reading, policy.tuning)
            found[pool.name] = max(min(reading.ready, n), n - late)
    return found


def told(policy: Policy, supply: Mapping[str, Supply], seen: Observation) -> tuple[str, ...]:
    """What people should know of replicas that do not become ready, one sentence a pool."""
    said = []
    for pool in policy.pools:
        reading, known = seen.pools.get(pool.name), supply.get(pool.name, Supply())
        late = known.overdue(pool, reading, policy.tuning) if reading is not None else 0
        if reading is not None and late:
            who = "1 replica is" if late == 1 else f"{late} replicas are"
            said.append(
                f"{pool.name}: {who} not ready after up to {max(reading.starting_s):.0f} s, where start-ups take "
                f"{known.startup_s(pool):.0f} s: not counted as supply"
            )
    return tuple(said)
