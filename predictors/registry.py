"""Predictors by name. Heavy ones import their library when they learn or fit, not before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from predictors.api import Predictor
from predictors.base import Gridded
from predictors.fitted import Arima, Prophet
from predictors.kalman import Kalman
from predictors.naive import Constant, SeasonalNaive
from predictors.smoothing import DampedHolt, Ewma, SimpleSmoothing
from predictors.wrappers import Blend, Conformal, Log1p


def _cheap(step_s: float) -> list[Gridded]:
    return [
        Constant(step_s),
        *(Ewma(step_s, alpha) for alpha in (0.2, 0.3, 0.5, 0.7)),
        DampedHolt(step_s),
        SeasonalNaive(step_s, by_ratio=True),
    ]


BUILDERS: dict[str, Callable[[float], Gridded]] = {
    "constant": Constant,
    "seasonal-naive": SeasonalNaive,
    "ses": SimpleSmoothing,
    "holt": DampedHolt,
    "kalman": lambda step_s: Log1p(step_s, Kalman(step_s)),
    "arima": Arima,
    "prophet": Prophet,
    "blend": lambda step_s: Blend(step_s, _cheap(step_s)),
    "blend-all": lambda step_s: Blend(step_s, [*_cheap(step_s), Arima(step_s), Prophet(step_s)]),
    "default": lambda step_s: Conformal(step_s, Blend(step_s, _cheap(step_s))),
}
"""What can be asked for by name. ``default`` is the calibrated blend of cheap members."""

_CLASSES: dict[str, type[Gridded]] = {
    c.NAME: c for c in (Constant, SeasonalNaive, Ewma, SimpleSmoothing, DampedHolt, Kalman, Arima, Prophet)
}


def make(name: str, step_s: float) -> Predictor:
    """A fresh predictor on a grid of ``step_s`` seconds; ``calibrated+NAME`` adds quantiles to any.

    Raises:
        ValueError: there is none of that name; lists those there are.
    """
    plain = name.removeprefix("calibrated+")
    if plain not in BUILDERS:
        raise ValueError(f"predictor {name!r} is none of {', '.join(BUILDERS)} (or calibrated+ one of them)")
    built = BUILDERS[plain](step_s)
    return Conformal(step_s, built) if plain != name else built


def restore(snapshot: Mapping[str, Any]) -> Predictor:
    """The predictor that ``snapshot`` was taken of; its future is the same.

    Raises:
        ValueError: the snapshot is of no known predictor.
    """
    return _restored(snapshot)


def _restored(snapshot: Mapping[str, Any]) -> Gridded:
    name, step_s, fields = snapshot["name"], float(snapshot["step_s"]), dict(snapshot["fields"])
    built: Gridded
    if name == "conformal":
        built = Conformal(step_s, _restored(fields.pop("inner")))
    elif name == "log1p":
        built = Log1p(step_s, _restored(fields.pop("inner")))
    elif name == "blend":
        built = Blend(step_s, [_restored(member) for member in fields.pop("members")], **snapshot["options"])
    elif name in _CLASSES:
        built = _CLASSES[name](step_s, **snapshot["options"])
    else:
        raise ValueError(f"a snapshot of {name!r} is of no known predictor")
    built.load(fields)
    return built
