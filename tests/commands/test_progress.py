"""Who starts an hour of work where there is no terminal hears of it now and then, and not more often."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from planner.cli import main
from planner.commands import _progress
from planner.commands._progress import Lines

CASE = ("--traffic", "poisson:rate=20/s,duration=3m", "--lengths", "azure2023_conv", "--ttft", "500ms", "--itl", "25ms",
        "--profile", "h200-llama31-8b-fp8-tp1", "--policies", "slo,classic", "--jobs", "1")  # fmt: skip


class Watch:
    """Time that passes when it is told to."""

    at = 0.0

    def now(self) -> float:
        return self.at


def test_a_line_comes_half_a_minute_after_the_one_before(capsys: pytest.CaptureFixture[str]) -> None:
    """Hundreds of pieces a minute: whoever reads the log afterwards wants a handful of lines."""
    watch = Watch()
    done = Lines(watch.now).begin("runs", 480, 40)
    for _ in range(480):
        watch.at += 0.25  # two minutes in all
        done()
    told = capsys.readouterr()

    assert told.out == ""
    assert told.err.splitlines() == [
        "30 s  runs: 120 of 480, 40 more from the cache",
        "60 s  runs: 240 of 480, 40 more from the cache",
        "90 s  runs: 360 of 480, 40 more from the cache",
        "2 min  runs: 480 of 480, 40 more from the cache",
    ]


def test_rounds_of_one_kind_of_work_are_counted_together(capsys: pytest.CaptureFixture[str]) -> None:
    """The bound is closed in on round by round: a count that begins anew each time would say nothing."""
    watch = Watch()
    lines = Lines(watch.now)
    lines.begin("clairvoyant runs", 1, 0)()
    watch.at = 31.0
    lines.begin("clairvoyant runs", 3, 2)

    assert capsys.readouterr().err == "31 s  clairvoyant runs: 1 of 4, 2 more from the cache\n"


def test_compare_says_what_it_is_about_to_do_and_keeps_standard_output_clean(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SLA_PLANNER_CACHE", str(tmp_path))
    short = CliRunner().invoke(main, ["compare", *CASE], catch_exceptions=False)
    monkeypatch.setattr(_progress, "EVERY_S", 0.0)
    long = CliRunner().invoke(main, ["compare", *CASE, "--seed", "2"], catch_exceptions=False)
    more = [*CASE, "--seed", "2", "--policies", "slo,classic,static"]
    resumed = CliRunner().invoke(main, ["compare", *more], catch_exceptions=False)

    assert short.stderr == "2 runs in 1 case\n"  # over within half a minute
    assert long.stderr.startswith("2 runs in 1 case\n")
    assert [line.split("  ")[1] for line in long.stderr.splitlines() if "  runs: " in line][:3] == [
        "runs: 0 of 2",
        "runs: 1 of 2",
        "runs: 2 of 2",
    ]
    assert "  runs: 0 of 1, 2 more from the cache\n" in resumed.stderr
    assert "runs:" not in long.stdout
