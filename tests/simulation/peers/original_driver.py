"""Runs NVIDIA Dynamo's own planner core, without Kubernetes: one JSON request a line in, one decision a line out.

Started by ``original`` beside it with the Python of the local stack; it imports nothing of
ours. Libraries that only the planner needs (scikit-learn, prophet, …) are looked up in the folders given as
arguments, after the stack's own. AISimulate's estimator is used where it is installed; where it is not, a least
squares fit stands in for that part alone, and the answer to ``start`` says so.

    {"start": {planner configuration}, "capabilities": {"prefill": {…}, "decode": {…}}}  → {"estimator": …}
    {"learn": {"prefill": [pass, …], "decode": […]}}                                     → {}
    {"tick": seconds, "counts": {…}, "passes": {"prefill": {name: pass}, …}, "traffic": {…}} → {"prefill": n, …}
    {"call": name of a function in dynamo.planner.core.budget, "with": [arguments]}      → {"result": …}

A pass is [prompts, prompt tokens, sequences, KV tokens scheduled; the same four queued; seconds].
"""

import asyncio
import json
import logging
import sys
import types
import warnings

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
sys.path += sys.argv[1:]
_answers = sys.stdout
sys.stdout = sys.stderr


class _Fit:
    """What stands in for AISimulate's regression: non-negative slopes on KV work and tokens, an intercept."""

    def __init__(self, config):
        self.role, self.rows, self.found = config["worker_type"], [], None

    @classmethod
    def best_available(cls, config):
        return cls(config)

    @staticmethod
    def normalize_config(config):
        return config

    @staticmethod
    def _features(ranks):
        work = ranks[0]["scheduled_requests"]
        prompts, tokens = work["num_prefill_requests"], work["sum_prefill_tokens"]
        pairs = tokens * tokens / prompts if prompts else 0.0
        return work["sum_decode_kv_tokens"] + pairs, tokens + work["num_decode_requests"]

    def tune_with_fpms(self, iterations):
        for ranks in iterations:
            if ranks[0]["wall_time"] > 0:
                self.rows.append((*self._features(ranks), ranks[0]["wall_time"]))
        self.rows, self.found = self.rows[-64:], None

    def _fitted(self):
        if self.found is None and len(self.rows) >= 5:
            import numpy as np
            from scipy.optimize import nnls

            x, y = np.array(self.rows)[:, :2], np.array(self.rows)[:, 2]
            spread = x.std(axis=0)
            scale = np.where(spread > 0, spread, 1.0)
            slopes = nnls((x - x.mean(axis=0)) / scale, y - y.mean())[0] / scale
            if slopes.any():
                self.found = (slopes, float(y.mean() - x.mean(axis=0) @ slopes))
        return self.found

    def estimate_forward_pass_time_ms(self, ranks):
        features = self._features(ranks)
        if self._fitted() is None:
            return None
        slopes, base = self._fitted()
        return 0.0 if not any(features) else max(1e-6, 1000 * (base + slopes @ features))

    def diagnostics(self):
        ready = self._fitted() is not None
        return {"readiness": "ready" if ready else "insufficient_data", "retained_observations": len(self.rows)}


def _estimator():
    try:
        import aisimulate_core.sdk  # noqa: F401
    except ImportError:
        from dataclasses import dataclass, field

        @dataclass
        class Config:
            model: str
            system: str
            backend: str
            worker_type: str
            estimation_mode: str = "auto"
            tp: int = 1
            pp: int = 1
            nextn: int = 0
            kv_block_size: int | None = None
            estimator_config: dict = field(default_factory=dict)

            @classmethod
            def from_legacy_engine_config(cls, config, role, options):
                return cls(config["model_name"], config["system_name"], config["backend"], role)

        sdk = types.ModuleType("aisimulate_core.sdk")
        sdk.ForwardPassPerfModelConfig, sdk.RustForwardPassPerfModel = Config, _Fit
        package = types.ModuleType("aisimulate_core")
        package.sdk = sdk
        sys.modules.update({"aisimulate_core": package, "aisimulate_core.sdk": sdk})
        return "stand-in"
    return "aisimulate"


