"""Files that come with the package: profiles, scenarios, traffic. Found in a wheel and in a checkout alike."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent
_ROOTS = (_HERE / "_data", _HERE.parent / "data")  # in a wheel; in a checkout


def path(kind: str, name: str) -> Path:
    """The file ``name`` of a kind (``profiles``, ``scenarios``, ``traffic``).

    Raises:
        FileNotFoundError: there is none; the message lists those there are.
    """
    for root in _ROOTS:
        found = root / kind / name
        if found.exists():
            return found
    raise FileNotFoundError(f"no {kind[:-1] if kind.endswith('s') else kind} called {name!r}; there are: {', '.join(names(kind)) or 'none'}")


def names(kind: str) -> list[str]:
    """Names of all shipped files of a kind."""
    return sorted({found.name for root in _ROOTS if (root / kind).is_dir() for found in (root / kind).iterdir()})
