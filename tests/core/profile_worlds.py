"""Profiles for tests: noisy, contradictory or exactly physical ones."""

from __future__ import annotations

import math

from hypothesis import strategies as st

from planner.core.profiles import DecodePoint, PrefillPoint, Profile, Provenance

KV_TOKENS = 10_000_000.0
ORIGIN = Provenance(model="test model", gpu="test GPU", engine="test engine")


def prefill_s(isl: float) -> float:
    """20 ms, 15 µs a token, and attention: 0.5 ns a token squared."""
    return 0.020 + 1.5e-5 * isl + 5e-10 * isl * isl


def step_s(sequences: float, context: float) -> float:
    """4 ms, 40 µs a sequence, 30 ns a KV token."""
    return 0.004 + 4e-5 * sequences + 3e-8 * sequences * context


def prefill_point(isl: float, noise: float = 1.0) -> PrefillPoint:
    seconds = prefill_s(isl) * noise
    return PrefillPoint(isl, seconds, isl / seconds)


def decode_point(sequences: float, context: float, noise: float = 1.0, gpus: int = 1) -> DecodePoint:
    itl = step_s(sequences, context) * noise
    return DecodePoint(sequences * context / KV_TOKENS, context, itl, sequences / itl / gpus)


def profile(prefill: list[PrefillPoint] | None = None, decode: list[DecodePoint] | None = None) -> Profile:
    """An exactly physical profile, unless points are given."""
    return Profile(
        name="test",
        provenance=ORIGIN,
        prefill_points=tuple(prefill or (prefill_point(isl) for isl in (128, 512, 2048, 8192))),
        decode_points=tuple(decode or (decode_point(n, c) for c in (500.0, 4000.0) for n in (1.0, 8.0, 32.0, 90.0))),
        max_kv_tokens=KV_TOKENS,
    )


noises = st.floats(-0.7, 0.7).map(math.exp)
"""Factors from a half to two: far worse than any engine."""

prefills = st.lists(
    st.builds(prefill_point, st.integers(1, 40_000).map(float), noises),
    min_size=2,
    max_size=12,
    unique_by=lambda p: p.isl,
)


@st.composite
def decodes(draw: st.DrawFn) -> list[DecodePoint]:
    """Batches of two to five contexts, each of its own sizes."""
    contexts = draw(st.lists(st.integers(50, 30_000), min_size=2, max_size=5, unique=True))
    sizes = st.lists(st.integers(1, 300), min_size=2, max_size=5, unique=True)
    return [decode_point(float(n), float(c), draw(noises)) for c in contexts for n in draw(sizes)]


noisy = st.builds(profile, prefills, decodes())
"""Profiles whose points contradict each other at will."""
