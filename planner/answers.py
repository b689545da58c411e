"""An answer goes two ways: as JSON to programs, in words to people. Neither stands in the other's stream.

People read first, files are written afterwards: one that cannot be written costs neither the answer nor the others.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console


def reader(target: Path | None) -> Console:
    """Where people read: standard error, if JSON has standard output for itself (``target`` is ``-``)."""
    return Console(stderr=str(target) == "-", highlight=False)


@contextmanager
def told(answer: Mapping[str, Any], target: Path | None) -> Iterator[Console]:
    """Say where people read, and then write the answer as JSON where it is wanted: a file, or ``-``.

    Raises:
        OSError: it cannot be written.
    """
    files = Files()
    yield reader(target)
    files.json(answer, target)
    files.complain()


class Files:
    """Outputs of one command, written one after the other."""

    def __init__(self) -> None:
        self.written: list[Path] = []  # to be told to people
        self._problems: list[OSError] = []

    @contextmanager
    def to(self, option: str, path: Path) -> Iterator[None]:
        """Write ``path``, that ``option`` named; why it cannot be is remembered."""
        try:
            yield
        except OSError as problem:
            self.note(option, path, problem)

    def note(self, option: str, path: Path, problem: OSError) -> None:
        """Remember why ``path``, that ``option`` named, could not be written."""
        text = f"{option}: {path} cannot be written: {problem.strerror or problem}"
        self._problems.append(type(problem)(text))

    def json(self, answer: Mapping[str, Any], target: Path | None) -> None:
        """The answer as JSON to ``target``: a file, ``-`` for standard output, or nowhere."""
        text = json.dumps(answer, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
        if str(target) == "-":
            sys.stdout.write(text)
        elif target is not None:
            with self.to("--json", target):
                target.write_text(text, encoding="utf-8")

    def complain(self) -> None:
        """Raise what went wrong, all in one sentence.

        Raises:
            OSError: of the kind of the first.
        """
        if self._problems:
            raise type(self._problems[0])("; ".join(map(str, self._problems)))
