"""NVIDIA Dynamo's own planner, unchanged, in the Python of the local stack (``make stack``), fed with what ours sees.

Its load predictors and its regression need libraries that the stack does without; they are taken from the
environment this runs in. AISimulate, its estimator, is not on the lock (111 MB, a development version): where it is
installed into the stack it is used, else a fit of the same form takes its place.
"""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from types import TracebackType
from typing import Any

from planner import resources
from planner.core.types import Role
from planner.simulation.peers.api import Site
from planner.simulation.peers.dynamo import Count, Pass, Passes, ordered

Reply = dict[str, Any]
_SIDES = {Role.PREFILL: "prefill", Role.DECODE: "decode", Role.AGGREGATED: "decode"}


class OriginalError(Exception):
    """The original cannot be run here; the message says what would help."""


def python() -> Path:
    """The Python that has ai-dynamo.

    Raises:
        OriginalError: there is none.
    """
    found = resources.stack_home() / "bin" / "python"
    if not found.exists() or not any(found.parents[1].glob("lib/python*/site-packages/dynamo/planner/core")):
        raise OriginalError(f"NVIDIA Dynamo's planner is not installed in {found.parents[1]}: make stack installs it")
    return found


def config(site: Site, **more: object) -> Reply:
    """The original's configuration for a site; ``more`` as in its ``PlannerConfig``."""
    pools = ordered(site)
    least = {"min_endpoint": pools[0].min_replicas}
    if len(pools) == 2:
        least = {f"{_SIDES[p.role]}_min_endpoint": p.min_replicas for p in pools}
    return {
        "mode": "agg" if len(pools) == 1 else "disagg",
        "environment": "virtual",
        "max_gpu_budget": -1 if site.budget_gpus is None else site.budget_gpus,
        "ttft_ms": 1000 * site.sla.ttft_s,
        "itl_ms": 1000 * site.sla.itl_s,
        "report_interval_hours": None,
        "live_dashboard_port": 0,
        "scheduling": {"tick_max_duration_seconds": 600.0},  # a busy machine must not change what is decided
        **least,
        **more,
    }


class Original:
    """A process with the original in it; every call is one line each way.

    Raises:
        OriginalError: it is not installed, or cannot be run.
    """

    def __init__(self) -> None:
        driver = Path(__file__).with_name("original_driver.py")
        self._process = subprocess.Popen(
            [str(python()), str(driver), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )

    def start(self, settings: Mapping[str, object], capabilities: Mapping[str, Mapping[str, object]]) -> None:
        """Begin anew with a planner that knows nothing."""
        self._ask({"start": settings, "capabilities": capabilities})

    def learn(self, **benchmarks: Sequence[Pass]) -> None:
        """Teach it passes that were measured before; by ``prefill``, ``decode``, ``aggregated``."""
        self._ask({"learn": {role: [_figures(one) for one in rows] for role, rows in benchmarks.items()}})

    def tick(self, at: float, engines: Mapping[Role, Passes], counts: Mapping[Role, Count],
             traffic: Mapping[str, float | None] | None = None) -> Reply:  # fmt: skip
        """What it decides at ``at`` seconds; to be called every ``LOAD_S``."""
        told: dict[str, int | bool] = {}
        for role, count in counts.items():
            side = _SIDES[role]
            told[f"ready_num_{side}"] = count.ready
            told[f"expected_num_{side}"] = count.ready + count.pending
            told[f"pending_num_{side}"] = count.pending
            told[f"{side}_scaling_in_progress"] = count.pending > 0
        rows = {_SIDES[role]: {name: _figures(one) for name, one in by_name.items()}
                for role, by_name in engines.items()}  # fmt: skip
        return self._ask({"tick": at, "counts": told, "passes": rows, "traffic": traffic})

    def call(self, function: str, *arguments: object) -> Any:
        """The result of one of its budget functions."""
        return self._ask({"call": function, "with": arguments})["result"]

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.communicate()

    def __enter__(self) -> Original:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _ask(self, question: Mapping[str, object]) -> Reply:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            said = self._process.stderr.read().strip().splitlines()[-3:]
            raise OriginalError(f"NVIDIA Dynamo's planner cannot be run here: {'; '.join(said)}")
        reply: Reply = json.loads(line)
        return reply


def _figures(one: Pass) -> list[float]:
    return [*astuple(one.scheduled), *astuple(one.queued), one.seconds]
