"""From settings to finished runs: what ``simulate`` and ``compare`` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner import wiring
from planner.adapters.decision_log import About, about_of
from planner.answers import Files
from planner.commands._decisions import decisions
from planner.commands._progress import bar, spinner
from planner.config import SimulateSettings

if TYPE_CHECKING:
    from planner.core.policy import Policy
    from planner.core.profiles import Profile
    from planner.simulation.report.figures import Summary
    from planner.simulation.run import Run
    from planner.simulation.simulate import World


def built(settings: SimulateSettings) -> tuple[Profile, World]:
    """Profile and world of the settings; the policy is tried too, so that bad input is told before any waiting.

    Raises:
        ValueError: any of them makes no sense.
    """
    profile = wiring.profile_of(settings)
    fixed = dict.fromkeys(settings.pools, 1)
    wiring.policy_of(settings, profile, fixed=settings.replicas or fixed)
    with spinner("reading traffic"):
        return profile, wiring.world_of(settings, profile)


def start_of(settings: SimulateSettings, world: World) -> dict[str, int]:
    """The fleet that is ready at the start: as set, or the smallest that keeps the goal for five minutes."""
    with spinner("finding the smallest fleet for the first five minutes"):
        return wiring.initial_of(settings, wiring.profile_of(settings), world)


def run_policy(settings: SimulateSettings, profile: Profile, world: World, initial: dict[str, int],
               log: Path | None = None, files: Files | None = None) -> Run:  # fmt: skip
    """Run the law of the settings; a static one without a fleet gets the best in hindsight and says so.

    ``files`` remembers why the decision log could not be written.

    Raises:
        OSError: the decision log cannot be opened.
    """
    from planner.simulation.simulate import simulate

    fixed = dict(settings.replicas) if settings.law == "static" else {}
    if settings.law == "static" and not fixed:
        from planner.simulation.fleets import smallest_fleet

        with spinner("searching the best fixed fleet in hindsight"):
            fixed = smallest_fleet(world)
    policy = wiring.policy_of(settings, profile, fixed=fixed)
    with (
        decisions(log, _about(settings, policy), files or Files()) as sinks,
        bar(f"{settings.law}: {world.traffic.requests:,} requests") as progress,
    ):
        return simulate(world, settings.law, wiring.planner_of(policy), fixed or initial, sinks, progress)


def refuse_below(floor: float | None, summary: Summary) -> None:
    """Exit code 1 when a run kept less than ``floor``, or nothing is known of it."""
    reached = summary.attainment.both
    if floor is not None and (reached is None or reached < floor):
        shown = "unknown" if reached is None else f"{reached:.2%}"
        click.echo(f"attainment {shown} is below --min-attainment {floor:.2%}", err=True)
        raise SystemExit(1)


def _about(settings: SimulateSettings, policy: Policy) -> About:
    """What the decision log is of; a fixed fleet that was searched for is written as if it had been asked for."""
    said = settings.model_copy(update={"replicas": dict(policy.fixed)})
    return about_of(
        policy,
        name=settings.traffic.source,
        profile=settings.profile,
        mode=settings.mode,
        settings=said.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"outputs"}),
    )
