"""``planner data``: which public traces there are, and fetching them from their origins."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from planner.datasets import Dataset, Fetched, Progress


@click.group(name="data")
def command() -> None:
    """Public traces: list them, fetch them."""


@command.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def list_(as_json: bool) -> None:
    """Show the public traces that can be fetched, with licence and size."""
    from planner.datasets import catalog

    known = catalog().values()
    if as_json:
        click.echo(json.dumps({"schema": "sla-planner/datasets.v1", "datasets": [_entry(each) for each in known]}))
    else:
        _print_table(known)


@command.command()
@click.argument("name")
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("traces"),
    show_default=True,
    help="Folder to put the files in.",
)
def get(name: str, directory: Path) -> None:
    """Fetch the trace NAME from its origin; run again to resume a broken download."""
    from planner import datasets

    dataset = datasets.find(name)
    with _bar() as progress:
        fetched = datasets.get(dataset, directory, progress, lambda sentence: click.echo(sentence, err=True))
    _report(dataset, directory, fetched)


def _report(dataset: Dataset, directory: Path, fetched: list[Fetched]) -> None:
    from planner.datasets import LOCK_NAME

    folder = dataset.folder(directory)
    old = sum(not file.downloaded for file in fetched)
    already = f" ({old} already here)" if old else ""
    click.echo(f"{len(fetched)} file{'s' * (len(fetched) != 1)} in {folder}{already}")
    unverified = sum(not file.verified for file in fetched)
    if unverified:
        click.echo(f"unverified: no checksum is published for {unverified} of them; pinned in {folder / LOCK_NAME}")
    else:
        click.echo("verified: sha256 as in the catalog")
    click.echo(f"{dataset.licence}; please cite: {dataset.attribution} ({dataset.homepage})")
    traffic = folder if len(fetched) > 1 else fetched[0].path
    click.echo(f"use it: planner simulate --traffic {traffic} …")


def _entry(dataset: Dataset) -> dict[str, object]:
    return {
        "name": dataset.name,
        "title": dataset.title,
        "format": dataset.format,
        "bytes": dataset.bytes,
        "licence": dataset.licence,
        "attribution": dataset.attribution,
        "homepage": dataset.homepage,
        "files": [{"url": file.url, "bytes": file.bytes, "sha256": file.sha256} for file in dataset.files],
    }


def _print_table(known: Iterable[Dataset]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("what")
    table.add_column("format", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("licence", no_wrap=True)
    for each in known:
        table.add_row(each.name, each.title, each.format, _size(each.bytes), each.licence)
    Console().print(table)


def _size(count: int | None) -> str:
    if count is None:
        return "?"
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count = round(count / 1000)
    return f"{count} GB"


@contextmanager
def _bar() -> Iterator[Progress]:
    """A progress bar on standard error, with one line for each file."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    tasks: dict[str, TaskID] = {}
    with Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:

        def show(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done, total=total)

        yield show
