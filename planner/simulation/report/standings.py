"""Who stands where: each policy in a case over its seeds, and over all cases.

Over seeds: mean and 95 % interval (Student's t); differences to the first policy are paired by seed, since all
policies meet the same world. Over cases: geometric means, so that no case counts for more because it is larger.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from planner.simulation.report.figures import Row

SLIGHT_SHARE, SLIGHT_COST = 0.0005, 0.005
"""With a single seed a policy beats another by more than 0.05 points and 0.5 % of its GPU-hours, or not at all."""
ALL_KNOWING = ("clairvoyant", "late")
"""They know the future: nobody can run them, so they beat nobody and are at no front."""
SCHEMA = "sla-planner/suite.v1"


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over seeds and half of its 95 % interval; ``None`` with one seed."""

    value: float
    half: float | None = None

    def to_json(self) -> dict[str, float | None]:
        """The two numbers by name."""
        return {"mean": self.value, "half_interval": self.half}


def mean(values: Sequence[float]) -> Mean:
    """Mean of ``values`` with its interval."""
    count = len(values)
    if count < 2:
        return Mean(float(np.mean(values)))
    from scipy.stats import t

    return Mean(float(np.mean(values)), float(t.ppf(0.975, count - 1) * np.std(values, ddof=1) / math.sqrt(count)))


@dataclass(frozen=True, slots=True)
class Standing:
    """One policy in one case."""

    policy: str
    kept: Mean  # share of all requests
    worst_hour: Mean
    gpu_hours: Mean
    cost: Mean  # GPU-hours over those of the bound at the goal
    ratio: Mean | None  # GPU-hours over those of the bound at the policy's own share
    changes_per_hour: Mean
    more_kept: Mean  # than the first policy, paired by seed
    dearer: Mean  # GPU-hours more than the first policy's, as a share of those, paired by seed
    chosen: Mapping[str, float]  # knobs, of the first seed
    at_the_front: bool  # nobody keeps as much for less
    starred: bool  # the bound is at another share: no plan keeps as little, or as much

    @property
    def beats_the_first(self) -> bool:
        """Whether it keeps more for less than the first policy, by more than noise."""
        if self.policy in ALL_KNOWING:
            return False
        if self.more_kept.half is None or self.dearer.half is None:
            return self.more_kept.value > SLIGHT_SHARE and self.dearer.value < -SLIGHT_COST
        return self.more_kept.value > self.more_kept.half and self.dearer.value < -self.dearer.half

    def to_json(self) -> dict[str, Any]:
        """The standing as ``compare --json`` prints it."""
        means = ("kept", "worst_hour", "gpu_hours", "cost", "changes_per_hour", "more_kept", "dearer")
        return {
            "policy": self.policy,
            **{name: getattr(self, name).to_json() for name in means},
            "ratio": self.ratio.to_json() if self.ratio else None,
            "chosen": dict(self.chosen),
            "at_the_front": self.at_the_front,
            "beats_the_first": self.beats_the_first,
        }


