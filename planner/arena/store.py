"""Finished pieces of work on disk, by a digest of all they depend on: a sweep that was stopped goes on.

They lie in the user's cache folder (``SLA_PLANNER_CACHE``, or ``sla-planner`` in ``XDG_CACHE_HOME`` or ``~/.cache``);
it may be removed at any time. A result depends on the modules that made it and all that those import, so a change of a
law makes that law's figures new and leaves those of others, and the bound, as they are.
"""

from __future__ import annotations

import ast
import contextlib
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
            with contextlib.suppress(OSError):
                part.unlink()

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
def sources(*modules: str, stop: tuple[str, ...] = ()) -> str:
    """Digest of modules and of all that they import of ours, at the top or inside functions.

    Imports are not followed into modules whose names begin with one of ``stop``, though they count themselves.
    """
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        file = _file(name)
        if file is None or name in found:
            continue
        found[name] = file
        if not stop or not name.startswith(stop):
            waiting += _imported(file)
    return _digest(found[name] for name in sorted(found))


def _imported(file: Path) -> list[str]:
    """Full names that a module imports; of ``from a import b`` both ``a`` and ``a.b``, whichever is a module."""
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def _file(module: str) -> Path | None:
    """The file of a module of ours; ``None`` for what is none."""
    top, *rest = module.split(".")
    root = {"planner": planner, "predictors": predictors}.get(top)
    if root is None:
        return None
    base = Path(str(root.__file__)).parent.joinpath(*rest)
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def content(path: Path) -> str:
    """Digest of a file, or of all files of a folder."""
    return _digest(sorted(path.rglob("*")) if path.is_dir() else [path])


def _digest(files: Iterable[Path]) -> str:
    seen = hashlib.sha256()
    for file in files:
        if file.is_file():
            seen.update(file.name.encode() + b"\0" + file.read_bytes())
    return seen.hexdigest()
