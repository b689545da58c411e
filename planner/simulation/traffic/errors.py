"""What is wrong with somebody's traffic, said so that they can mend it."""

from __future__ import annotations

from pathlib import Path


class TrafficError(ValueError):
    """A trace, a length sample, a generator or an option that cannot be used as given."""


def at_line(path: Path, line: int, problem: str) -> TrafficError:
    """The error of one line, in the ``FILE:LINE: problem`` form that editors jump to."""
    return TrafficError(f"{path}:{line}: {problem}")
