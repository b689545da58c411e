"""The plant: workers that serve requests, request by request, on virtual time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.simulation.engine import kernel as k
from planner.simulation.engine.parameters import PlantParameters, speeds_of
from planner.simulation.engine.state import BY_ROW, JOINING, REQUEST, SHARED, State, fresh_rows

SIGNALS = ("ttft", "itl", "input_tokens", "output_tokens", "duration", "request_itl")  # in the kernel's order
FIRST_ROWS, FIRST_JOINS = 32, 4096


@dataclass(frozen=True, slots=True)
class Counters:
    """The front door's cumulative counters; histograms as counts per bucket of the edges given to the plant."""

    started: int
    finished: int
    failed: int
    cached_tokens: float
    generated_tokens: float
    ttft: NDArray[np.float64]
    ttft_sum: float
    itl: NDArray[np.float64]
    itl_sum: float
    input_tokens: NDArray[np.float64]
    input_tokens_sum: float
    output_tokens: NDArray[np.float64]
    output_tokens_sum: float
    duration: NDArray[np.float64]
    duration_sum: float
    preemptions: int
    waiting_at_the_door: int


@dataclass(frozen=True, slots=True)
class WorkerGauges:
    """One worker now: requests worked on and waiting, their tokens, KV use, its own ITL histograms."""

    running: int
    waiting: int
    pending_tokens: int
    kv_usage: float
    itl: NDArray[np.float64]  # counts per bucket, cumulative over the worker's life
    itl_sum: float
    waiting_tokens: float  # of those that wait, what they will hold of the KV cache when they are let in
    request_itl: NDArray[np.float64]  # requests that finished, by their mean ITL; likewise
    request_itl_sum: float