ESTIMATOR = _estimator()

from dynamo.common.forward_pass_metrics import (  # noqa: E402
    ForwardPassMetrics,
    QueuedRequestMetrics,
    ScheduledRequestMetrics,
)
from dynamo.planner.config.planner_config import PlannerConfig  # noqa: E402
from dynamo.planner.core import budget  # noqa: E402
from dynamo.planner.core.types import (  # noqa: E402
    EngineCapabilities,
    FpmObservations,
    TickInput,
    TrafficObservation,
    WorkerCapabilities,
    WorkerCounts,
)
from dynamo.planner.plugins.clock import VirtualClock  # noqa: E402
from dynamo.planner.plugins.orchestrator.engine_adapter import OrchestratorEngineAdapter  # noqa: E402


def _pass(name, figures):
    p, pt, n, kv, qp, qpt, qn, qkv, seconds = figures
    return ForwardPassMetrics(
        worker_id=name,
        wall_time=seconds,
        scheduled_requests=ScheduledRequestMetrics(
            num_prefill_requests=p, sum_prefill_tokens=pt, num_decode_requests=n, sum_decode_kv_tokens=kv
        ),
        queued_requests=QueuedRequestMetrics(
            num_prefill_requests=qp, sum_prefill_tokens=qpt, num_decode_requests=qn, sum_decode_kv_tokens=qkv
        ),
    )


def _passes(by_name):
    return {(name, 0): _pass(name, figures) for name, figures in by_name.items()} or None


class Planner:
    """One planner, driven tick by tick."""

    def __init__(self, config, capabilities):
        able = {role: EngineCapabilities(**given) for role, given in capabilities.items()}
        self.config = PlannerConfig(**config)
        self.engine = OrchestratorEngineAdapter(self.config, WorkerCapabilities(**able), clock=VirtualClock())
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(self.engine.bootstrap_plugins())
        self.due = self.engine.initial_tick(0.0)

    def learn(self, prefill=(), decode=(), aggregated=()):
        self.engine.install_regressions_from_fpms(
            prefill_fpms=[_pass("bench", p) for p in prefill],
            decode_fpms=[_pass("bench", p) for p in decode],
            agg_fpms=[_pass("bench", p) for p in aggregated],
        )

    def tick(self, at, counts, passes, traffic):
        seen = TickInput(now_s=at)
        seen.worker_counts = WorkerCounts(**counts)
        if self.due.need_worker_fpm:
            seen.fpm_observations = FpmObservations(**{role: _passes(p) for role, p in passes.items()})
        if self.due.need_traffic_metrics and traffic is not None:
            seen.traffic = TrafficObservation(**traffic)
        effects = self.loop.run_until_complete(self.engine.tick(self.due, seen))
        self.due = effects.next_tick
        said = effects.diagnostics
        found = effects.scale_to
        return {
            "prefill": found.num_prefill if found else None,
            "decode": found.num_decode if found else None,
            "floor": [said.throughput_lower_bound_prefill, said.throughput_lower_bound_decode],
            "predicted": [said.predicted_num_req, said.predicted_isl, said.predicted_osl],
            "rates": [said.engine_rps_prefill, said.engine_rps_decode],
            "why": [said.load_decision_reason, said.throughput_decision_reason],
            "wants_traffic_s": self.due.traffic_metrics_duration_s if self.due.need_traffic_metrics else 0.0,
        }


def main():
    """Answer line by line until there are no more."""
    planner = None
    for line in sys.stdin:
        asked = json.loads(line)
        if "start" in asked:
            planner = Planner(asked["start"], asked["capabilities"])
            said = {"estimator": ESTIMATOR}
        elif "learn" in asked:
            planner.learn(**asked["learn"])
            said = {}
        elif "call" in asked:
            said = {"result": getattr(budget, asked["call"])(*asked["with"])}
        else:
            said = planner.tick(asked["tick"], asked["counts"], asked["passes"], asked.get("traffic"))
        print(json.dumps(said), file=_answers, flush=True)


main()
