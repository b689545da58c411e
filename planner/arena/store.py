"""Finished pieces of work on disk, by a digest of all they depend on: a sweep that was stopped goes on.

They lie in the user's cache folder (``SLA_PLANNER_CACHE``, or ``sla-planner`` in ``XDG_CACHE_HOME`` or ``~/.cache``);
it may be removed at any time. A change of any source file makes all figures new, of the engine all tables.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import planner
import predictors

MISSING = object()


class Store:
    """Values by kind and key; ``None`` for a folder: nothing is kept, nothing found."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def get(self, kind: str, key: str) -> Any:
        """What was kept, or ``MISSING``; what cannot be read is missing."""
        if self._folder is None:
            return MISSING
        try:
            return pickle.loads(self._path(kind, key).read_bytes())
        except (OSError, pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, TypeError):
            return MISSING

    def put(self, kind: str, key: str, value: Any) -> None:
        """Keep ``value``; a reader sees all of it or nothing. A disk that takes nothing costs only the next run."""
        if self._folder is None:
            return
        path = self._path(kind, key)
        part = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)

    def _path(self, kind: str, key: str) -> Path:
        assert self._folder is not None
        return self._folder / kind / f"{hashlib.sha256(key.encode()).hexdigest()}.pickle"


def folder() -> Path:
    """Where finished work is kept."""
    chosen = os.environ.get("SLA_PLANNER_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sla-planner"


@functools.cache
def all_sources() -> str:
    """Digest of every module that a run could depend on."""
    roots = [Path(str(package.__file__)).parent for package in (planner, predictors)]
    return _digest(file for root in roots for file in sorted(root.rglob("*.py")))


@functools.cache
def sources_of_the_bound() -> str:
    """Digest of what the tables of the bound are made with."""
    here = Path(str(planner.__file__)).parent / "simulation"
    return _digest([*sorted((here / "engine").glob("*.py")), here / "clairvoyant.py", here / "fleets.py"])


def content(path: Path) -> str:
    """Digest of a file, or of all files of a folder."""
    return _digest(sorted(path.rglob("*")) if path.is_dir() else [path])


def _digest(files: Iterable[Path]) -> str:
    seen = hashlib.sha256()
    for file in files:
        if file.is_file():
            seen.update(file.name.encode() + b"\0" + file.read_bytes())
    return seen.hexdigest()
