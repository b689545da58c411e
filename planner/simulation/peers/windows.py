"""Values of late, each with its time."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """Remembers values for ``keep_s`` seconds; times may only grow."""

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._kept: list[tuple[float, T]] = []

    def add(self, at: float, value: T) -> None:
        """Remember ``value``, forget what is too old."""
        self._kept = [(t, v) for t, v in self._kept if at - t <= self._keep_s]
        self._kept.append((at, value))

    def within(self, at: float, seconds: float) -> list[T]:
        """Values younger than ``seconds`` at ``at``, oldest first."""
        return [v for t, v in self._kept if at - t < seconds]

    def up_to(self, at: float, seconds: float) -> list[T]:
        """Like ``within``, with those of exactly that age."""
        return [v for t, v in self._kept if at - t <= seconds]
