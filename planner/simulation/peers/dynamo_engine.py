"""What NVIDIA Dynamo's planner (1.6.1) believes of one prefill or decode engine: a regression and its readings.

The time of a forward pass is an intercept plus two slopes that are never negative: on the tokens that go through the
network (prompt tokens, and one a sequence) and on the attention work (KV tokens read, and prompt tokens squared over
prompts). It is fitted to 64 passes, benchmarks of before the deployment first; of more, the oldest in the fullest cell
of a grid of 4 × 4, equal in logarithms, goes. That is ``estimation_mode: fpm_regression`` of AISimulate 0.13, found
out from its answers; when the grid is drawn anew it shuffles the age within cells (a hash map), ours does not. The
readings are ``core/perf_model/{ais_adapter,engine_query}.py``.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from planner.core.types import Role
from planner.simulation.peers.dynamo import Pass, Passes, Work

KEPT, BINS, ENOUGH = 64, 4, 5
MOST_HIT = 0.95
"""Of prompts that a prefix cache may be believed to save."""
LEAST_S = 1e-9
CANDIDATES = 128
Features = tuple[float, float]


def features(work: Work) -> Features:
    """Attention work and tokens of a pass."""
    pairs = work.prompt_tokens**2 / work.prompts if work.prompts else 0.0
    return work.kv_tokens + pairs, float(work.prompt_tokens + work.sequences)


@dataclass(slots=True)
class Regression:
    """Seconds of a forward pass."""

    rows: dict[tuple[int, int], deque[tuple[Features, float]]] = field(default_factory=dict)
    lowest: Features = (math.inf, math.inf)
    highest: Features = (-math.inf, -math.inf)
    fitted: tuple[float, float, float] | None = None  # intercept, attention, tokens
    stale: bool = False

    def learn(self, done: Pass) -> None:
        """Keep one pass; idle ones say nothing. Beyond 64 the oldest of the fullest cell goes."""
        seen = features(done.scheduled)
        if done.seconds <= 0 or not any(seen):
            return
        low = (min(self.lowest[0], seen[0]), min(self.lowest[1], seen[1]))
        high = (max(self.highest[0], seen[0]), max(self.highest[1], seen[1]))
        if (low, high) != (self.lowest, self.highest):
            self.lowest, self.highest = low, high
            kept = [row for cell in self.rows.values() for row in cell]
            self.rows = {}
            for row in kept:
                self.rows.setdefault(self._cell(row[0]), deque()).append(row)
        self.rows.setdefault(self._cell(seen), deque()).append((seen, done.seconds))
        if sum(map(len, self.rows.values())) > KEPT:
            fullest = max(self.rows, key=lambda cell: len(self.rows[cell]))
            self.rows[fullest].popleft()
        self.stale = True

    def seconds(self, work: Work) -> float | None:
        """How long a pass of this work takes; ``None`` until enough is known."""
        if self.stale:
            self.fitted, self.stale = self._fit(), False
        if self.fitted is None:
            return None
        attention, tokens = features(work)
        if not attention and not tokens:
            return 0.0
        base, per_attention, per_token = self.fitted
        return max(LEAST_S, base + per_attention * attention + per_token * tokens)

    @property
    def ready(self) -> bool:
        """Whether it can say anything."""
        return self.seconds(Work(sequences=1)) is not None

    def _cell(self, seen: Features) -> tuple[int, int]:
        """Where in the grid, whose cells are equal in the logarithm."""
        spans = ((math.log1p(x) for x in triple) for triple in zip(seen, self.lowest, self.highest, strict=True))
        first, second = (min(BINS - 1, int((x - a) / (b - a) * BINS)) if b > a else 0 for x, a, b in spans)
        return first, second

    def _fit(self) -> tuple[float, float, float] | None:
        from scipy.optimize import nnls

        rows = [row for cell in self.rows.values() for row in cell]
        if len(rows) < ENOUGH:
            return None
        x, y = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
        spread = x.std(axis=0)
        scale = np.where(spread > 0, spread, 1.0)
        slopes = nnls((x - x.mean(axis=0)) / scale, y - y.mean())[0] / scale
        if not slopes.any():
            return None
        return float(y.mean() - x.mean(axis=0) @ slopes), float(slopes[0]), float(slopes[1])


@dataclass(slots=True)
class _Average:
    """Mean of the last 64 values from the first that is not zero."""

    values: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))

    def add(self, value: float) -> None:
        if value > 0 or self.values:
            self.values.append(value)

    @property
    def value(self) -> float:
        return sum(self.values) / len(self.values) if self.values else 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What an engine was started with."""

    batch_tokens: int
    sequences: int
    cache_tokens: int


