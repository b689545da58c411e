"""A profile: measured points of one replica, where they are from, and the curves that are read from them.

Readings pass through the measured points, are continuous and monotone; the largest batch within an ITL is exact.
Points that contradict their neighbours (a longer prompt measured faster, a fuller batch faster) are moved or set
aside first, and every such repair is kept to be told.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from planner.core.profile_build import decode_surface, prefill_curve
from planner.core.profile_curves import DecodeCurve, DecodeSurface, PrefillCurve, Repair

__all__ = ["DecodeCurve", "DecodePoint", "DecodeSurface", "PrefillCurve", "PrefillPoint", "Profile", "Provenance",
           "Repair"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the figures of a profile are from."""

    model: str
    gpu: str
    engine: str
    engine_version: str = ""
    parallelism: str = ""
    precision: str = ""
    measured: bool = True  # False: estimated by a model
    date: str = ""
    source: str = ""
    licence: str = ""


@dataclass(frozen=True, slots=True)
class PrefillPoint:
    """One prompt length: time to first token alone, and throughput of one GPU."""

    isl: float
    ttft_s: float
    tokens_per_s_per_gpu: float


@dataclass(frozen=True, slots=True)
class DecodePoint:
    """One batch: share of the KV cache in use, mean context, ITL, and throughput of one GPU."""

    kv_usage: float
    context_tokens: float
    itl_s: float
    tokens_per_s_per_gpu: float


@dataclass(frozen=True, slots=True)
class Profile:
    """How one replica of a model on a kind of GPU behaves, and where that is known from."""

    name: str
    provenance: Provenance
    prefill_points: tuple[PrefillPoint, ...]
    decode_points: tuple[DecodePoint, ...]
    max_kv_tokens: float  # KV cache of one decode replica
    prefill_gpus: int = 1  # of one replica
    decode_gpus: int = 1  # of one replica, also of an aggregated one
    prefill: PrefillCurve = field(init=False)
    decode: DecodeSurface = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "prefill", _curve(self.prefill_points))
        object.__setattr__(self, "decode", _surface(self.decode_points, self.max_kv_tokens, self.decode_gpus))

    def __hash__(self) -> int:
        return hash((self.name, self.max_kv_tokens, len(self.decode_points)))  # cheap: it keys caches

    @property
    def gpus_per_replica(self) -> int:
        """GPUs of one decode or aggregated replica; ``gpus`` knows those of prefill too."""
        return self.decode_gpus

    def gpus(self, role: str) -> int:
        """GPUs of one replica of a pool with that role: ``prefill``, ``decode`` or ``aggregated``."""
        return self.prefill_gpus if role == "prefill" else self.decode_gpus

    @property
    def repairs(self) -> tuple[Repair, ...]:
        """Every point that is read differently from how it was measured."""
        return self.prefill.repairs + self.decode.repairs

    @property
    def decode_sequences(self) -> tuple[float, ...]:
        """Sequences that really shared a step, for each decode point."""
        return tuple(sequences_of(p, self.max_kv_tokens, self.decode_gpus) for p in self.decode_points)


def sequences_of(point: DecodePoint, max_kv_tokens: float, gpus: int) -> float:
    """Sequences that really shared a step, by Little's law: throughput × ITL.

    An engine that limits its batch runs fewer than the KV usage offered to it would hold.
    """
    offered = point.kv_usage * max_kv_tokens / point.context_tokens
    shared = point.tokens_per_s_per_gpu * gpus * point.itl_s
    return max(1.0, min(offered, shared) if shared > 0 else offered)


def slowed(profile: Profile, factor: float, name: str) -> Profile:
    """The profile of an engine that takes ``factor`` × the time: an assumption, where none was measured."""
    if factor == 1.0:
        return profile
    return replace(
        profile,
        name=name,
        provenance=replace(profile.provenance, gpu=f"assumed: {profile.provenance.gpu} × {factor:g}", measured=False),
        prefill_points=tuple(
            PrefillPoint(p.isl, p.ttft_s * factor, p.tokens_per_s_per_gpu / factor) for p in profile.prefill_points
        ),
        decode_points=tuple(
            DecodePoint(p.kv_usage, p.context_tokens, p.itl_s * factor, p.tokens_per_s_per_gpu / factor)
            for p in profile.decode_points
        ),
    )


def _curve(points: tuple[PrefillPoint, ...]) -> PrefillCurve:
    return prefill_curve(np.array([p.isl for p in points], float), np.array([p.ttft_s for p in points], float))


def _surface(points: tuple[DecodePoint, ...], max_kv_tokens: float, gpus: int) -> DecodeSurface:
    return decode_surface(
        np.array([sequences_of(p, max_kv_tokens, gpus) for p in points], float),
        np.array([p.context_tokens for p in points], float),
        np.array([p.itl_s for p in points], float),
        max_kv_tokens,
    )
