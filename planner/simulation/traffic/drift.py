"""Traffic whose answers grow longer as time goes by, as lengths do in production."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.simulation.traffic.types import Traffic


def drifted(traffic: Traffic, factor: float) -> Traffic:
    """The traffic with output lengths growing steadily to ``factor`` times theirs at the end of the window."""
    share = traffic.arrivals_s / traffic.duration_s
    grown = np.rint(traffic.output_tokens * (1.0 + (factor - 1.0) * share))
    return replace(
        traffic,
        output_tokens=np.maximum(1, grown).astype(np.int32),
        notes=(*traffic.notes, f"output lengths drift to × {factor:g}"),
    )
