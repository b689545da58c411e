"""The yardsticks: tomorrow is today, and today is like the same time yesterday."""

from __future__ import annotations

from typing import Any

from predictors.base import Gridded

DAY_S = 86_400.0
SLACK = 16
"""Values beyond a season that may pile up before old ones are thrown away."""


class Constant(Gridded):
    """The last value goes on. The yardstick every other predictor must beat."""

    NAME = "constant"
    FIELDS = ("last",)

    def __init__(self, step_s: float) -> None:
        super().__init__(step_s)
        self.last: float | None = None

    def _learn(self, value: float | None) -> None:
        self.last = self.last if value is None else value

    def _means(self, steps: int) -> list[float] | None:
        return None if self.last is None else [self.last] * steps


class SeasonalNaive(Gridded):
    """The value one season ago, moved to today's level; the last value until a season has been seen.

    ``by_ratio`` scales yesterday's shape to the level of now (last value over the value a season before it);
    without it yesterday itself is the forecast.
    """

    NAME = "seasonal-naive"
    FIELDS = ("history", "last")

    def __init__(self, step_s: float, season_s: float = DAY_S, by_ratio: bool = False) -> None:
        super().__init__(step_s)
        self.season = max(1, round(season_s / step_s))
        self.by_ratio = by_ratio
        self.history: list[float | None] = []  # the last season and a little, oldest first
        self.last: float | None = None

    def options(self) -> dict[str, Any]:
        return {"season_s": self.season * self.step_s, "by_ratio": self.by_ratio}

    @property
    def forgets_after(self) -> int:
        return self.season + SLACK + 1

    def _learn(self, value: float | None) -> None:
        self.history.append(value)
        if len(self.history) > self.season + SLACK:
            del self.history[: -(self.season + 1)]
        self.last = self.last if value is None else value

    def _means(self, steps: int) -> list[float] | None:
        if self.last is None:
            return None
        return [self._one(h) for h in range(1, steps + 1)]

    def _one(self, steps: int) -> float:
        assert self.last is not None
        then = self._ago(self.season - (steps - 1) % self.season - 1)
        if then is None:
            return self.last
        if not self.by_ratio:
            return then
        level = self._level(self.season)
        now = self._level(0)
        return self.last if level is None or now is None or level <= 0 else now * min(3.0, max(1 / 3, then / level))

    def _ago(self, steps: int) -> float | None:
        """The value ``steps`` before the last one."""
        return self.history[-1 - steps] if steps < len(self.history) else None

    def _level(self, steps: int) -> float | None:
        """Mean of the five values around the one ``steps`` ago, as far as they are known."""
        around = [self._ago(steps + k) for k in range(5)]
        known = [v for v in around if v is not None]
        return sum(known) / len(known) if known else None