@dataclass(slots=True)
class Engine:
    """One role's engines, all alike: TTFT and ITL that the next request would meet, and requests per second."""

    role: Role
    limits: Limits
    regression: Regression = field(default_factory=Regression)
    _prompt: _Average = field(default_factory=_Average)
    _context: _Average = field(default_factory=_Average)

    def learn(self, done: Iterable[Pass]) -> None:
        """Passes, one after the other."""
        for one in done:
            work = one.scheduled
            self._prompt.add(work.prompt_tokens / work.prompts if work.prompts else 0.0)
            if work.sequences:
                self._context.add(work.kv_tokens / work.sequences)
            self.regression.learn(one)

    def observe(self, engines: Passes) -> None:
        """The last pass of every engine, in the order of their names."""
        self.learn(engines[name] for name in sorted(engines))

    def ttft_s(self, engine: Pass, hit: float | None, queue: float = 1.0) -> float | None:
        """Until the next prompt is through, behind ``queue`` times what waits."""
        tokens, prompts = engine.queued.prompt_tokens * queue, engine.queued.prompts * queue
        if self._prompt.value > 0:
            tokens, prompts = tokens + self._prompt.value, prompts + 1.0
        return self._chunked(math.ceil(tokens * (1.0 - _believed(hit))), max(1, math.ceil(prompts)))

    def itl_s(self, engine: Pass, more: float = 1.0) -> float | None:
        """One step with the next sequence, on top of ``more`` times those that run or were evicted."""
        kv = (engine.scheduled.kv_tokens + engine.queued.kv_tokens) * more
        sequences = (engine.scheduled.sequences + engine.queued.sequences) * more
        if self._context.value > 0:
            kv, sequences = kv + self._context.value, sequences + 1.0
        return self.regression.seconds(Work(sequences=math.ceil(sequences), kv_tokens=math.ceil(kv)))

    def rate(self, isl: float, osl: float, target_s: float, hit: float | None) -> float | None:
        """Requests per second of one engine within the target, or the most there are when none keeps it."""
        if isl <= 0 or (self.role is Role.DECODE and osl <= 0):
            return None
        prompt, answer = math.ceil(isl), max(1, math.ceil(osl))
        found: list[tuple[bool, float]] = []
        if self.role is Role.PREFILL:
            prompt = max(1, math.ceil(prompt * (1.0 - _believed(hit))))
            most = 1 if prompt > self.limits.batch_tokens else self.limits.batch_tokens // prompt
        else:
            context = prompt + answer // 2
            most = self.limits.cache_tokens // context
        for together in _batches(min(self.limits.sequences, most)):
            if self.role is Role.PREFILL:
                seconds = self._chunked(prompt * together, 1)
            else:
                seconds = self.regression.seconds(Work(sequences=together, kv_tokens=together * context))
            if seconds is None:
                return None
            if seconds > 0:
                per_s = together / seconds / (1 if self.role is Role.PREFILL else answer)
                found.append((seconds <= target_s, per_s))
        return max(found)[1] if found else None

    def _chunked(self, tokens: int, prompts: int) -> float | None:
        if tokens == 0:
            return 0.0
        whole, rest = divmod(tokens, self.limits.batch_tokens)
        total = 0.0
        for times, chunk in ((whole, self.limits.batch_tokens), (1, rest)):
            if times and chunk:
                seconds = self.regression.seconds(Work(prompts=prompts, prompt_tokens=chunk))
                if seconds is None:
                    return None
                total += times * seconds
        return total


def _believed(hit: float | None) -> float:
    return 0.0 if hit is None or not math.isfinite(hit) else min(MOST_HIT, max(0.0, hit))


def _batches(most: int) -> Iterable[int]:
    if most <= CANDIDATES:
        return range(1, most + 1)
    return [1 + k * (most - 1) // (CANDIDATES - 1) for k in range(CANDIDATES)]
