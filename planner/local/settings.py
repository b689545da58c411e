"""What the planner is told about a local stack: the settings that `planner run` would be started with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.adapters.processes import Worker
from planner.config.live import LiveSettings
from planner.local.stack import Stack


@dataclass(frozen=True, slots=True)
class Control:
    """The promise, and how quickly the planner works; far quicker than in a cluster, where models load for minutes."""

    ttft_s: float = 0.5
    itl_s: float = 0.03
    goal: float = 0.95
    interval_s: float = 10.0
    tick_s: float = 2.0
    stabilization_s: float = 30.0
    max_replicas: int = 12  # of a pool: a laptop is no cluster
    listen: str = "127.0.0.1:0"


def live_settings(stack: Stack, profile: Path, control: Control, decisions: Path | None = None) -> LiveSettings:
    """Settings of a planner beside ``stack``, whose workers' profile is in the file ``profile``."""
    shape = stack.shape
    return LiveSettings.model_validate({
        "description": f"{shape.mode} stack on this machine",
        "profile": str(profile), "mode": shape.mode,
        "sla": {"ttft": f"{control.ttft_s}s", "itl": f"{control.itl_s}s", "goal": control.goal},
        "interval": f"{control.interval_s}s", "tick": f"{control.tick_s}s",
        "stabilization": f"{control.stabilization_s}s", "startup": f"{shape.delay_s + 1.0}s", "warmup": "0s",
        "max_replicas": dict.fromkeys(stack.pools, control.max_replicas), "initial": dict(shape.initial),
        "prometheus": {"url": stack.prometheus_url, "dialect": "dynamo", "scrape": f"{shape.scrape_s}s",
                       "pools": {pool: {"pool": pool} for pool in stack.pools}},
        "target": {"kind": "processes", "discovery": str(stack.folder / "workers.json"),
                   "logs": str(stack.folder / "logs"),
                   "workers": {pool: _worker(worker) for pool, worker in stack.workers.items()}},
        "server": {"listen": control.listen},
        "decisions": decisions,
    })  # fmt: skip


def _worker(worker: Worker) -> dict[str, Any]:
    return {
        "command": list(worker.command), "env": dict(worker.env), "ready_url": worker.ready_url,
        "metrics": worker.metrics, "delay": f"{worker.delay_s}s", "patience": f"{worker.patience_s}s",
        "drain": f"{worker.drain_s}s",
    }  # fmt: skip
