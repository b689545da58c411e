"""Progress on standard error: bars and the time that is left; where nobody watches, silence or a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from planner.units import show_duration

EVERY_S = 30.0
"""A sweep that nobody watches tells how far it is no more often than this."""
Begin = Callable[[str, int, int], Callable[[], None]]
"""Told a kind of work, its pieces, and how many more were kept from before; its answer is called after each piece."""


@contextmanager
def bar(title: str) -> Iterator[Callable[[float], None]]:
    """A bar for one piece of work; call it with the share that is done, 0 … 1. Silent where nobody watches."""
    with _bars(TaskProgressColumn()) as progress:
        task = progress.add_task(title, total=1.0)
        yield lambda share: progress.update(task, completed=share)


@contextmanager
def spinner(title: str) -> Iterator[None]:
    """Something short of unknown length. Silent where nobody watches."""
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status(title):
            yield
    else:
        yield


@contextmanager
def tally(opening: str) -> Iterator[Begin]:
    """A bar for each kind of work; where nobody watches, ``opening`` and then a line now and then."""
    with _bars(MofNCompleteColumn()) as progress:
        if progress.disable:
            click.echo(opening, err=True)
            yield Lines().begin
        else:
            yield lambda title, pieces, kept: partial(progress.advance, progress.add_task(title, total=pieces))


def _bars(how_far: ProgressColumn) -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), how_far, TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


@dataclass(slots=True)
class _Kind:
    """How far one kind of work is; more of it may be begun later."""

    title: str
    pieces: int = 0
    done: int = 0
    kept: int = 0


class Lines:
    """The progress of a sweep in lines, each at least ``EVERY_S`` after the one before; ``now`` in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._kinds = now, dict[str, _Kind]()
        self._began = self._told = now()

    def begin(self, title: str, pieces: int, kept: int) -> Callable[[], None]:
        """As ``Begin`` says."""
        kind = self._kinds.setdefault(title, _Kind(title))
        kind.pieces += pieces
        kind.kept += kept
        self._tell(kind)

        def done() -> None:
            kind.done += 1
            self._tell(kind)

        return done

    def _tell(self, kind: _Kind) -> None:
        now = self._now()
        if now - self._told < EVERY_S:
            return
        self._told = now
        kept = f", {kind.kept} more from the cache" if kind.kept else ""
        click.echo(f"{show_duration(now - self._began)}  {kind.title}: {kind.done} of {kind.pieces}{kept}", err=True)
