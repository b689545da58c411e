"""The plant's whole state as plain arrays, so that it can be copied and compiled code can work on it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.simulation.engine import kernel as k

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
I8 = NDArray[np.int8]


class State(NamedTuple):
    """Arrays by request, by worker row, by entry of the join heap, and of the plant as a whole."""

    # by request
    arrival: F64
    isl: I32
    osl: I32
    ttft: F32
    itl: F32
    hit: I32  # prompt tokens found in the prefix cache
    produced: I32  # output tokens made before a preemption
    need: I32  # prompt tokens still to be prefilled on a batch worker
    following: I32  # next in whatever queue the request is in
    at_prefill: I32  # worker row
    service: F32  # prefill seconds
    tries: I8
    block_ids: I32
    block_starts: I64
    # join heap
    join_at: F64
    join_request: I32
    join_kind: I8
    # by worker row
    wf: F64
    wi: I64
    seq_v: F64
    seq_request: I32
    seq_joined: F64
    w_itl: F64
    w_itl_sum: F64
    cached_stamp: I32
    cache_queue: I32
    rows: I32  # [pool, k]: rows that serve
    count: I64  # by pool
    live: I32  # [0] how many, then rows of batch workers that serve or drain
    # of the plant
    gi: I64
    gf: F64
    table: F64
    e_ttft: F64
    e_itl: F64
    e_isl: F64
    e_osl: F64
    e_duration: F64
    h_ttft: F64
    h_itl: F64
    h_isl: F64
    h_osl: F64
    h_duration: F64


BY_ROW = ("wf", "wi", "seq_v", "seq_request", "seq_joined", "w_itl", "w_itl_sum", "cached_stamp", "cache_queue")
BY_JOIN = ("join_at", "join_request", "join_kind")
SHARED = ("isl", "osl", "block_ids", "block_starts", "table", "e_ttft", "e_itl", "e_isl", "e_osl", "e_duration")
"""Never written: copies of a plant may share them (``arrival`` is, by retries)."""


def fresh_rows(count: int, sequences: int, buckets: int, blocks: int, queue: int) -> dict[str, NDArray[np.generic]]:
    """Worker rows that nobody uses yet."""
    wi = np.zeros((count, k.WI), np.int64)
    wi[:, [k.HEAD, k.TAIL, k.PHASE_HEAD]] = k.NOBODY
    wf = np.zeros((count, k.WF))
    wf[:, [k.NEXT, k.ENDED]] = np.inf
    return {
        "wf": wf,
        "wi": wi,
        "seq_v": np.zeros((count, sequences)),
        "seq_request": np.zeros((count, sequences), np.int32),
        "seq_joined": np.zeros((count, sequences)),
        "w_itl": np.zeros((count, buckets)),
        "w_itl_sum": np.zeros(count),
        "cached_stamp": np.zeros((count, blocks), np.int32),
        "cache_queue": np.zeros((count, queue, 2), np.int32),
    }
