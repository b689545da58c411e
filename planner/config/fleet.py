"""Settings of several models that share one budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.config.layers import layered
from planner.config.problems import ConfigError
from planner.config.settings import JsonSettings, Settings, SimulateSettings, setting
from planner.config.values import Names, Number, Whole


class FleetSettings(Settings):
    """Several models, each with its own traffic and promise, under one budget."""

    description: str = setting("What this fleet shows, for people.", "")
    budget_gpus: Whole | None = setting("Never more GPUs than this for all models together.", None, alias="budget",
                                        flag="--budget", ge=1)  # fmt: skip
    budget_cost: Number | None = setting(
        "Instead of budget: never more cost per hour than this, by each pool's cost of a GPU-hour.", None,
        alias="cost_budget", flag="--cost-budget", gt=0)  # fmt: skip
    splits: Names = setting(
        "Ways to share that are compared: value (ours), equal, proportional, first-come.",
        ("value", "equal", "proportional", "first-come"), flag="--splits", min_length=1)  # fmt: skip
    seed: Whole | None = setting("Seed of the first model, those after it count on; without it each model's own.", None,
                                 flag="--seed", ge=0)  # fmt: skip
    common: Mapping[str, Any] = setting("Settings of planner simulate that hold for every model.", {})
    models: Mapping[str, Mapping[str, Any]] = setting(
        "By name: settings of planner simulate for this model, and its priority (what one kept request counts, 1)."
    )
    outputs: JsonSettings = setting("Where results go.", JsonSettings())


@dataclass(frozen=True, slots=True)
class Model:
    """One model of a fleet."""

    settings: SimulateSettings
    priority: float = 1.0


def models(fleet: FleetSettings, folder: Path) -> dict[str, Model]:
    """Every model of a fleet whose file lies in ``folder``, by name: its own settings over the common ones.

    Raises:
        ConfigError: everything that is wrong with any of them.
    """
    from planner.config.loading import nested

    found: dict[str, Model] = {}
    problems: list[str] = []
    for number, (name, own) in enumerate(fleet.models.items()):
        raw = layered(fleet.common, own)
        priority = raw.pop("priority", 1.0)
        if isinstance(priority, bool) or not isinstance(priority, int | float) or not 0 < priority < float("inf"):
            problems.append(f"models.{name}.priority: {priority!r} must be a number above 0")
            continue
        if fleet.seed is not None:
            raw["seed"] = fleet.seed + number
        try:
            found[name] = Model(nested(SimulateSettings, raw, folder, f"models.{name}"), float(priority))
        except ConfigError as problem:
            problems += problem.problems
    if problems:
        raise ConfigError(problems)
    return found
