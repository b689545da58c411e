"""Runs inside the stack's own Python, which has Dynamo and nothing of ours: one job in as JSON, one answer out.

In:  trace, block_tokens, router ("kv_router" or "round_robin"), fleet (workers by pool), engine (the mocker's options).
Out: ttft_ms and itl_ms of every request in order of arrival; null where there is none.
"""

import json
import sys
from typing import Any


def main() -> None:
    """Answer the one job on standard input."""
    job = json.load(sys.stdin)
    from dynamo.mocker.config import normalize_mocker_config  # type: ignore[import-not-found]
    from dynamo.replay import run_trace_replay  # type: ignore[import-not-found]

    def engine(role: str) -> dict[str, Any]:
        normalized: dict[str, Any] = normalize_mocker_config({"engine": {**job["engine"], "worker_type": role}})
        return normalized

    if "aggregated" in job["fleet"]:
        workers = {"extra_engine_args": engine("aggregated"), "num_workers": job["fleet"]["aggregated"]}
    else:
        workers = {
            "prefill_engine_args": engine("prefill"),
            "decode_engine_args": engine("decode"),
            "num_prefill_workers": job["fleet"]["prefill"],
            "num_decode_workers": job["fleet"]["decode"],
        }
    report = run_trace_replay(
        job["trace"],
        trace_block_size=job["block_tokens"],
        router_mode=job["router"],
        capture_per_request=True,
        **workers,
    )
    rows = sorted(report.per_request, key=lambda row: row["arrival_time_ms"])
    json.dump({name: [row[name] for row in rows] for name in ("ttft_ms", "itl_ms")}, sys.stdout)


main()
