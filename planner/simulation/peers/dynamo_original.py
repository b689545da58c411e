"""NVIDIA Dynamo's own planner, unchanged, in the Python of the local stack (``make stack``), fed with what ours sees.

Its load predictors and its regression need libraries that the stack does without; they are taken from the
environment this runs in. AISimulate, its estimator, is not on the lock (111 MB, a development version): where it is
installed into the stack it is used, else a fit of the same form takes its place (``estimator`` tells which).
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from planner import resources
from planner.core.types import Decision, Observation, Role
from planner.ports import Decider
from planner.simulation.peers.api import Peer, Site
from planner.simulation.peers.dynamo import LOAD_S, Count, Pass, Passes, counted, decided, ordered, passes

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

    estimator = ""  # "aisimulate" or "stand-in", known once a planner is started

    def __init__(self) -> None:
        driver = resources.path("local", "dynamo_planner.py")
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
        self.estimator = str(self._ask({"start": settings, "capabilities": capabilities})["estimator"])

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


@dataclass(slots=True)
class OriginalThresholds:
    """The original in the loop, by thresholds."""

    site: Site
    original: Original
    started_s: float = field(default=math.nan)

    def step(self, seen: Observation) -> Decision:
        """Hand the engines over and take what it says."""
        if math.isnan(self.started_s):
            self.started_s = seen.at - LOAD_S
        pools = ordered(self.site)
        engines = {p.role: passes(seen.pools[p.name], p.role, p.profile.max_kv_tokens, {}, math.inf) for p in pools}
        said = self.original.tick(
            seen.at - self.started_s, engines, {p.role: counted(seen.pools[p.name]) for p in pools}
        )
        found = {p.role: said[_SIDES[p.role]] for p in pools if said[_SIDES[p.role]] is not None}
        return decided(self.site, seen, found or None, blind=not any(engines.values()))


def _make(site: Site, knobs: Mapping[str, float]) -> Decider:
    able = {
        _SIDES[p.role]: {
            "num_gpu": p.gpus,
            "context_length": int(knobs["context_tokens"]),
            "max_kv_tokens": int(p.profile.max_kv_tokens),
        }
        for p in ordered(site)
    }
    original = Original()
    original.start(config(site, optimization_target="throughput"), able)
    return OriginalThresholds(site, original)


ORIGINAL = Peer(
    name="dynamo-original",
    source="NVIDIA Dynamo ai-dynamo 1.6.1 itself, optimization_target: throughput",
    tick_s=LOAD_S,
    make=_make,
    defaults={"context_tokens": 131_072.0},
)
"""Not among ``PEERS``: it needs the local stack. Making it where that is missing raises ``OriginalError``."""
