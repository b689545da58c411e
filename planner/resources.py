"""Files that come with the package: profiles, scenarios, traffic. Found in a wheel and in a checkout alike."""

from __future__ import annotations

import os
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_ROOTS = (_HERE / "_data", _HERE.parent / "data", _HERE.parent / "deploy")  # inside a wheel; in a checkout


class ResourceError(FileNotFoundError, ValueError):
    """No shipped file has that name; the message lists those there are."""


def path(kind: str, name: str) -> Path:
    """The shipped file ``name`` of a kind: ``profiles``, ``scenarios``, ``traffic`` or ``local`` (the local stack).

    Raises:
        ResourceError: there is none; the message lists those there are.
    """
    for root in _ROOTS:
        found = root / kind / name
        if Path(name).name == name and found.exists():
            return found
    raise ResourceError(f"no shipped {kind} file is called {name!r}; there are: {', '.join(names(kind)) or 'none'}")


def names(kind: str) -> list[str]:
    """File names of everything shipped of a kind, sorted; empty for an unknown kind."""
    return sorted({found.name for root in _ROOTS if (root / kind).is_dir() for found in (root / kind).iterdir()})


def stack_home() -> Path:
    """Where the wheels of the local stack go: $SLA_PLANNER_STACK, .venv-stack in a checkout, or the user's cache."""
    if asked := os.environ.get("SLA_PLANNER_STACK"):
        return Path(asked)
    checkout = _HERE.parent
    if (checkout / "deploy" / "local").is_dir():
        return checkout / ".venv-stack"
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "sla-planner" / "stack"
