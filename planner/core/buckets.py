"""Bucket edges of the metric dialects: how finely each of them lets latency be seen."""

from __future__ import annotations

from collections.abc import Mapping

INF = float("inf")
DYNAMO_BUCKETS: Mapping[str, tuple[float, ...]] = {
    "ttft": (0.0022, 0.0047, 0.01, 0.022, 0.047, 0.1, 0.22, 0.47, 1, 2.2, 4.7, 10, 22, 48, 100, 220, 480, INF),
    "itl": (0.0018, 0.0033, 0.0059, 0.011, 0.02, 0.035, 0.064, 0.12, 0.21, 0.38, 0.69, 1.2, 2.3, 4.1, 7.4, 13, 24, 44,
            80, INF),
    "input_tokens": (100, 210, 430, 870, 1800, 3600, 7400, 15000, 31000, 63000, 130000, INF),
    "output_tokens": (100, 210, 430, 880, 1800, 3700, 7600, 16000, 32000, INF),
    "duration": (2, 4, 8, 16, 32, 64, 130, 260, 510, INF),
    "request_itl": (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, INF),
}  # fmt: skip
"""NVIDIA Dynamo 1.6.1's frontend and, of ``request_itl``, its vLLM workers, from the text of their ``/metrics``;
seconds or tokens."""
