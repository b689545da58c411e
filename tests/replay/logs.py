"""Logs as the commands write them."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from planner.cli import main


def simulate(log: Path, *flags: str) -> Path:
    """A decision log of the shipped demo under other flags."""
    done = CliRunner().invoke(main, ["simulate", "demo", *flags, "--decisions", str(log), "--json", f"{log}.json"])

    assert done.exit_code == 0, done.output
    return log
