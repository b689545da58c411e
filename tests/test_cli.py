"""The shell around the commands: quick to start, and whose move an error is decides the exit code."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from planner import cli
from planner.commands._options import DURATION, given, settings_options
from planner.config import SimulateSettings
from planner.ports import SourceError, TargetError

HEAVY = {"numpy", "scipy", "numba", "pydantic", "matplotlib", "pandas", "rich", "yaml", "planner.config"}


def failing(monkeypatch: pytest.MonkeyPatch, problem: BaseException, *args: str) -> Result:
    """The group with one command that raises ``problem``."""

    @click.command("simulate")
    def command() -> None:
        raise problem

    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: command)
    return CliRunner().invoke(cli.main, [*args, "simulate"])


def test_help_lists_every_command_without_loading_it() -> None:
    """Completion calls the program at every key; nobody waits a second for it."""
    code = f"import sys, planner.cli; print(sorted({HEAVY!r} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    helped = CliRunner().invoke(cli.main, ["--help"])

    assert loaded.stdout.strip() == "[]"
    assert helped.exit_code == 0
    assert all(name in helped.output for name in cli.COMMANDS)


def test_the_start_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """Printed for people, not gated: the clock of a shared machine is no judge."""
    code = "import time; t = time.perf_counter(); import planner.cli; print(f'{time.perf_counter() - t:.3f}')"
    took = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    with capsys.disabled():
        print(f"\nimport planner.cli: {float(took) * 1000:.0f} ms")


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_can_be_asked_for_help(name: str) -> None:
    found = CliRunner().invoke(cli.main, [name, "--help"], catch_exceptions=False)

    assert found.exit_code == 0
    assert found.output.startswith("Usage: main " + name)


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (ValueError("scale (-1) must be above 0"), 2),
        (FileNotFoundError(2, "No such file", "day.csv"), 2),
        (PermissionError(13, "Permission denied", "day.csv"), 2),
        (SourceError("Prometheus does not answer"), 3),
        (TargetError("conflict"), 3),
        (OSError(28, "No space left on device"), 3),
        (KeyboardInterrupt(), 130),
    ],
)
def test_the_exit_code_says_whose_move_it_is(
    monkeypatch: pytest.MonkeyPatch, problem: BaseException, code: int
) -> None:
    found = failing(monkeypatch, problem)

    assert found.exit_code == code
    assert found.stderr.startswith("Error: ")
    assert "Traceback" not in found.output


def test_a_missing_library_names_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = failing(monkeypatch, ModuleNotFoundError("No module named 'numba.core'", name="numba.core"))

    assert found.exit_code == 3
    assert "numba, which is not installed: pip install 'sla-planner[simulate]'" in found.stderr


@pytest.mark.parametrize("problem", [ZeroDivisionError("a bug"), ModuleNotFoundError("a typo", name="planer")])
def test_a_bug_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch, problem: Exception) -> None:
    """A broken invariant that ends in a polite sentence would be reported as the user's fault."""
    found = failing(monkeypatch, problem)

    assert found.exception is problem


def test_what_no_check_of_ours_says_may_be_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arithmetic that fails looks like bad input otherwise, and nobody would report it."""

    @click.command("simulate")
    def command() -> None:
        int(float("nan"))

    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: command)
    found = CliRunner().invoke(cli.main, ["simulate"])

    assert found.exit_code == 2
    assert "cannot convert float NaN to integer. No check of ours says so" in found.stderr
    assert "planner --traceback" in found.stderr


def test_what_a_check_says_is_the_users_move_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        failing(monkeypatch, ValueError("scale (-1) must be above 0")).stderr == "Error: scale (-1) must be above 0\n"
    )


def test_the_place_of_an_error_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = ValueError("scale")

    assert failing(monkeypatch, problem, "--traceback").exception is problem


def test_a_misspelt_command_is_met_with_a_suggestion() -> None:
    found = CliRunner().invoke(cli.main, ["simulat"])

    assert found.exit_code == 2
    assert "Did you mean 'simulate'?" in found.stderr


def test_extras_are_those_of_the_package(checkout: Path) -> None:
    """The hint must name an extra that exists and brings the library."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    for extra, libraries in cli.EXTRAS.items():
        brought = {wanted.split(">")[0].replace("-", "_") for wanted in project["optional-dependencies"][extra]}
        brought |= {"pandas"} if "prophet" in brought else set()  # prophet and statsmodels need it

        assert set(libraries) <= brought


@click.command()
@settings_options(SimulateSettings)
@click.option("--every", type=DURATION)
def probe(every: float | None, **values: str) -> None:
    click.echo(f"{every} {sorted(given(SimulateSettings, values).items())}")


def run(*args: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(probe, args, env=env, auto_envvar_prefix="PLANNER_PROBE")


def test_options_of_the_settings_stay_as_typed_until_all_are_checked() -> None:
    assert run("--ttft", "500", "--no-migrate").output == "None [('plant.migrate', False), ('sla.ttft', '500')]\n"


def test_options_come_from_the_environment_too() -> None:
    assert run(env={"PLANNER_PROBE_MIN_REPLICAS": "prefill=2"}).output == "None [('min_replicas', 'prefill=2')]\n"


def test_other_options_are_checked_at_once() -> None:
    assert run("--every", "2m").output == "120.0 []\n"
    assert "'2' is not a duration" in run("--every", "2").stderr


def test_every_flag_is_an_option_with_help() -> None:
    shown = run("--help").output

    assert "--startup DURATION" in shown
    assert "[120s]" in shown
    assert "round-robin|least-loaded|kv" in shown


@pytest.mark.parametrize(
    ("option", "start", "offered"),
    [("router", "l", ["least-loaded"]), ("profile", "h200", ["h200-llama31-8b-fp8-tp1"]), ("report", "x", ["x"])],
)
def test_names_are_completed(option: str, start: str, offered: list[str]) -> None:
    param = next(p for p in probe.params if p.name == option)
    complete: Callable[..., list[click.shell_completion.CompletionItem]] = param.shell_complete

    assert [item.value for item in complete(click.Context(probe), start)] == offered
