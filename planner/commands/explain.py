"""``planner explain``: why this number."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.answers import told
from planner.commands._progress import bar

if TYPE_CHECKING:
    from rich.console import Console

    from planner.core.policy import Policy
    from planner.replay.explanation import Explanation
    from planner.replay.recording import Recording

CHANGES = "sla-planner/changes.v1"


@click.command("explain")
@click.argument("log", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--at",
    "when",
    metavar="TIME",
    help="The decision that stood at this moment: a date like 2026-11-24T17:05:00Z, seconds since the epoch, or an "
    "offset from the log's start like 1h30m.",
)
@click.option("--step", "line", type=int, metavar="N", help="The decision on line N of the log; -1 is the last.")
@click.option("--changes", is_flag=True, help="List every change of the fleet, each with its reason.")
@click.option("--json", "target", type=click.Path(dir_okay=False, path_type=Path, allow_dash=True), help="FILE, or -.")
def command(log: Path, when: str | None, line: int | None, changes: bool, target: Path | None) -> None:
    """Why this number: a decision of LOG, from what was seen to what was asked for.

    LOG is a decision log of planner run or of planner simulate --decisions. Without --at or --step it is the last
    change of the fleet.
    """
    from planner.replay import recording

    if sum((when is not None, line is not None, changes)) > 1:
        raise click.UsageError("--at, --step and --changes contradict each other: give one of them")
    recorded = recording.load(log)
    if changes:
        with told(_changes(recorded), target) as console:
            _show_changes(console, recorded)
    else:
        found = _explained(recorded, when, line)
        with told(found.to_json(), target) as console:
            _show(console, found)


def _explained(recorded: Recording, when: str | None, line: int | None) -> Explanation:
    from planner.replay.explanation import explain, last_change
    from planner.replay.moments import moment

    if when is not None:
        try:
            index = recorded.at(moment(when, recorded.start))
        except ValueError as problem:
            raise click.BadParameter(str(problem), param_hint="--at") from None
    else:
        index = last_change(recorded) if line is None else recorded.number(line)
    with bar("deciding again, up to that step") as progress:
        return explain(recorded, index, _policy(recorded, index), progress)


def _policy(recorded: Recording, index: int) -> Policy | None:
    """What the log was decided by; ``None`` when it does not say, or its profile is not here any more."""
    from planner.adapters.profile_errors import ProfileError
    from planner.commands._recorded import policy_of

    about = recorded.about(index)
    if about is None:
        return None
    try:
        return policy_of(about, None, {}, recorded.path)[0]
    except ProfileError as problem:
        click.echo(f"what would change it is not known: {problem}", err=True)
        return None


def _changes(recorded: Recording) -> dict[str, Any]:
    from planner.replay.moments import iso

    listed = []
    for i in recorded.changes():
        step = recorded.steps[i]
        listed.append({
            "step": i + 1,
            "at": step.seen.at,
            "time": iso(step.seen.at),
            "offset_seconds": step.seen.at - recorded.start,
            "before": dict(recorded.steps[i - 1].decision.replicas),
            "replicas": dict(step.decision.replicas),
            "reason": step.decision.reason.value,
            "summary": step.decision.summary(),
        })  # fmt: skip
    return {"schema": CHANGES, "log": str(recorded.path), "steps": len(recorded.steps), "changes": listed,
            "notes": list(recorded.notes)}  # fmt: skip


def _show(console: Console, found: Explanation) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print(found.title(), style="dim", markup=False)
    console.print(Text(found.answer(), style="bold"))
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, said in found.sections().items():
        style = "yellow" if name in ("problems", "notes") else ""
        for i, sentence in enumerate(said):
            table.add_row(name if i == 0 else "", Text(sentence, style=style))
    console.print(table)
    for note in found.recording.notes:
        console.print(f"note: {note}", style="dim", markup=False)


def _show_changes(console: Console, recorded: Recording) -> None:
    from rich.table import Table

    from planner import words
    from planner.replay.moments import offset

    listed = list(recorded.changes())
    table = Table(title=f"{len(listed)} changes in {len(recorded.steps):,} steps, {_span(recorded)}")
    table.add_column("step", justify="right")
    table.add_column("after", justify="right", no_wrap=True)
    table.add_column("fleet")
    table.add_column("why")
    for i in listed:
        decision = recorded.steps[i].decision
        rules = "".join(f"; {a.pool} {a.before} → {a.after}: {a.reason.value}" for a in decision.adjustments)
        after = offset(recorded.steps[i].seen.at - recorded.start)
        fleet = words.fleet(decision.replicas, recorded.steps[i - 1].decision.replicas)
        table.add_row(str(i + 1), after, fleet, f"{words.REASONS[decision.reason]}{rules}")
    console.print(table)


def _span(recorded: Recording) -> str:
    from planner.replay.moments import offset, shown

    return f"{offset(recorded.seconds)} from {shown(recorded.start)}"
