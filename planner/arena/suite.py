"""From a suite's description to its cases: traffic found, variations laid over, policies named."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planner.arena.contenders import expanded, problems
from planner.arena.contest import Case
from planner.config import CompareSettings, ConfigError
from planner.config.layers import layered
from planner.config.loading import nested
from planner.config.suite import SuiteCase, SuiteSettings
from planner.simulation.traffic.errors import TrafficError
from planner.simulation.traffic.generators import is_generator
from planner.simulation.traffic.sources import locate

AS_IS = "as-is"
ENDINGS = ("", ".gz", ".zst")


@dataclass(frozen=True, slots=True)
class Suite:
    """What is to be run, and what cannot be."""

    cases: list[Case]
    skipped: list[str] = field(default_factory=list)  # a sentence for each case whose traffic is missing


def expand(suite: SuiteSettings, folder: Path, traces: Sequence[Path], over: Mapping[str, Any]) -> Suite:
    """Every case with every variation that a study names; ``over`` (values by path) goes over all settings.

    Files are looked for beside the suite, in ``traces`` and the folders in them.

    Raises:
        ConfigError: everything that is wrong, each with its place.
    """
    wrong = _misnamed(suite)
    if wrong:
        raise ConfigError(wrong)
    found = {name: _found(case, [folder, *traces]) for name, case in suite.cases.items()}
    skipped = [_missing(name, suite.cases[name]) for name, traffic in found.items() if traffic is None]
    meetings: dict[tuple[str, str], list[str]] = {}
    for study in suite.studies:
        for name in study.cases or suite.cases:
            for variation in study.variations:
                meetings.setdefault((name, variation), []).extend(expanded(study.policies))
    cases = []
    for (name, variation), policies in meetings.items():
        traffic = found[name]
        if traffic is None:
            continue
        try:
            cases.append(_case(suite, name, variation, traffic, list(dict.fromkeys(policies)), folder, over))
        except ConfigError as problem:
            wrong += problem.problems
    if wrong:
        raise ConfigError(wrong)
    return Suite(cases, skipped)


def folders(given: Path | None) -> list[Path]:
    """Where traces may lie: as given, where ``planner data get`` puts them, in the folder of the environment."""
    shared = os.environ.get("SLA_PLANNER_SHARED")
    return [*([given] if given else []), Path("traces"), *([Path(shared) / "traces"] if shared else [])]


def _misnamed(suite: SuiteSettings) -> list[str]:
    wrong = []
    for number, study in enumerate(suite.studies):
        place = f"studies.{number}"
        wrong += [f"{place}: no case is called {name!r}" for name in study.cases or () if name not in suite.cases]
        wrong += [f"{place}: no variation is called {name!r}" for name in study.variations
                  if name != AS_IS and name not in suite.variations]  # fmt: skip
        wrong += [f"{place}: {problem}" for problem in problems(expanded(study.policies))]
    return wrong


def _found(case: SuiteCase, places: Sequence[Path]) -> dict[str, Any] | None:
    """The first traffic whose source is there, with its path."""
    for traffic in case.traffic:
        path = _path(str(traffic.get("source", "")), places)
        if path is not None:
            return {**traffic, "source": path}
    return None


def _path(source: str, places: Sequence[Path]) -> str | None:
    if is_generator(source):
        return source
    for path in _candidates(source, places):
        if path.exists():
            return str(path)
    try:
        locate(source)
    except TrafficError:
        return None
    return source


def _candidates(source: str, places: Sequence[Path]) -> Iterator[Path]:
    for place in places:
        inside = sorted(p for p in place.iterdir() if p.is_dir()) if place.is_dir() else []
        for where in (place, *inside):
            yield from (where / f"{source}{ending}" for ending in ENDINGS)


def _missing(name: str, case: SuiteCase) -> str:
    sources = " or ".join(str(traffic.get("source")) for traffic in case.traffic)
    how = f"planner data get {case.get}" if case.get else case.where or "name its folder with --traces"
    return f"{name} left out: {sources} is not there; {how}"


def _case(suite: SuiteSettings, name: str, variation: str, traffic: Mapping[str, Any], policies: Sequence[str],
          folder: Path, over: Mapping[str, Any]) -> Case:  # fmt: skip
    of_the_suite = {"traffic": traffic, "policies": list(policies)}
    flags = [_nested(path, value) for path, value in over.items()]
    varied = suite.variations.get(variation, {})
    raw = layered(suite.common, suite.cases[name].settings, of_the_suite, varied, *flags)
    shown = "" if variation == AS_IS else variation
    settings = nested(CompareSettings, raw, folder, f"{name} {shown}".strip())
    return Case(name, settings, shown)


def _nested(path: str, value: Any) -> dict[str, Any]:
    first, _, rest = path.partition(".")
    return {first: _nested(rest, value) if rest else value}