@dataclass(frozen=True, slots=True)
class CaseFigures:
    """Everything that was found in one case."""

    name: str
    variation: str
    requests: int  # of the first seed
    attainable: float  # share kept with unlimited workers, mean over seeds
    goal: float  # the share to keep: the goal's part of what is attainable
    rows: tuple[Row, ...]  # every policy with every seed
    references: Mapping[int, float]  # by seed: GPU-hours of the bound at ``goal``
    curve: tuple[tuple[float, float], ...]  # clairvoyant runs of the first seed: GPU-hours, share kept
    notes: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()  # who was cheaper than the bound with as much kept, in words

    @property
    def title(self) -> str:
        """Name and variation."""
        return f"{self.name}, {self.variation}" if self.variation else self.name

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that were run."""
        return tuple(self.references)

    @property
    def policies(self) -> tuple[str, ...]:
        """Who met."""
        return tuple(dict.fromkeys(row.summary.policy for row in self.rows))

    def standings(self) -> list[Standing]:
        """Every policy, in the order in which they were named."""
        by_policy: dict[str, list[Row]] = {}
        for row in self.rows:
            by_policy.setdefault(row.summary.policy, []).append(row)
        first = next(iter(by_policy.values()), [])
        front = front_of((name, *_place(rows)) for name, rows in by_policy.items() if name not in ALL_KNOWING)
        return [self._standing(name, rows, first, name in front) for name, rows in by_policy.items()]

    def _standing(self, name: str, rows: Sequence[Row], first: Sequence[Row], at_the_front: bool) -> Standing:
        hours = [row.summary.gpu_hours for row in rows]
        references = [self.references[row.summary.seed] for row in rows]
        ratios = [row.ratio for row in rows if row.ratio is not None]
        return Standing(
            policy=name,
            kept=mean([_kept(row) for row in rows]),
            worst_hour=mean([row.summary.attainment.worst_hour or 0.0 for row in rows]),
            gpu_hours=mean(hours),
            cost=mean([h / r if r else math.nan for h, r in zip(hours, references, strict=True)]),
            ratio=mean(ratios) if ratios else None,
            changes_per_hour=mean([row.summary.changes_per_hour for row in rows]),
            more_kept=mean([_kept(row) - _kept(one) for row, one in zip(rows, first, strict=True)]),
            dearer=mean([h / one.summary.gpu_hours - 1.0 if one.summary.gpu_hours else 0.0
                         for h, one in zip(hours, first, strict=True)]),
            chosen=rows[0].chosen,
            at_the_front=at_the_front,
            starred=any(row.is_far for row in rows),
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """The case as ``compare --suite … --json`` prints it."""
        return {
            "case": self.name,
            "variation": self.variation,
            "requests": self.requests,
            "attainable": self.attainable,
            "goal": self.goal,
            "seeds": list(self.seeds),
            "bound": [{"gpu_hours": hours, "attainment": share} for hours, share in self.curve],
            "rows": [row.to_json() for row in self.rows],
            "standings": [standing.to_json() for standing in self.standings()],
            "notes": list(self.notes),
            "broken": list(self.broken),
        }


@dataclass(frozen=True, slots=True)
class Overall:
    """One policy over all cases of a group that it took part in: geometric means over cases."""

    policy: str
    cases: int
    goals: int  # cases in which it kept the goal's part of what is attainable
    kept: float  # of what is attainable
    worst_hour: float  # the lowest of all cases, of what is attainable there
    cost: float  # GPU-hours over those of the bound at the goal
    ratio: float | None  # GPU-hours over those of the bound at its own share
    fronts: int  # cases in which nobody keeps as much for less
    beaten_by: tuple[str, ...]  # "policy in case": who keeps more for less than the first policy

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Group:
    """Cases in which much the same policies meet, and how they stand over them."""

    title: str
    cases: tuple[CaseFigures, ...]
    standings: tuple[Overall, ...]

    def to_json(self) -> dict[str, Any]:
        """Title, names of the cases, standings."""
        return {
            "title": self.title,
            "cases": [case.title for case in self.cases],
            "standings": [standing.to_json() for standing in self.standings],
        }


def groups(cases: Sequence[CaseFigures]) -> list[Group]:
    """Cases as described and cases with something changed: means over different cases would not compare.

    A case that is met by less than half as many policies as others of its group is in none.
    """
    found = []
    for title, group in (
        ("Cases as described", [case for case in cases if not case.variation]),
        ("Other start-ups and truths", [case for case in cases if case.variation]),
    ):
        most = max((len(case.policies) for case in group), default=0)
        alike = tuple(case for case in group if 2 * len(case.policies) >= most)
        if len(alike) > 1:
            found.append(Group(title, alike, tuple(overall(alike))))
    return found


def overall(cases: Sequence[CaseFigures]) -> list[Overall]:
    """Every policy over the cases; who stood in fewer cases comes with a mean over fewer."""
    stood: dict[str, list[tuple[CaseFigures, Standing]]] = {}
    for case in cases:
        for standing in case.standings():
            stood.setdefault(standing.policy, []).append((case, standing))
    first = next(iter(stood), "")
    beaten = tuple(
        f"{standing.policy} in {case.title}"
        for places in stood.values() for case, standing in places if standing.beats_the_first
    )  # fmt: skip
    return [_overall(name, places, beaten if name == first else ()) for name, places in stood.items()]


def _overall(name: str, places: Sequence[tuple[CaseFigures, Standing]], beaten: tuple[str, ...]) -> Overall:
    parts = [(standing.kept.value / case.attainable, case.attainable, standing) for case, standing in places]
    ratios = [s.ratio.value for _, _, s in parts if s.ratio is not None]
    return Overall(
        policy=name,
        cases=len(places),
        goals=sum(standing.kept.value >= case.goal for case, standing in places),
        kept=geometric(part for part, _, _ in parts),
        worst_hour=min(s.worst_hour.value / attainable for _, attainable, s in parts),
        cost=geometric(s.cost.value for _, _, s in parts),
        ratio=geometric(ratios) if ratios else None,
        fronts=sum(s.at_the_front for _, _, s in parts),
        beaten_by=beaten,
    )


def geometric(values: Iterable[float]) -> float:
    """Geometric mean; 0 when one of the values is."""
    found = np.array(list(values), float)
    return float(np.exp(np.log(found).mean())) if (found > 0).all() else 0.0


def front_of(points: Iterable[tuple[str, float, float]]) -> list[str]:
    """Names of the points (name, cost, share kept) that nothing beats in both, cheapest first."""
    front: list[str] = []
    most = -math.inf
    for name, _, share in sorted(points, key=lambda p: (p[1], -p[2])):
        if share > most:
            front.append(name)
            most = share
    return front


def _place(rows: Sequence[Row]) -> tuple[float, float]:
    return float(np.mean([r.summary.gpu_hours for r in rows])), float(np.mean([_kept(r) for r in rows]))


def _kept(row: Row) -> float:
    return row.summary.attainment.both or 0.0
