"""``planner replay``: a recorded log decided again, with today's code or another configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.answers import Files, reader
from planner.commands._options import given, settings_options
from planner.commands._progress import bar
from planner.config.settings import ControlSettings

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from planner.core.policy import Policy
    from planner.replay.difference import Changed, Difference
    from planner.replay.recording import Recording

SCHEMA = "sla-planner/replay.v1"
SEEN = "the fleet that is seen is the recorded one: what another fleet would have lived through is for simulate"
SHOWN = 10


@click.command("replay")
@click.argument("log", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--config", "other", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="OTHER.yaml",
              help="Decide by this configuration instead of the log's own; of simulate or run.")  # fmt: skip
@settings_options(ControlSettings)
@click.option(
    "--diff", is_flag=True, help="List every step that asks for another fleet, not only where the two come to differ."
)
@click.option("--exact", is_flag=True, help="Exit code 1 when any decision is not the recorded one.")
@click.option("--decisions", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="The decisions of today as a log of their own.")  # fmt: skip
@click.option("--json", "target", type=click.Path(dir_okay=False, path_type=Path, allow_dash=True), help="FILE, or -.")
def command(log: Path, other: Path | None, diff: bool, exact: bool, decisions: Path | None, target: Path | None,
            **options: Any) -> None:  # fmt: skip
    """Decide what was recorded in LOG again, and compare.

    Without options the log's own configuration decides, with the code of today: the same code decides the same.
    The observations are the recorded ones, so the fleet that is seen is too.
    """
    from planner.adapters.decision_log import DecisionLog
    from planner.commands._recorded import about_again, policy_of
    from planner.replay import recording
    from planner.replay.difference import difference
    from planner.replay.redecide import redecided

    recorded = recording.load(log)
    about = recorded.about()
    policy, settings = policy_of(about, other, given(ControlSettings, options), log)
    with bar(f"{log.name}: {len(recorded.steps):,} steps") as progress:
        steps = list(redecided(policy, recorded.steps, progress))
    found = difference(steps, {pool.name: pool.gpus for pool in policy.pools})
    notes = (SEEN, *recorded.notes, *_unknown(recorded))
    console, files = reader(target), Files()
    _show(console, recorded, policy, found, notes, diff)
    files.json(_answer(log, recorded, policy, found, notes, diff), target)
    if decisions is not None:
        again = about_again(policy, settings, f"{about.name if about else log.name}, replayed")
        with files.to("--decisions", decisions):
            for first, after in recorded.stretches():
                with DecisionLog(decisions, again, append=first > 0) as new:
                    for one in steps[first:after]:
                        new.record(one.step.seen, one.decision, one.step.error)
    files.complain()
    if exact and not found.identical:
        raise SystemExit(1)


def _unknown(recorded: Recording) -> list[str]:
    """What a replay cannot know of a log."""
    said = []
    own = recorded.about()
    if own is not None and "prometheus" in own.settings:
        said.append(
            "a live planner starts from its saved memory or from history, and adopts slow fits when they are done: "
            "neither is in the log, so its first decisions may come out otherwise"
        )
    again = [first for first in recorded.abouts if first]
    if on := [first for first in again if first not in recorded.set_back]:
        said.append(f"the planner was started anew at step {_steps(on)}: the replay goes on with what it knew before")
    if recorded.set_back:
        said.append(f"the replay begins at step {_steps(recorded.set_back)} anew, with nothing learnt")
    if own is not None and any(recorded.abouts[first].settings != own.settings for first in again):
        said.append("the configuration was another one after that: the replay keeps the first")
    return said


def _steps(indices: Sequence[int]) -> str:
    return ", ".join(str(index + 1) for index in indices)


def _answer(log: Path, recorded: Recording, policy: Policy, found: Difference, notes: Sequence[str],
            diff: bool) -> dict[str, Any]:  # fmt: skip
    listed = found.changed if diff else found.turns()
    return {
        "schema": SCHEMA,
        "log": str(log),
        "law": {"recorded": about.law if (about := recorded.about()) else None, "replayed": policy.law},
        "predictor": policy.predictor,
        "steps": found.steps,
        "seconds": found.seconds,
        "identical": found.identical,
        "changed": len(found.changed),
        "recorded": found.recorded.to_json(),
        "replayed": found.replayed.to_json(),
        "decisions": [one.to_json(recorded.start) for one in listed],
        "notes": list(notes),
    }


def _show(console: Console, recorded: Recording, policy: Policy, found: Difference, notes: Sequence[str],
          diff: bool) -> None:  # fmt: skip
    from rich.text import Text

    share = len(found.changed) / found.steps
    if found.identical:
        console.print(Text(f"All {found.steps:,} decisions are the recorded ones.", style="bold green"))
    else:
        said = f"{len(found.changed):,} of {found.steps:,} steps ({share:.1%}) ask for another fleet"
        console.print(Text(said if found.changed else "The same fleets, for other reasons", style="bold yellow"))
    console.print(_totals(found, policy))
    listed = list(found.changed) if diff else found.turns()[:SHOWN]
    if listed:
        console.print(_listed(recorded, listed, "every step that differs" if diff else "where they come to differ"))
    left = 0 if diff else len(found.turns()) - len(listed)
    if left:
        console.print(f"and {left} more; --diff lists every step", style="dim")
    for note in notes:
        console.print(f"note: {note}", style="dim", markup=False)


def _totals(found: Difference, policy: Policy) -> RenderableType:
    from rich.table import Table

    table = Table()
    table.add_column("")
    for name in ("recorded", "replayed", "difference"):
        table.add_column(name, justify="right")
    a, b = found.recorded, found.replayed
    table.add_row(
        "GPU-hours asked for", f"{a.gpu_hours:,.2f}", f"{b.gpu_hours:,.2f}", _signed(b.gpu_hours, a.gpu_hours)
    )
    for pool in policy.pools:
        left, right = a.mean_replicas[pool.name], b.mean_replicas[pool.name]
        most = f"{a.most_replicas[pool.name]}", f"{b.most_replicas[pool.name]}"
        shown = (f"{left:.2f} (to {most[0]})", f"{right:.2f} (to {most[1]})", _signed(right, left))
        table.add_row(f"{pool.name}, mean (most)", *shown)
    table.add_row("changes of the fleet", f"{a.changes}", f"{b.changes}", f"{b.changes - a.changes:+d}")
    return table


def _signed(new: float, old: float) -> str:
    share = f" ({(new - old) / old:+.1%})" if old else ""
    return f"{new - old:+.2f}{share}"


def _listed(recorded: Recording, changed: Sequence[Changed], title: str) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    from planner.replay.moments import offset

    table = Table(title=title)
    table.add_column("step", justify="right")
    table.add_column("after", justify="right", no_wrap=True)
    table.add_column("recorded")
    table.add_column("replayed")
    for one in changed:
        after = offset(one.at - recorded.start)
        table.add_row(str(one.index + 1), after, Text(one.recorded.summary()), Text(one.replayed.summary()))
    return table
