"""How well models of an engine's speed fit a profile: at its points, and at points they have not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from planner.core.profile_build import LEAST_DECODE, LEAST_PREFILL, decode_surface, prefill_curve
from planner.core.profile_shape import Array, PrefillShape
from planner.core.profiles import Profile

Model = Callable[[int], float]
"""Seconds that a model expects at the point with that number."""
Build = Callable[[Sequence[int]], Model]
"""A model from the points with these numbers."""


@dataclass(frozen=True, slots=True)
class Errors:
    """Relative errors over the points: mean and largest of their size, and where the largest is."""

    mean: float
    largest: float
    where: str


@dataclass(frozen=True, slots=True)
class ModelFit:
    """One model: its errors at points it was made from, and at each point when made without it."""

    model: str
    at_points: Errors
    left_out: Errors
    inner: Errors  # left out, points at the ends not counted: no model can know what lies beyond them
    coefficients: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ProfileFit:
    """Every model of both phases."""

    profile: str
    prefill: tuple[ModelFit, ...]
    decode: tuple[ModelFit, ...]


@dataclass(frozen=True, slots=True)
class _Phase:
    """What was measured: seconds of each point, what it is called, and whether it lies at an end."""

    seconds: Array
    names: tuple[str, ...]
    ends: tuple[bool, ...]
    least: int  # points a model needs

    def compared(self, name: str, build: Build) -> ModelFit:
        """The errors of one model."""
        everything = range(len(self.seconds))
        whole = build(everything)
        at_points = left_out = [whole(i) / self.seconds[i] - 1.0 for i in everything]
        if len(self.seconds) > self.least:
            left_out = [build([k for k in everything if k != i])(i) / self.seconds[i] - 1.0 for i in everything]
        inner = [i for i in everything if not self.ends[i]] or list(everything)
        return ModelFit(
            name, self._errors(at_points, everything), self._errors(left_out, everything), self._errors(left_out, inner)
        )

    def _errors(self, relative: Sequence[float], of: Sequence[int]) -> Errors:
        worst = max(of, key=lambda i: abs(relative[i]))
        return Errors(fmean(abs(float(relative[i])) for i in of), abs(float(relative[worst])), self.names[worst])


def fit(profile: Profile) -> ProfileFit:
    """Compare the models; some seconds, most of them the peer's cubic surfaces."""
    return ProfileFit(profile.name, _prefill(profile), _decode(profile))


def _prefill(profile: Profile) -> tuple[ModelFit, ...]:
    from planner.core.sizing.classic_interpolation import cubic

    points = sorted(profile.prefill_points, key=lambda p: p.isl)
    isl, seconds = np.array([p.isl for p in points]), np.array([p.ttft_s for p in points])
    ends = tuple(i in (0, len(points) - 1) for i in range(len(points)))
    phase = _Phase(seconds, tuple(f"ISL {p.isl:g}" for p in points), ends, LEAST_PREFILL + 1)

    def monotone(some: Sequence[int]) -> Model:
        curve = prefill_curve(isl[list(some)], seconds[list(some)])
        return lambda i: curve.service_s(isl[i])

    def quadratic(some: Sequence[int]) -> Model:
        shape = PrefillShape.fitted(isl[list(some)], seconds[list(some)])
        return lambda i: shape.seconds(isl[i])

    def spline(some: Sequence[int]) -> Model:
        through = cubic([points[k] for k in some], [points[k].ttft_s for k in some])
        low, high = isl[list(some)].min(), isl[list(some)].max()
        return lambda i: float(through(float(np.clip(isl[i], low, high))))

    shape = PrefillShape.fitted(isl, seconds)
    terms = tuple((name, getattr(shape, name)) for name in ("base_s", "per_token_s", "per_token2_s"))
    return (
        phase.compared("monotone (slo)", monotone),
        phase.compared("cubic (classic)", spline),
        replace(phase.compared("quadratic in ISL", quadratic), coefficients=terms),
    )


def _decode(profile: Profile) -> tuple[ModelFit, ...]:
    from planner.core.sizing.classic_interpolation import itl_at
    from planner.simulation.engine import fit_step_time

    held, points = np.array(profile.decode_sequences), profile.decode_points
    usage, context = np.array([p.kv_usage for p in points]), np.array([p.context_tokens for p in points])
    itl, speed = np.array([p.itl_s for p in points]), np.array([p.tokens_per_s_per_gpu for p in points])
    names = tuple(f"{n:.0f} in flight at context {c:g}" for n, c in zip(held, context, strict=True))
    phase = _Phase(itl, names, _ends(usage, context), LEAST_DECODE)

    def monotone(some: Sequence[int]) -> Model:
        k = list(some)
        surface = decode_surface(held[k], context[k], itl[k], profile.max_kv_tokens)
        return lambda i: surface.itl_s(held[i], context[i])

    def cubic(some: Sequence[int]) -> Model:
        known = itl_at([points[k] for k in some], usage, context)  # the peer reads at the KV usage that was offered
        return lambda i: float(known[i])

    def step_time(some: Sequence[int]) -> Model:
        k = list(some)
        step = fit_step_time(usage[k], context[k], itl[k], speed[k] * profile.decode_gpus, profile.max_kv_tokens)
        return lambda i: step.base_s + held[i] * (step.per_sequence_s + step.per_kv_token_s * context[i])

    step = fit_step_time(usage, context, itl, speed * profile.decode_gpus, profile.max_kv_tokens)
    terms = tuple((name, getattr(step, name)) for name in ("base_s", "per_sequence_s", "per_kv_token_s"))
    return (
        phase.compared("monotone (slo)", monotone),
        phase.compared("cubic grid (classic)", cubic),
        replace(phase.compared("a + b·n + c·kv (plant)", step_time), coefficients=terms),
    )


def _ends(usage: Array, context: Array) -> tuple[bool, ...]:
    """Points at the shortest and longest context, and the emptiest and fullest batch of each."""
    outer = (context == context.min()) | (context == context.max())
    for at in np.unique(context):
        mine = context == at
        outer |= mine & ((usage == usage[mine].min()) | (usage == usage[mine].max()))
    return tuple(bool(x) for x in outer)
