"""What the plant is made of: the truth of a run, whatever the planner believes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from planner.simulation.engine import kernel as k
from planner.simulation.engine.state import SPEEDS

ROUTERS = {"round-robin": k.ROUND_ROBIN, "least-loaded": k.LEAST_LOADED, "kv": k.KV_AWARE}
ROLES = ("prefill", "decode", "aggregated")


@dataclass(frozen=True, slots=True)
class StepFit:
    """Step time a + b · sequences + c · kv_tokens, in seconds."""

    base_s: float
    per_sequence_s: float
    per_kv_token_s: float


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
    return StepFit(a, b, c)


@dataclass(frozen=True, slots=True)
class Hardware:
    """Speeds and sizes of one worker. Seconds and tokens."""

    prefill_isl: tuple[float, ...]  # measured prompt lengths, ascending
    prefill_s: tuple[float, ...]  # measured prefill time of each
    step: StepFit
    kv_capacity_tokens: float  # a request that is longer is refused
    max_sequences: int = 1024
    chunk_tokens: int = 2048  # of prompts and decoding sequences in one step
    prompts_together: bool = False  # prompts share a step, and its fixed time, in prefill workers too
    prefill_scale: float = 1.0
    decode_scale: float = 1.0
    decode_slope_scale: float = 1.0  # on what grows with sequences and KV alone
    cache_tokens: float | None = None  # prefix cache of one worker; None: as much as the KV cache

    def __post_init__(self) -> None:
        if len(self.prefill_isl) < 2 or len(self.prefill_isl) != len(self.prefill_s):
            raise ValueError(
                f"prefill needs at least 2 points, as many times as lengths: got {len(self.prefill_s)} times for "
                f"{len(self.prefill_isl)} lengths"
            )
        for name in ("kv_capacity_tokens", "prefill_scale", "decode_scale", "decode_slope_scale", "max_sequences"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} ({getattr(self, name)}) must be above 0")

    @property
    def per_prompt_token_s(self) -> float:
        """Seconds that a token of a long prompt takes."""
        return self.prefill_scale * self.prefill_s[-1] / self.prefill_isl[-1]

    def prefill_table(self) -> NDArray[np.float64]:
        """Prefill seconds on a grid of ``TABLE_TOKENS``, from 0 to the longest measured prompt.

        Linear between the measured points; below the first the first slope goes on, but never below half
        of the first time.
        """
        isl, seconds = np.asarray(self.prefill_isl, float), np.maximum.accumulate(np.asarray(self.prefill_s, float))
        grid = np.arange(0.0, isl[-1] + k.TABLE_TOKENS, k.TABLE_TOKENS)
        slope = (seconds[1] - seconds[0]) / (isl[1] - isl[0])
        start = max(0.5 * seconds[0], seconds[0] - slope * isl[0])
        table = np.interp(grid, np.concatenate([[0.0], isl]), np.concatenate([[start], seconds]))
        return np.ascontiguousarray(table)

    def curvature(self) -> float:
        """Quadratic term of prefill time in tokens, for prompts beyond the measured range (attention)."""
        isl, seconds = np.asarray(self.prefill_isl, float), np.asarray(self.prefill_s, float)
        if len(isl) < 4:
            return 0.0
        return float(max(0.0, np.polyfit(isl, seconds, 2)[0]))


@dataclass(frozen=True, slots=True)
class PoolParameters(Hardware):
    """The workers of one pool: what they are, and what they do."""

    role: str = field(kw_only=True)

    def __post_init__(self) -> None:
        Hardware.__post_init__(self)
        if self.role not in ROLES:
            raise ValueError(f"role {self.role!r} is none of {', '.join(ROLES)}")


@dataclass(frozen=True, slots=True)
class PlantParameters(Hardware):
    """The workers, the way between them, the clients, and how requests are routed.

    Pools named after their role are of this hardware; ``pools`` tells of others, by name. All workers of a role
    share its requests. ``round-robin`` knows nothing of them. ``least-loaded`` counts: decode and aggregated workers'
    requests, prefill workers' prompt tokens, on whatever hardware. ``kv`` counts tokens relative to what a worker
    does of them, as workers tell themselves: prompt tokens against its prefill speed, held ones against its KV cache.
    """

    transfer_base_s: float = 0.002
    transfer_per_token_s: float = 2.6e-6  # 131 kB a token at 50 GB/s
    router: str = "least-loaded"
    overlap_weight: float = 1.0
    block_tokens: int = 512
    timeout_s: float | None = None  # a client waits this long for a first token
    retries: int = 0  # and tries again so often
    backoff_s: float = 1.0  # after this, doubled each time
    migrate: bool = False  # requests of a worker that dies go on elsewhere
    pools: Mapping[str, PoolParameters] = field(default_factory=dict)

    def __post_init__(self) -> None:
        Hardware.__post_init__(self)
        if self.router not in ROUTERS:
            raise ValueError(f"router {self.router!r} is none of {', '.join(sorted(ROUTERS))}")

    def pool(self, name: str) -> PoolParameters:
        """What the workers of the pool called ``name`` are.

        Raises:
            ValueError: nothing says what that pool is.
        """
        if name in self.pools:
            return self.pools[name]
        if name not in ROLES:
            raise ValueError(f"pool {name!r} has no parameters of its own and is not named {', '.join(ROLES)}")
        return PoolParameters(**{f.name: getattr(self, f.name) for f in fields(Hardware)}, role=name)

    def packed(self, aggregated: bool) -> NDArray[np.float64]:
        """The parameter vector of the kernel."""
        p = np.zeros(k.PARAMETERS)
        p[k.TRANSFER_BASE], p[k.TRANSFER_PER_TOKEN] = self.transfer_base_s, self.transfer_per_token_s
        p[k.ROUTER], p[k.OVERLAP], p[k.BLOCK] = ROUTERS[self.router], self.overlap_weight, self.block_tokens
        p[k.TIMEOUT] = self.timeout_s or 0.0
        p[k.RETRIES], p[k.BACKOFF] = self.retries, self.backoff_s
        p[k.MIGRATE], p[k.AGGREGATED] = float(self.migrate), float(aggregated)
        return p


def speeds_of(pools: Sequence[PoolParameters], block_tokens: int) -> tuple[NDArray[np.void], NDArray[np.float64]]:
    """The workers' records by pool, and the prefill tables that they point into.

    ``block_tokens`` is the size of the blocks of the prefix cache; 0: there is none.
    """
    tables = [pool.prefill_table() for pool in pools]
    starts = np.cumsum([0, *(len(table) for table in tables)])
    records = np.zeros(len(pools), SPEEDS)
    for i, pool in enumerate(pools):
        first = next(other for other in pools if other.role == pool.role)
        cache = pool.kv_capacity_tokens if pool.cache_tokens is None else pool.cache_tokens
        row = records[i]
        row["base"] = pool.step.base_s
        row["per_sequence"] = pool.step.per_sequence_s * pool.decode_slope_scale
        row["per_token"] = pool.step.per_kv_token_s * pool.decode_slope_scale
        row["decode_scale"], row["prefill_scale"] = pool.decode_scale, pool.prefill_scale
        row["capacity"], row["max_sequences"] = pool.kv_capacity_tokens, pool.max_sequences
        row["chunk"], row["curvature"] = pool.chunk_tokens, pool.curvature()
        row["per_prompt_token"] = pool.per_prompt_token_s
        row["prompt_weight"] = pool.per_prompt_token_s / first.per_prompt_token_s
        row["kv_weight"] = first.kv_capacity_tokens / pool.kv_capacity_tokens
        row["table"], row["table_last"] = starts[i], len(tables[i]) - 1
        row["cache_blocks"] = cache // block_tokens if block_tokens else 0
        row["together"], row["stage"] = pool.prompts_together, pool.role == "decode"
    return records, np.concatenate(tables)
