"""The command line: one group whose commands are loaded when they are called.

Exit codes: 0 done; 1 an answer that falls short, output complete; 2 bad input;
3 a part outside failed; 130 stopped from the keyboard (compare: or by SIGTERM).
"""

from __future__ import annotations

import errno
import sys
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click

COMMANDS = {
    "simulate": "Run a policy on traffic through a simulated fleet and see which promises it keeps.",
    "compare": "Run several policies on the same traffic, in one table.",
    "fleet": "Several models under one GPU budget: what each way to share it keeps.",
    "mix": "Several kinds of GPU for one model: what each way to choose among them costs.",
    "run": "Steer a real stack: read Prometheus, decide, scale, show what and why.",
    "demo": "Watch all of it on this machine: a real stack under load, workers added and removed.",
    "size": "How many workers for this load and this promise?",
    "dashboard": "Show a decision log as a page in the browser, finished or still growing.",
    "check": "Look at everything that run needs: profile, Prometheus, metrics, target, files.",
    "explain": "Why this number: a decision of a log, in words.",
    "replay": "Decide a recorded log again, with today's code or another configuration, and compare.",
    "fidelity": "The simulated fleet beside Dynamo's own parts, on the same ten minutes.",
    "backtest": "What the planner would have done on your last week, from Prometheus.",
    "backtest-predictors": "Evaluate predictors on a series, forecasting only from the past.",
    "data": "List public traces and fetch them from their origins.",
}
"""Name and one sentence of every command; it lives in ``planner.commands`` under that name, as ``command``."""
EXTRAS = {
    "simulate": ("numba", "scipy", "matplotlib", "jinja2", "zstandard"),
    "data": ("httpx", "tenacity"),
    "demo": ("aiohttp", "tokenizers"),
    "live": ("plotly", "prometheus_api_client", "prometheus_client", "starlette", "structlog", "uvicorn"),
    "forecast": ("filterpy", "pmdarima", "prophet", "statsmodels", "pandas"),
}
"""Which optional part of the installation brings which library."""


class _BadInput(click.ClickException):
    exit_code = 2


class _OutsideFailed(click.ClickException):
    exit_code = 3


class _Stopped(click.ClickException):
    exit_code = 130


class LazyGroup(click.Group):
    """A group that knows names and sentences of its commands, and imports one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command itself: here its module is imported."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"planner.commands.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a misspelt one is met with a suggestion."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            close = get_close_matches(args[0], COMMANDS, 1)
            hint = f"Did you mean {close[0]!r}?" if close else f"There are {', '.join(COMMANDS)}."
            raise click.UsageError(f"No such command {args[0]!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in ``--help``, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; whose move an error is decides the exit code."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise _Stopped("stopped") from None
        except Exception as problem:
            failure = None if ctx.params.get("traceback") else _explained(problem)
            if failure is None:
                raise
            raise failure from None


def _explained(problem: Exception) -> click.ClickException | None:
    """What went wrong in a sentence; ``None`` for a bug of ours, which is shown as it is."""
    from planner.ports import SourceError, TargetError

    if isinstance(problem, ModuleNotFoundError):
        return _missing_extra(problem)
    if isinstance(problem, ValueError) and not _was_checked(problem):
        return _BadInput(f"{problem}. No check of ours says so: if the input is right, this is a bug of ours, "
                         "and planner --traceback COMMAND shows where")  # fmt: skip
    if isinstance(problem, ValueError | FileNotFoundError | IsADirectoryError | NotADirectoryError | PermissionError):
        return _BadInput(str(problem))
    if isinstance(problem, SourceError | TargetError):
        return _OutsideFailed(str(problem))
    if isinstance(problem, OSError) and problem.errno != errno.EPIPE:  # click ends quietly on a closed pipe
        return _OutsideFailed(str(problem))
    return None


def _was_checked(problem: ValueError) -> bool:
    """Whether somebody raised it, with a sentence for people; what arithmetic refuses has none."""
    from traceback import extract_tb

    line = extract_tb(problem.__traceback__)[-1].line
    return isinstance(problem, UnicodeError) or not line or line.startswith("raise")


def _missing_extra(problem: ModuleNotFoundError) -> click.ClickException | None:
    library = (problem.name or "").partition(".")[0]
    for extra, libraries in EXTRAS.items():
        if library in libraries:
            text = f"this needs {library}, which is not installed: pip install 'sla-planner[{extra}]'"
            return _OutsideFailed(text)
    return None


_SETTINGS = {"auto_envvar_prefix": "PLANNER", "help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(cls=LazyGroup, context_settings=_SETTINGS)
@click.version_option(package_name="sla-planner", prog_name="planner")
@click.option("--traceback", is_flag=True, help="Show where in the code an error arose.")
def main(traceback: bool) -> None:
    """Keep the latency promises of an LLM serving stack with the fewest GPU-hours.

    Every option can come from the environment: PLANNER_SIMULATE_TTFT=500ms is --ttft 500ms of simulate.
    """


if __name__ == "__main__":
    sys.exit(main())