class Plant:
    """Requests, workers and a router; ``advance`` lets time pass.

    ``pools`` are names that ``parameters.pool`` knows: of prefill and of decode, or all aggregated. ``buckets``
    maps each of ``SIGNALS`` to ascending upper edges, the last one infinite.
    """

    def __init__(
        self,
        arrivals_s: NDArray[np.float64],
        input_tokens: NDArray[np.int32],
        output_tokens: NDArray[np.int32],
        parameters: PlantParameters,
        pools: Sequence[str],
        buckets: Mapping[str, Sequence[float]],
        block_ids: NDArray[np.int32] | None = None,
        block_starts: NDArray[np.int64] | None = None,
    ) -> None:
        self.parameters, self.pools = parameters, tuple(pools)
        self._specs = [parameters.pool(name) for name in pools]
        roles = {spec.role for spec in self._specs}
        if roles not in ({"prefill", "decode"}, {"aggregated"}):
            raise ValueError(f"pools {self.pools} do {', '.join(sorted(roles)) or 'nothing'}: needed are prefill and "
                             "decode, or aggregated alone")  # fmt: skip
        self._aggregated = roles == {"aggregated"}
        self._p = parameters.packed(self._aggregated)
        self._speeds, table = speeds_of(self._specs, 0 if block_ids is None else parameters.block_tokens)
        self._first_arrival = arrivals_s  # a retry moves the request's own
        self._buckets = [len(buckets[name]) for name in SIGNALS]
        self._s = _initial(
            arrivals_s, input_tokens, output_tokens, self._speeds, table, buckets, block_ids, block_starts
        )
        self._row_of: dict[int, int] = {}
        self._used = [False] * FIRST_ROWS
        self._ended: dict[int, float] = {}
        self._pool_of: dict[int, int] = {}
        self._next_worker = 0

    @property
    def now(self) -> float:
        """Seconds since the start of the traffic."""
        return float(self._s.gf[k.NOW])

    def advance(self, until_s: float) -> None:
        """Let time pass up to ``until_s``."""
        while not k.run_until(self._s, self._p, float(until_s)):
            self._grow_joins()
        self._collect()

    def add(self, pool: str) -> int:
        """A new worker that serves from now on; returns its number."""
        return self.add_many(pool, 1)[0]

    def add_many(self, pool: str, count: int) -> list[int]:
        """``count`` new workers at once; returns their numbers."""
        index = self.pools.index(pool)
        numbers = list(range(self._next_worker, self._next_worker + count))
        self._next_worker += count
        for number in numbers:
            row = self._free_row()
            worker = self._s.wk[row]
            for name in self._speeds.dtype.names or ():
                worker[name] = self._speeds[index][name]
            worker["status"] = k.SERVING
            worker["t"] = self._s.free_at[row] = self.now
            self._row_of[number], self._pool_of[number] = row, index
        self._list_rows()
        while self._s.gi[k.JOIN_COUNT] + self._s.gi[k.DOOR_FIRST_COUNT] + 2 >= len(self._s.joins):
            self._grow_joins()
        k.open_door(self._s, self._p, self._second)
        return numbers

    def _free_row(self) -> int:
        """A clean row that nobody uses."""
        taken = set(self._row_of.values())
        row = next((r for r in range(len(self._s.wk)) if r not in taken), len(self._s.wk))
        if row == len(self._s.wk):
            self._grow_rows()
        elif self._used[row]:
            self._clean(row)
        self._used[row] = True
        return row

    def drain(self, worker: int) -> None:
        """Give the worker nothing new; it ends when what it has is done."""
        row = self._row_of[worker]
        if self._is_queue(worker):
            self._s.wk[row]["status"] = k.DRAINING
            self._s.wk[row]["ended"] = max(self.now, float(self._s.free_at[row]))
        else:
            k.drain_batch(self._s, row)
        self._list_rows()
        self._collect()

    def kill(self, worker: int) -> None:
        """The worker dies now; its requests are lost, or go on elsewhere when the parameters say ``migrate``."""
        row = self._row_of[worker]
        self._s.wk[row]["status"], self._s.wk[row]["ended"] = k.GONE, self.now
        self._list_rows()
        if self._is_queue(worker):
            k.kill_prefill(self._s, self._p, row)
        else:
            k.kill_batch(self._s, self._p, row, self._second)
        self._collect()

    def ended_s(self, worker: int) -> float | None:
        """When the worker's process ended; ``None`` while it lives."""
        return self._ended.get(worker)

    def counters(self) -> Counters:
        """What the front door has counted so far."""
        s = self._s
        return Counters(
            started=int(s.gi[k.STARTED]),
            finished=int(s.gi[k.FINISHED]),
            failed=int(s.gi[k.FAILED]),
            cached_tokens=float(s.gf[k.CACHED]),
            generated_tokens=float(s.gf[k.GENERATED]),
            ttft=self._counts(k.TTFT),
            ttft_sum=float(s.gf[k.TTFT_SUM]),
            itl=self._counts(k.ITL),
            itl_sum=float(s.gf[k.ITL_SUM]),
            input_tokens=self._counts(k.ISL),
            input_tokens_sum=float(s.gf[k.ISL_SUM]),
            output_tokens=self._counts(k.OSL),
            output_tokens_sum=float(s.gf[k.OSL_SUM]),
            duration=self._counts(k.DURATION),
            duration_sum=float(s.gf[k.DURATION_SUM]),
            preemptions=int(s.gi[k.PREEMPTIONS]),
            waiting_at_the_door=int(s.gi[k.DOOR_FIRST_COUNT] + s.gi[k.DOOR_SECOND_COUNT]),
        )

    def gauges(self, pool: str) -> dict[int, WorkerGauges]:
        """Every worker of the pool that serves or drains, by number."""
        s, index = self._s, self.pools.index(pool)
        rows = len(s.wk)
        running, waiting, tokens = (np.zeros(rows, np.int64) for _ in range(3))
        queued = s.wk["waiting_tokens"].astype(float)
        if self._one_by_one(index):
            k.prefill_gauges(s, self._p, running, waiting, tokens)
            queued = tokens.astype(float)
            for number, (busy_with, _) in self.prefilling(pool).items():
                queued[self._row_of[number]] -= busy_with
        else:
            running[:] = s.wk["n"] + s.wk["phase_count"]
            waiting[:] = s.wk["waiting"]
            if self._specs[index].role != "decode":
                tokens[:] = s.wk["waiting_tokens"] + s.wk["reserved"].astype(np.int64)
        usage = (s.wk["kv"] + s.wk["reserved"]) / self._specs[index].kv_capacity_tokens
        return {
            number: WorkerGauges(
                int(running[row]),
                int(waiting[row]),
                int(tokens[row]),
                float(usage[row]),
                s.wk["gaps"][row, : self._buckets[k.ITL]],
                float(s.wk["gaps_s"][row]),
                float(queued[row]),
                s.wk["answers"][row, : self._buckets[k.REQUEST_ITL]],
                float(s.wk["answers_s"][row]),
            )
            for number, row in self._row_of.items()
            if self._pool_of[number] == index
        }

    def prefilling(self, pool: str) -> dict[int, tuple[float, float]]:
        """Workers that take one prompt at a time: uncached tokens of the one under way, and the seconds it takes."""
        index = self.pools.index(pool)
        if not self._one_by_one(index):
            return {}
        s, p = self._s, self._p
        joins = s.joins[: int(s.gi[k.JOIN_COUNT])]
        joins = joins[joins["kind"] == k.JOIN]
        which = joins["request"]
        done = joins["at"] - p[k.TRANSFER_BASE] - p[k.TRANSFER_PER_TOKEN] * s.req["isl"][which]
        under_way = s.req[which[(done > self.now) & (done - s.req["service"][which] <= self.now)]]
        by_row = {int(one["at_prefill"]): (float(one["isl"] - one["hit"]), float(one["service"])) for one in under_way}
        numbers = [(number, row) for number, row in self._row_of.items() if self._pool_of[number] == index]
        return {number: by_row[row] for number, row in numbers if row in by_row}

    def outcomes(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """TTFT and mean ITL in seconds by request; NaN where there is none (yet, or ever)."""
        s = self._s
        itl = s.req["itl"].copy()
        ttft = s.req["ttft"].copy()
        if self.parameters.retries > 0:
            ttft += (s.req["arrival"] - self._first_arrival).astype(np.float32)
        ttft[np.isnan(itl)] = np.nan
        return ttft, itl

    @property
    def in_flight(self) -> int:
        """Requests that have arrived and not ended."""
        return int(self._s.gi[k.STARTED] - self._s.gi[k.FINISHED])

    def copy(self) -> Plant:
        """An independent twin with the same future."""
        twin = object.__new__(Plant)
        twin.__dict__.update(self.__dict__)
        twin._s = self._s._replace(**{n: array.copy() for n, array in self._s._asdict().items() if n not in SHARED})
        twin._row_of, twin._ended, twin._pool_of = dict(self._row_of), dict(self._ended), dict(self._pool_of)
        twin._used = list(self._used)
        return twin

    @property
    def _second(self) -> int:
        """The stage that decodes."""
        return 0 if self._aggregated else 1

    def _one_by_one(self, index: int) -> bool:
        """Prefill workers take one prompt at a time: no events of their own, all is known at arrival."""
        return self._specs[index].role == "prefill" and not self._specs[index].prompts_together

    def _is_queue(self, worker: int) -> bool:
        return self._one_by_one(self._pool_of[worker])

    def _list_rows(self) -> None:
        """Write down who serves (by stage) and which batch workers have events."""
        s = self._s
        status = s.wk["status"].tolist()
        listed: tuple[list[int], list[int], list[int]] = ([], [], [])
        for number, row in sorted(self._row_of.items()):
            if status[row] == k.SERVING:
                listed[int(s.wk[row]["stage"])].append(row)
            if status[row] in (k.SERVING, k.DRAINING) and not self._is_queue(number):
                listed[k.LIVE_ROWS].append(row)
        for kind, rows in enumerate(listed):
            s.rows[kind, : len(rows)] = rows
        s.gi[[k.SERVING_FIRST, k.SERVING_SECOND, k.LIVE]] = [len(rows) for rows in listed]

    def _collect(self) -> None:
        """Free the rows of workers that have ended."""
        ended = [n for n, row in self._row_of.items() if self._s.wk[row]["ended"] <= self.now]
        for number in ended:
            self._ended[number] = float(self._s.wk[self._row_of.pop(number)]["ended"])
        if ended:
            self._list_rows()

    def _counts(self, signal: int) -> NDArray[np.float64]:
        return self._s.hist[k.SIGNALS + signal, : self._buckets[signal]]

    def _rows(self, count: int) -> dict[str, NDArray[np.generic]]:
        s = self._s
        return fresh_rows(count, s.seq.shape[1], s.cached_stamp.shape[1], s.cache_queue.shape[1])

    def _clean(self, row: int) -> None:
        fresh = self._rows(1)
        for name in BY_ROW:
            getattr(self._s, name)[row] = fresh[name][0]

    def _grow_rows(self) -> None:
        """Double the worker rows."""
        s, more = self._s, self._rows(len(self._s.wk))
        self._used += [False] * len(s.wk)
        grown = {name: np.concatenate([getattr(s, name), more[name]]) for name in BY_ROW}
        self._s = s._replace(**grown, rows=np.zeros((3, 2 * len(s.wk)), np.int32))
        self._list_rows()

    def _grow_joins(self) -> None:
        """Double the heap of joins."""
        joins = self._s.joins
        self._s = self._s._replace(joins=np.concatenate([joins, np.zeros_like(joins)]))


def _initial(
    arrivals_s: NDArray[np.float64],
    input_tokens: NDArray[np.int32],
    output_tokens: NDArray[np.int32],
    speeds: NDArray[np.void],
    table: NDArray[np.float64],
    buckets: Mapping[str, Sequence[float]],
    block_ids: NDArray[np.int32] | None,
    block_starts: NDArray[np.int64] | None,
) -> State:
    req = np.zeros(len(arrivals_s), REQUEST)
    req["arrival"], req["isl"], req["osl"] = arrivals_s, input_tokens, output_tokens
    req["ttft"] = req["itl"] = np.nan
    req["following"] = k.NOBODY
    hist = np.full((2 * k.SIGNALS, k.BUCKETS), np.inf)
    hist[k.SIGNALS :] = 0.0
    for i, name in enumerate(SIGNALS):
        hist[i, : len(buckets[name])] = buckets[name]
    ids = np.zeros(0, np.int32) if block_ids is None else np.ascontiguousarray(block_ids, np.int32)
    starts = np.zeros(1, np.int64) if block_starts is None else np.ascontiguousarray(block_starts, np.int64)
    blocks = int(ids.max()) + 1 if len(ids) else 0
    queue = int(4 * min(speeds["cache_blocks"].max(), blocks) + 16) if blocks else 0
    gi = np.zeros(k.GI, np.int64)
    gi[[k.DOOR_FIRST, k.DOOR_FIRST_TAIL, k.DOOR_SECOND, k.DOOR_SECOND_TAIL]] = k.NOBODY
    return State(
        req=req,
        joins=np.zeros(FIRST_JOINS, JOINING),
        hist=hist,
        rows=np.zeros((3, FIRST_ROWS), np.int32),
        gi=gi,
        gf=np.zeros(k.GF),
        table=table,
        block_ids=ids,
        block_starts=starts,
        **fresh_rows(FIRST_ROWS, int(speeds["max_sequences"].max()), blocks, queue),  # type: ignore[arg-type]
    )
