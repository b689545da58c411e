"""Durations as people write them."""

from __future__ import annotations

import pytest

from planner.units import duration_s


def test_milliseconds_are_the_floats_that_bucket_edges_are() -> None:
    """A target of 470ms beside the edge 0.47 must be seen exactly, not as a bracket."""
    read = {ms: duration_s(f"{ms}ms") for ms in range(1, 5000)}

    assert read == {ms: float(f"0.{ms:03d}" if ms < 1000 else f"{ms // 1000}.{ms % 1000:03d}") for ms in read}


@pytest.mark.parametrize(("text", "seconds"), [("250us", 250e-6), ("1.5s", 1.5), ("2m", 120.0), ("3d", 259200.0)])
def test_other_units(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds
