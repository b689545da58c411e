"""A suite for ``planner compare``: cases, what may differ in them, and which policies meet where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.config.settings import Settings, setting
from planner.config.values import Names, Text


class SuiteCase(Settings):
    """Traffic and promise."""

    traffic: tuple[Mapping[str, Any], ...] = setting(
        "Settings of the traffic; of several the first whose source is found counts.", min_length=1
    )
    get: Text | None = setting("The data set of planner data get that has it; without it the traffic is shipped.", None)
    where: Text | None = setting("Where the traffic is from, if it is no data set.", None)
    settings: Mapping[str, Any] = setting("Settings of planner compare for this case.", {})


class Study(Settings):
    """Policies that meet in some cases."""

    policies: Names = setting("Names of policies; peers and peers:tuned stand for all of them.", min_length=1)
    cases: Names | None = setting("The cases; without it all.", None)
    variations: Names = setting("What differs, one after the other; as-is is the case as described.", ("as-is",))


class SuiteSettings(Settings):
    """Many cases."""

    description: str = setting("What the suite shows, for people.", "")
    sampled: str = setting("What was left out to keep it short, for people.", "")
    common: Mapping[str, Any] = setting("Settings of planner compare that hold for every case.", {})
    cases: Mapping[Text, SuiteCase] = setting("By name.", min_length=1)
    variations: Mapping[Text, Mapping[str, Any]] = setting("By name: settings that go over those of a case.", {})
    studies: tuple[Study, ...] = setting("Who meets where.", min_length=1)
