"""Results to where the user wants them: the terminal, JSON, PNG, HTML."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from rich.console import Console, RenderableType

from planner.answers import Files, reader
from planner.simulation.report import left_out, standings, table
from planner.simulation.report.figures import COMPARISON, Summary
from planner.simulation.report.left_out import LeaveOneOut
from planner.simulation.report.standings import CaseFigures
from planner.simulation.run import Run


class Outputs(Protocol):
    """Where results go; ``None``: not wanted. ``json_file`` may be ``-`` for standard output."""

    @property
    def json_file(self) -> Path | None: ...
    @property
    def report(self) -> Path | None: ...
    @property
    def plots(self) -> Path | None: ...


def simulation(run: Run, summary: Summary, outputs: Outputs, settings: Mapping[str, object], files: Files) -> None:
    """One run, everywhere it was asked for.

    Raises:
        OSError: a file could not be written; everything else was.
    """
    console = reader(outputs.json_file)
    console.print(table.simulation(summary))
    files.json(summary.to_json(), outputs.json_file)
    drawn(run, summary, outputs, settings, files)
    finish(files, console)


def drawn(run: Run, summary: Summary, outputs: Outputs, settings: Mapping[str, object], files: Files) -> None:
    """Pictures and page of one run, where they were asked for; ``settings`` are written into the page."""
    if outputs.plots is not None:
        from planner.simulation.report.plots import plot_run

        with files.to("--plots", outputs.plots):
            files.written += plot_run(run, outputs.plots)
    if outputs.report is not None:
        from planner.simulation.report.html import write_report

        with files.to("--report", outputs.report):
            write_report(outputs.report, run, summary, settings)
            files.written.append(outputs.report)


def finish(files: Files, console: Console) -> None:
    """Tell people which files were written for them.

    Raises:
        OSError: a file could not be written.
    """
    if files.written:
        console.print(f"written: {', '.join(map(str, files.written))}", style="dim")
    files.complain()


def comparison(case: CaseFigures, outputs: Outputs, settings: Mapping[str, object]) -> None:
    """Several policies in one world, everywhere it was asked for."""
    content: dict[str, object] = {
        "schema": COMPARISON,
        "attainable": case.attainable,
        "bound": [{"gpu_hours": hours, "attainment": share} for hours, share in case.curve],
        "rows": [row.to_json() for row in case.rows],
    }
    if len(case.seeds) > 1:
        content["standings"] = [standing.to_json() for standing in case.standings()]
    _everywhere(table.comparison(case), content, [case], outputs, settings)


def suite(cases: Sequence[CaseFigures], outputs: Outputs, about: Mapping[str, object],
          chosen: LeaveOneOut | None = None) -> None:  # fmt: skip
    """Many cases, everywhere it was asked for; ``about`` is what to say of the suite."""
    from rich.console import Group

    whole = standings.groups(cases)
    content = {"schema": standings.SCHEMA, **about, "cases": [case.to_json() for case in cases],
               "overall": [group.to_json() for group in whole],
               **({"leave_one_out": chosen.to_json()} if chosen else {})}  # fmt: skip
    shown = [*map(table.comparison, cases), *map(table.overall, whole), *([left_out.table(chosen)] if chosen else [])]
    _everywhere(Group(*shown), content, cases, outputs, about)


def _everywhere(shown: RenderableType, content: Mapping[str, object], cases: Sequence[CaseFigures], outputs: Outputs,
                settings: Mapping[str, object]) -> None:  # fmt: skip
    console, files = reader(outputs.json_file), Files()
    console.print(shown)
    files.json(content, outputs.json_file)
    if outputs.plots is not None:
        with files.to("--plots", outputs.plots):
            files.written += _pictures(cases, outputs.plots)
    if outputs.report is not None:
        from planner.simulation.report.html import write_comparison

        with files.to("--report", outputs.report):
            write_comparison(outputs.report, cases, settings)
            files.written.append(outputs.report)
    finish(files, console)


def _pictures(cases: Sequence[CaseFigures], folder: Path) -> list[Path]:
    from planner.simulation.report import comparison_plots as plots

    folder.mkdir(parents=True, exist_ok=True)
    if len(cases) == 1:
        return [plots.write(plots.case(cases[0]), folder / "comparison.png")]
    figures = {f"overall {group.title}": plots.overall(group) for group in standings.groups(cases)}
    figures |= {case.title: plots.case(case) for case in cases}
    return [plots.write(figure, folder / f"{_file_name(title)}.png") for title, figure in figures.items()]


def _file_name(title: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", title.lower()).strip("-")
