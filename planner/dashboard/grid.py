"""A time line of bounded length: when it grows too long, neighbouring bins are merged and the rest is twice as coarse.

Days of a live planner cost what its first hours cost. Each bin remembers when it was last touched, so that a page
that has seen some of them is sent only the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, Self, TypeVar


class Bin(Protocol):
    """What can be merged with what came after it."""

    def absorb(self, later: Self) -> None:
        """Take in what the following stretch of time says."""


B = TypeVar("B", bound=Bin)


class Grid(Generic[B]):
    """Bins by number; bin ``i`` covers ``[i, i + 1)`` widths since the epoch."""

    def __init__(self) -> None:
        self._bins: dict[int, B] = {}
        self._touched: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._bins)

    def add(self, index: int, value: B, version: int) -> None:
        """Merge ``value`` into bin ``index`` and note that it changed in ``version``."""
        if index in self._bins:
            self._bins[index].absorb(value)
        else:
            self._bins[index] = value
        self._touched[index] = version

    def coarsen(self, version: int) -> None:
        """Bins of twice the width; all of them changed."""
        bins = sorted(self._bins.items())
        self._bins, self._touched = {}, {}
        for index, value in bins:
            self.add(index // 2, value, version)

    def changed(self, since: int) -> Iterator[tuple[int, B]]:
        """Bins touched after version ``since``, in order of time."""
        return ((i, self._bins[i]) for i in sorted(self._bins) if self._touched[i] > since)
