"""``profiler``: look at profiles, say how well models fit them, bring them from one form into another.

Exit codes: 0 done; 2 bad input; 3 a part of the installation is missing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import RenderableType

# Matrices here are small: threads that wait for each other on a busy machine cost a hundred times the work.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

F = TypeVar("F", bound=Callable[..., Any])
FORMS = ("json", "npz", "configmap")


class _BadInput(click.ClickException):
    exit_code = 2


class _MissingPart(click.ClickException):
    exit_code = 3


class Group(click.Group):
    """A group whose errors say whose move it is."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; bad input is the caller's move, a missing library the installation's."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as problem:
            library = (problem.name or "").partition(".")[0]
            text = f"this needs {library}, which is not installed: pip install 'sla-planner[simulate]'"
            raise _MissingPart(text) from None
        except (ValueError, OSError) as problem:
            raise _BadInput(str(problem)) from None


def _outputs(command: F) -> F:
    """The options of commands that show something."""
    for option in (
        click.option(
            "--plot", "plots", metavar="DIR", type=click.Path(path_type=Path), help="Write pictures into DIR."
        ),
        click.option(
            "--json",
            "json_file",
            type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
            metavar="FILE|-",
            help="Write one JSON object; - is the standard output.",
        ),
    ):
        command = option(command)
    return command


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sla-planner", prog_name="profiler")
def main() -> None:
    """Profiles: what one replica of a model on a kind of GPU can do.

    PROFILE is the name of a shipped profile, a JSON file, a directory of NVIDIA Dynamo's profiling results, or a
    file with their ConfigMap.
    """


@main.command()
@click.argument("profile")
@_outputs
def show(profile: str, json_file: Path | None, plots: Path | None) -> None:
    """Where PROFILE is from, where it is valid, what was repaired, and its points."""
    from planner.adapters.profile_files import load
    from profiler.show import profile_tables, summary

    found = load(profile)
    _write(profile_tables(found), summary(found), json_file)
    _draw(found, plots)


@main.command()
@click.argument("profile")
@_outputs
def fit(profile: str, json_file: Path | None, plots: Path | None) -> None:
    """How well the models of an engine's speed fit PROFILE, at its points and at points they have not seen."""
    from rich.console import Console

    from planner.adapters.profile_files import load
    from profiler.fit import fit as fitted
    from profiler.show import fit_object, fit_tables

    found = load(profile)
    with Console(stderr=True).status("making every model without each point in turn"):
        answer = fitted(found)
    _write(fit_tables(answer, found), fit_object(answer, found), json_file)
    _draw(found, plots)


def _provenance_options(command: F) -> F:
    """What Dynamo's files do not say, or say wrongly."""
    texts = ("licence", "source", "date", "precision", "parallelism", "engine-version", "engine", "gpu", "model")
    for name in texts:
        command = click.option(f"--{name}", metavar="TEXT", help=f"The {name.replace('-', ' ')} to note.")(command)
    command = click.option(
        "--measured/--estimated", default=None, help="Whether an engine or a model gave the figures."
    )(command)
    return click.option("--name", metavar="TEXT", help="The profile's name.")(command)


@main.command()
@click.argument("profile")
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--to", "form", type=click.Choice(FORMS), help="Form of OUT  [by its name: .json, .yaml, or a directory]")
@click.option("--prefill-gpus", type=click.IntRange(1), help="GPUs of one prefill replica.")
@click.option("--decode-gpus", type=click.IntRange(1), help="GPUs of one decode replica.")
@click.option("--force", is_flag=True, help="Overwrite OUT.")
@_provenance_options
def convert(profile: str, target: Path, form: str | None, force: bool, **changes: Any) -> None:
    """Write PROFILE to OUT as JSON, as the npz files of NVIDIA Dynamo (a directory), or as their ConfigMap."""
    from planner.adapters.profile_files import load, save

    if target.exists() and not force:
        raise ValueError(f"{target} is there already; --force overwrites it")
    known = {key: value for key, value in changes.items() if value is not None}
    own = {key: known.pop(key) for key in ("name", "prefill_gpus", "decode_gpus") if key in known}
    found = load(profile)
    found = replace(found, provenance=replace(found.provenance, **known), **own)
    by_name = {".json": "json", ".yaml": "configmap", ".yml": "configmap"}
    save(found, target, form or by_name.get(target.suffix, "npz"))
    counts = f"{len(found.prefill_points)} prefill and {len(found.decode_points)} decode points"
    click.echo(f"{target}: {found.name}, {counts}")


def _write(tables: RenderableType, data: dict[str, Any], json_file: Path | None) -> None:
    from planner.answers import told

    with told(data, json_file) as console:
        console.print(tables)


def _draw(profile: Any, plots: Path | None) -> None:
    if plots is None:
        return
    from profiler.plot import draw

    for path in draw(profile, plots):
        click.echo(f"wrote {path}", err=True)


if __name__ == "__main__":
    sys.exit(main())
