"""What the plant is made of: the truth of a run, whatever the planner believes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from planner.simulation.engine import kernel as k

ROUTERS = {"round-robin": k.ROUND_ROBIN, "least-loaded": k.LEAST_LOADED, "kv": k.KV_AWARE}
TABLE_TOKENS = 32
"""Grid of the prefill table: a look-up instead of a search, linear in between."""


@dataclass(frozen=True, slots=True)
class StepFit:
    """Step time a + b · sequences + c · kv_tokens, in seconds, and how far the points are from it."""

    base_s: float
    per_sequence_s: float
    per_kv_token_s: float
    mean_relative_error: float = 0.0
    max_relative_error: float = 0.0


def fit_step_time(
    kv_usage: ArrayLike, context_tokens: ArrayLike, itl_s: ArrayLike, tokens_per_s: ArrayLike, max_kv_tokens: float
) -> StepFit:
    """Fit the step time to measured decode points by non-negative least squares on relative errors.

    All have one entry a point. The sequences that really shared a step follow from Little's law,
    tokens_per_s · itl: an engine with a limit on its batch runs fewer than were offered.
    """
    from scipy.optimize import nnls

    usage, context, itl, speed = (np.asarray(x, float) for x in (kv_usage, context_tokens, itl_s, tokens_per_s))
    sequences = np.maximum(1.0, np.minimum(usage * max_kv_tokens / context, speed * itl))
    rows = np.column_stack([np.ones_like(itl), sequences, sequences * context]) / itl[:, None]
    scale = np.abs(rows).max(axis=0)
    found, _ = nnls(rows / scale, np.ones_like(itl))
    a, b, c = (float(x) for x in found / scale)
    errors = np.abs(rows @ (found / scale) - 1.0)
    return StepFit(a, b, c, float(errors.mean()), float(errors.max()))


@dataclass(frozen=True, slots=True)
class PlantParameters:
    """Speeds and sizes of one worker of each kind, and how requests are routed. Seconds and tokens."""

    prefill_isl: tuple[float, ...]  # measured prompt lengths, ascending
    prefill_s: tuple[float, ...]  # measured prefill time of each
    step: StepFit
    kv_capacity_tokens: float
    max_sequences: int = 1024
    transfer_base_s: float = 0.002
    transfer_per_token_s: float = 2.6e-6  # 131 kB a token at 50 GB/s
    chunk_tokens: int = 2048  # of prompts and decoding sequences in one step
    prompts_together: bool = False  # prompts share a step, and its fixed time, in prefill workers too
    prefill_scale: float = 1.0
    decode_scale: float = 1.0
    decode_slope_scale: float = 1.0  # on what grows with sequences and KV alone
    router: str = "least-loaded"
    overlap_weight: float = 1.0
    block_tokens: int = 512
    cache_tokens: float | None = None  # prefix cache of one worker; None: as much as the KV cache
    timeout_s: float | None = None  # a client waits this long for a first token
    retries: int = 0  # and tries again so often
    backoff_s: float = 1.0  # after this, doubled each time
    migrate: bool = False  # requests of a worker that dies go on elsewhere

    def __post_init__(self) -> None:
        if self.router not in ROUTERS:
            raise ValueError(f"router {self.router!r} is none of {', '.join(sorted(ROUTERS))}")
        if len(self.prefill_isl) < 2 or len(self.prefill_isl) != len(self.prefill_s):
            raise ValueError(
                f"prefill needs at least 2 points, as many times as lengths: got {len(self.prefill_s)} times for "
                f"{len(self.prefill_isl)} lengths"
            )
        for name in ("kv_capacity_tokens", "prefill_scale", "decode_scale", "decode_slope_scale", "max_sequences"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} ({getattr(self, name)}) must be above 0")

    def prefill_table(self) -> NDArray[np.float64]:
        """Prefill seconds on a grid of ``TABLE_TOKENS``, from 0 to the longest measured prompt.

        Linear between the measured points; below the first the first slope goes on, but never below half
        of the first time.
        """
        isl, seconds = np.asarray(self.prefill_isl, float), np.maximum.accumulate(np.asarray(self.prefill_s, float))
        grid = np.arange(0.0, isl[-1] + TABLE_TOKENS, TABLE_TOKENS)
        slope = (seconds[1] - seconds[0]) / (isl[1] - isl[0])
        start = max(0.5 * seconds[0], seconds[0] - slope * isl[0])
        table = np.interp(grid, np.concatenate([[0.0], isl]), np.concatenate([[start], seconds]))
        return np.ascontiguousarray(table)

    def packed(self, aggregated: bool, has_blocks: bool) -> NDArray[np.float64]:
        """The parameter vector of the kernel."""
        p = np.zeros(k.PARAMETERS)
        p[k.BASE] = self.step.base_s
        p[k.PER_SEQUENCE] = self.step.per_sequence_s * self.decode_slope_scale
        p[k.PER_TOKEN] = self.step.per_kv_token_s * self.decode_slope_scale
        p[k.DECODE_SCALE], p[k.PREFILL_SCALE] = self.decode_scale, self.prefill_scale
        p[k.KV_CAPACITY], p[k.MAX_SEQUENCES] = self.kv_capacity_tokens, self.max_sequences
        p[k.TRANSFER_BASE], p[k.TRANSFER_PER_TOKEN] = self.transfer_base_s, self.transfer_per_token_s
        p[k.CHUNK], p[k.TABLE_STEP] = self.chunk_tokens, TABLE_TOKENS
        p[k.QUADRATIC] = self._curvature()
        p[k.ROUTER], p[k.OVERLAP], p[k.BLOCK] = ROUTERS[self.router], self.overlap_weight, self.block_tokens
        cache = self.kv_capacity_tokens if self.cache_tokens is None else self.cache_tokens
        p[k.CACHE_BLOCKS] = cache // self.block_tokens if has_blocks else 0
        p[k.TIMEOUT] = self.timeout_s or 0.0
        p[k.RETRIES], p[k.BACKOFF] = self.retries, self.backoff_s
        p[k.MIGRATE], p[k.AGGREGATED] = float(self.migrate), float(aggregated)
        p[k.TOGETHER] = float(self.prompts_together)
        p[k.PER_PROMPT_TOKEN] = self.prefill_scale * self.prefill_s[-1] / self.prefill_isl[-1]
        return p

    def _curvature(self) -> float:
        """Quadratic term of prefill time in tokens, for prompts beyond the measured range (attention)."""
        isl, seconds = np.asarray(self.prefill_isl, float), np.asarray(self.prefill_s, float)
        if len(isl) < 4:
            return 0.0
        return float(max(0.0, np.polyfit(isl, seconds, 2)[0]))
