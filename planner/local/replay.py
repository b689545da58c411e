"""Dynamo's own offline replay of a trace: its router and its simulated engines on virtual time.

It runs in the stack's own Python, as a process: the same code as the live workers', without the wait.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.local import timing
from planner.local.errors import StackError
from planner.local.stack import Shape
from planner.simulation.traffic.types import Traffic

CHILD = Path(__file__).with_name("replay_child.py")
_ROUTERS = {"kv": "kv_router", "round-robin": "round_robin"}


def replay(shape: Shape, traffic: Traffic, python: Path, folder: Path) -> tuple[NDArray[np.float64],
                                                                                NDArray[np.float64]]:  # fmt: skip
    """TTFT and mean ITL in seconds by request; ITL is 0 where an answer has one token.

    Raises:
        StackError: the replay failed; with its last words.
    """
    folder.mkdir(parents=True, exist_ok=True)
    timing.write_table(shape.profile, folder / "timing.npz")
    block_tokens = traffic.block_tokens if traffic.block_ids is not None else shape.block_tokens
    _write_trace(traffic, block_tokens, folder / "trace.jsonl")
    job = {
        "trace": str((folder / "trace.jsonl").absolute()),
        "block_tokens": block_tokens,
        "router": _ROUTERS[shape.router],
        "fleet": dict(shape.initial),
        "engine": engine_of(shape, folder / "timing.npz"),
    }
    answer = _run(job, python)
    ttft, itl = (_seconds(answer[name]) for name in ("ttft_ms", "itl_ms"))
    itl[(traffic.output_tokens == 1) & np.isfinite(ttft)] = 0.0
    return ttft, itl


def engine_of(shape: Shape, table: Path) -> dict[str, Any]:
    """The options of the simulated engine, as the live worker gets them on its command line."""
    return {
        "timing_model": {
            "type": "external", "provider": "dynamo_profile", "config": {"path": str(table.absolute())},
        },
        "block_size": shape.block_tokens,
        "num_gpu_blocks": int(shape.profile.max_kv_tokens // shape.block_tokens),
        "max_num_seqs": shape.max_sequences,
        "max_num_batched_tokens": shape.chunk_tokens,
        "enable_prefix_caching": shape.prefix_cache,
    }  # fmt: skip


def _write_trace(traffic: Traffic, block_tokens: int, path: Path) -> None:
    """The trace in Mooncake's form; requests that say nothing of prefixes share none."""
    unshared = 0
    with path.open("w") as file:
        for i in range(traffic.requests):
            isl = int(traffic.input_tokens[i])
            if traffic.block_ids is not None and traffic.block_starts is not None:
                blocks = traffic.block_ids[traffic.block_starts[i] : traffic.block_starts[i + 1]].tolist()
            else:
                blocks = list(range(unshared, unshared + -(-isl // block_tokens)))
                unshared += len(blocks)
            line = {
                "timestamp": 1e3 * float(traffic.arrivals_s[i]),
                "input_length": isl,
                "output_length": int(traffic.output_tokens[i]),
                "hash_ids": blocks,
            }
            file.write(json.dumps(line) + "\n")


def _run(job: dict[str, Any], python: Path) -> dict[str, list[float | None]]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DYN_"))}
    done = subprocess.run([str(python), str(CHILD)], input=json.dumps(job), capture_output=True, text=True,
                          env=env | {"DYN_LOG": "error", "DYN_SDK_DISABLE_ANSI_LOGGING": "1"})  # fmt: skip
    if done.returncode:
        raise StackError(f"Dynamo's replay failed: {'; '.join(done.stderr.strip().splitlines()[-2:])}")
    answer: dict[str, list[float | None]] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def _seconds(values: list[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value / 1e3 for value in values], float)
