"""The plant's whole state as plain arrays, so that it can be copied and compiled code can work on it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.simulation.engine import kernel as k

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
Records = NDArray[np.void]

REQUEST = np.dtype(
    [
        ("arrival", "f8"),
        ("ttft", "f4"),
        ("itl", "f4"),
        ("isl", "i4"),
        ("osl", "i4"),
        ("hit", "i4"),  # prompt tokens found in the prefix cache
        ("produced", "i4"),  # output tokens made before a preemption
        ("need", "i4"),  # prompt tokens still to be prefilled on a batch worker
        ("following", "i4"),  # next in whatever queue the request is in
        ("service", "f4"),  # prefill seconds
        ("at_prefill", "i2"),  # worker row
        ("tries", "i2"),
    ]
)
"""One request: 48 bytes, so that an event touches one line of the cache."""

JOINING = np.dtype([("at", "f8"), ("request", "i4"), ("kind", "i4")])
SEQUENCE = np.dtype([("v", "f8"), ("joined", "f8"), ("request", "i8")])
SPEEDS = [
    ("base", "f8"),  # seconds of a step, and what each sequence and each KV token add
    ("per_sequence", "f8"),
    ("per_token", "f8"),
    ("decode_scale", "f8"),
    ("prefill_scale", "f8"),
    ("capacity", "f8"),  # KV tokens
    ("chunk", "f8"),  # tokens in one step
    ("curvature", "f8"),  # quadratic term of prefill time beyond the table
    ("per_prompt_token", "f8"),  # seconds
    (
        "prompt_weight",
        "f8",
    ),  # of a prompt token and of a KV token to the kv router: 1 in a role's first pool
    ("kv_weight", "f8"),
    ("table", "i4"),  # where the prefill times begin in ``State.table``
    ("table_last", "i4"),  # and how many grid steps they go on
    ("max_sequences", "i4"),
    ("cache_blocks", "i4"),
    ("together", "i4"),
    ("stage", "i4"),  # 0: prompts come here first; 1: decode
]
"""What workers of one pool have in common."""

WORKER = np.dtype(
    [
        *SPEEDS,
        ("v", "f8"),  # virtual clock: steps done
        ("t", "f8"),  # when that was
        ("kv", "f8"),  # tokens of sequences in decode, as of t
        ("held", "i8"),  # of those, what they came with: what a router knows, whenever it looks
        ("reserved", "f8"),  # tokens of prompts in a prefill phase
        ("phase_end", "f8"),  # virtual clock at which the phase is over, or may begin; infinite: neither
        ("extra", "f8"),  # seconds of prefill in the step
        ("ended", "f8"),
        ("debt", "f8"),  # steps that sequences sat through before their own first gap
        ("gaps_s", "f8"),
        ("gaps", "f8", (k.BUCKETS,)),  # token gaps by duration
        ("answers_s", "f8"),
        ("answers", "f8", (k.BUCKETS,)),  # requests that it finished, by their mean gap
        ("status", "i4"),
        ("n", "i4"),  # sequences in decode
        ("head", "i4"),
        ("tail", "i4"),
        ("waiting", "i4"),
        ("waiting_tokens", "i8"),
        ("phase_head", "i4"),
        ("phase_count", "i4"),
        ("q_head", "i4"),
        ("q_count", "i4"),
        ("stamp", "i4"),
        ("cache_used", "i4"),
    ]
)


class State(NamedTuple):
    """Requests, joins under way, workers and their sequences, counters. Few arrays: calls pass them by value."""

    req: Records
    joins: Records  # heap by time
    wk: Records  # by worker row
    free_at: F64  # by row: when a prefill worker that takes one prompt at a time has done all it was given
    load: F64  # by row: requests of a batch worker, and between equals its tokens
    due: F64  # by row: when the next event of a batch worker is due
    seq: Records  # [row, k]: heap by virtual finish
    hist: F64  # see kernel.SIGNALS
    rows: I32  # [0 or 1, k]: rows that serve, by stage; [2, k]: batch rows with events
    gi: I64
    gf: F64
    table: F64  # prefill seconds, pool after pool
    block_ids: I32
    block_starts: I64
    cached_stamp: I32  # [row, block]: 0 when not cached
    cache_queue: I32  # [row, k]: (block, stamp), least recently touched first


BY_ROW = ("wk", "free_at", "load", "due", "seq", "cached_stamp", "cache_queue")
SHARED = ("table", "block_ids", "block_starts")
"""Never written: copies of a plant may share them."""


def fresh_rows(count: int, sequences: int, blocks: int, queue: int) -> dict[str, NDArray[np.generic]]:
    """Worker rows that nobody uses yet."""
    workers = np.zeros(count, WORKER)
    for name in ("head", "tail", "phase_head"):
        workers[name] = k.NOBODY
    workers["ended"] = workers["phase_end"] = np.inf
    return {
        "wk": workers,
        "free_at": np.zeros(count),
        "load": np.zeros(count),
        "due": np.full(count, np.inf),
        "seq": np.zeros((count, sequences), SEQUENCE),
        "cached_stamp": np.zeros((count, blocks), np.int32),
        "cache_queue": np.zeros((count, queue, 2), np.int32),
    }
