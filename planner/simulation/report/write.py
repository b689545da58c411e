"""Results to where the user wants them: the terminal, JSON, PNG, HTML."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from planner.simulation.report import table
from planner.simulation.report.figures import COMPARISON, Row, Summary
from planner.simulation.run import Run


class Outputs(Protocol):
    """Where results go; ``None``: not wanted. ``json_file`` may be ``-`` for standard output."""

    @property
    def json_file(self) -> Path | None: ...
    @property
    def report(self) -> Path | None: ...
    @property
    def plots(self) -> Path | None: ...


def simulation(run: Run, summary: Summary, outputs: Outputs, settings: Mapping[str, object]) -> None:
    """One run, everywhere it was asked for."""
    _json(summary.to_json(), outputs.json_file)
    written = []
    if outputs.plots is not None:
        from planner.simulation.report.plots import plot_run

        written += plot_run(run, outputs.plots)
    if outputs.report is not None:
        from planner.simulation.report.html import write_report

        write_report(outputs.report, run, summary, settings)
        written.append(outputs.report)
    _show(table.simulation(summary), outputs, written)


def comparison(rows: Sequence[Row], outputs: Outputs, settings: Mapping[str, object]) -> None:
    """Several runs, everywhere they were asked for."""
    _json({"schema": COMPARISON, "rows": [row.to_json() for row in rows]}, outputs.json_file)
    written = []
    if outputs.plots is not None:
        from planner.simulation.report.plots import plot_comparison

        outputs.plots.mkdir(parents=True, exist_ok=True)
        written.append(plot_comparison(rows, outputs.plots / "comparison.png"))
    if outputs.report is not None:
        from planner.simulation.report.html import write_comparison

        write_comparison(outputs.report, rows, settings)
        written.append(outputs.report)
    _show(table.comparison(rows), outputs, written)


def _json(content: Mapping[str, object], target: Path | None) -> None:
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    if target is not None and str(target) == "-":
        sys.stdout.write(text)
    elif target is not None:
        target.write_text(text, encoding="utf-8")


def _show(shown: Any, outputs: Outputs, written: Sequence[Path]) -> None:
    """The table for people; JSON on standard output has that stream for itself."""
    from rich.console import Console

    console = Console(stderr=outputs.json_file is not None and str(outputs.json_file) == "-", highlight=False)
    console.print(shown)
    if written:
        console.print(f"written: {', '.join(str(path) for path in written)}", style="dim")
