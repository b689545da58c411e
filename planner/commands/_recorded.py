"""From what a log says of itself, or from another configuration, to the policy that decides it again."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from planner import config, wiring
from planner.adapters.decision_log import About, about_of
from planner.config.flags import Setting
from planner.config.flags import settings as every
from planner.config.live import LiveSettings
from planner.config.settings import ControlSettings, SimulateSettings
from planner.core.policy import Policy

BY_POOL = ("min_replicas", "max_replicas", "gpus_per_replica", "replicas")
"""Settings that speak of pools, and mean nothing in another mode."""


def policy_of(
    about: About | None, other: Path | None, flags: Mapping[str, Any], log: Path
) -> tuple[Policy, ControlSettings]:
    """The policy of the log's own configuration, or of another file; ``flags`` (values by path) go over either.

    Raises:
        ConfigError: it does not fit together, or nothing says how to decide.
        ProfileError: its profile is not there.
    """
    found = _from_file(other, flags) if other is not None else _from_log(about, flags, log)
    policy = wiring.policy_of(found, wiring.profile_of(found))
    if policy.law == "static" and set(policy.fixed) != {pool.name for pool in policy.pools}:
        raise config.ConfigError(["law static needs its fleet: write replicas for every pool, or --replicas"])
    return policy, found


def about_again(policy: Policy, settings: ControlSettings, name: str) -> About:
    """What a re-decided log is of."""
    whole = isinstance(settings, SimulateSettings)
    fields = None if whole else set(ControlSettings.model_fields)
    said = settings.model_dump(mode="json", by_alias=True, exclude_none=True, include=fields, exclude={"outputs"})
    return about_of(policy, name=name, profile=settings.profile, mode=settings.mode, settings=said)


def _from_log(about: About | None, flags: Mapping[str, Any], log: Path) -> ControlSettings:
    if about is None:
        raise config.ConfigError([f"{log} does not say what configuration it is of: name one with --config"])
    model = SimulateSettings if "traffic" in about.settings else ControlSettings  # how a live one was run is no matter
    written = as_written(model, about.settings)
    written.pop("initial", None)  # a start is no decision
    if flags.get("law", "static") != "static":
        written.pop("replicas", None)  # the fixed fleet was of the law that is replaced
    if "mode" in flags:
        written = {path: value for path, value in written.items() if path not in BY_POOL}
    return config.load(model, None, {**written, **flags})


def _from_file(file: Path, flags: Mapping[str, Any]) -> ControlSettings:
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raw = None  # the strict reader says what is wrong
    return config.load(_model(raw if isinstance(raw, dict) else {}), file, flags)


def _model(raw: Mapping[str, Any]) -> type[ControlSettings]:
    """Simulated and live configurations steer alike; what else they hold is checked as what it is."""
    if "traffic" in raw:
        return SimulateSettings
    return LiveSettings if "prometheus" in raw else ControlSettings


def as_written(model: type[ControlSettings], recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the recorded settings (as dumped to JSON) that ``model`` has, by path, as people would write them."""
    return {one.path: value for one in every(model) if (value := _written(one, recorded)) is not None}


def _written(one: Setting, recorded: Mapping[str, Any]) -> Any:
    """A recorded value as people write it: durations carry their unit. ``None``: it was left out."""
    value: Any = recorded
    for step in one.path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    if one.form.name.startswith("duration") and isinstance(value, int | float):
        return f"{Decimal(repr(value)):f}s"
    return value
