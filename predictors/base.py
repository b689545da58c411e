"""What all predictors share: a grid, gaps, copies and snapshots. Attributes are plain data on purpose."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from predictors.api import FitRequest, Forecast, Predictor


class Gridded:
    """A predictor on a grid of ``step_s``; subclasses say what to learn and what to expect.

    ``FIELDS`` names the attributes that make up the state: numbers, ``None``, lists of them, nested. They are
    all that ``copy`` copies and ``snapshot`` saves.
    """

    NAME: ClassVar[str]
    FIELDS: ClassVar[tuple[str, ...]] = ()

    def __init__(self, step_s: float) -> None:
        if not step_s > 0:
            raise ValueError(f"step_s ({step_s}) must be above 0 seconds")
        self.step_s = step_s
        self.slot: int | None = None  # of the last value, in steps since the epoch

    def update(self, at: float, value: float | None) -> None:
        """Learn the value of the step that ended at ``at``.

        Raises:
            ValueError: the value is negative or not finite, or ``at`` is not after the last.
        """
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise ValueError(
                f"value at {at:g} is {value!r}; a series holds finite numbers of at least 0, or None for a gap"
            )
        slot = round(at / self.step_s)
        if self.slot is not None and slot <= self.slot:
            raise ValueError(f"update at {at:g} s falls into a step of {self.step_s:g} s that was learnt already")
        if self.slot is not None:
            first = max(self.slot + 1, slot - self.forgets_after)
            self.slot = first - 1
            for missed in range(first, slot):
                self.update(missed * self.step_s, None)  # a skipped step is a gap like any other
        self.slot = slot
        self._learn(value)

    @property
    def forgets_after(self) -> int:
        """Steps without a value after which more of them change nothing: so many of a longer gap are filled in."""
        return 0

    def predict(self, steps: int) -> Forecast | None:
        """The value ``steps`` ahead."""
        path = self.path(steps)
        return path[-1] if path else None

    def path(self, steps: int) -> Sequence[Forecast] | None:
        """Forecasts for 1 … ``steps`` ahead."""
        if steps < 1:
            raise ValueError(f"steps ({steps}) must be at least 1")
        means = self._means(steps)
        return None if means is None else [Forecast(h, max(0.0, m), {}) for h, m in enumerate(means, start=1)]

    def _learn(self, value: float | None) -> None:
        raise NotImplementedError

    def _means(self, steps: int) -> list[float] | None:
        raise NotImplementedError

    def copy(self) -> Self:
        """An independent twin."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        for name in self.FIELDS:
            twin.__dict__[name] = _copied(self.__dict__[name])
        return twin

    def snapshot(self) -> dict[str, Any]:
        """Plain JSON data; ``registry.restore`` makes an equal predictor of it."""
        fields = {name: _plain(self.__dict__[name]) for name in ("slot", *self.FIELDS)}
        return {"name": self.NAME, "step_s": self.step_s, "options": self.options(), "fields": fields}

    def options(self) -> dict[str, Any]:
        """What the constructor takes beside the step."""
        return {}

    def load(self, fields: Mapping[str, Any]) -> None:
        """Take the state of a snapshot."""
        self.__dict__.update({name: _copied(value) for name, value in fields.items()})

    def fit_request(self) -> FitRequest | None:
        """No slow fit is wanted."""
        return None

    def adopt(self, model: Mapping[str, Any]) -> None:
        """Nothing to adopt."""


def _copied(value: Any) -> Any:
    if isinstance(value, list):
        return value.copy() if value and isinstance(value[0], float) else [_copied(v) for v in value]
    if isinstance(value, Gridded):
        return value.copy()
    return dict(value) if isinstance(value, dict) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Gridded):
        return value.snapshot()
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value


__all__ = ["Gridded", "Predictor"]
