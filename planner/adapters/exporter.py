"""The planner's own metrics for Prometheus: what it saw, forecast, wanted, was allowed, and what went wrong.

A registry of its own: two planners in one process do not meet. What is not known is NaN, never 0.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from planner.core.attainment import late_share, slow_share
from planner.core.histogram import mean_of
from planner.core.planner import Planner
from planner.core.policy import Policy
from planner.core.sharing import HELD
from planner.core.types import Decision, Observation, Role
from planner.ports import Decider

STEP_BUCKETS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)


class Exporter:
    """A ``DecisionSink`` whose metrics ``text`` gives in Prometheus' format."""

    def __init__(self, policy: Policy, version: str) -> None:
        self._policy = policy
        self.registry = CollectorRegistry()
        self._pool = {
            name: self._gauge(f"replicas_{name}", text, ("pool",))
            for name, text in (
                ("wanted", "Replicas the law wants, before any rule."),
                ("allowed", "Replicas asked for: wanted under the operator's rules."),
                ("requested", "Replicas that the platform says were asked for."),
                ("ready", "Replicas that serve."),
            )
        }
        self._correction = self._gauge("profile_correction", "Observed over profiled time of an engine.", ("pool",))
        self._startup = self._gauge("startup_seconds", "Measured time from asking to serving, smoothed.", ("pool",))
        self._seen = {
            name: self._gauge(name, text)
            for name, text in (
                ("request_rate", "Requests per second that arrived in the last window."),
                ("input_tokens", "Mean prompt length of the last window, in tokens."),
                ("output_tokens", "Mean answer length of the last window, in tokens."),
                ("ttft_seconds", "Mean time to first token of the last window."),
                ("itl_seconds", "Mean time between tokens of the last window."),
                ("forecast_rate", "Forecast requests per second at the horizon."),
                ("forecast_rate_low", "Quantile 0.05 of the forecast."),
                ("forecast_rate_high", "Quantile 0.95 of the forecast."),
                ("forecast_horizon_seconds", "How far ahead the forecast looks."),
                ("expected_attainment", "Share of promises the decision expects to be kept."),
                ("late_share", "Share of first tokens in the last window later than the target, read from buckets."),
                ("slow_share", "Share of requests in the last window slower than the target, as far as engines tell."),
                (
                    "error_budget_requests",
                    "Missed beyond what the goal allows, old ones fading; worst promise.",
                ),
                ("gpus_allowed", "GPUs of all replicas asked for."),
                ("last_step_timestamp_seconds", "When the last step looked."),
                ("own_problems", "Things that go wrong inside the planner: its log, its state, its fits."),
                ("feasible", "1 when some fleet keeps the promise, 0 when none can."),
            )
        }
        self._steps = Counter("planner_steps", "Steps by reason of the decision.", ("reason",), registry=self.registry)
        self._rules = Counter("planner_adjustments", "Numbers moved, by pool and rule.", ("pool", "rule"),
                              registry=self.registry)  # fmt: skip
        self._conditions = Counter("planner_conditions", "Conditions met while reading.", ("condition",),
                                   registry=self.registry)  # fmt: skip
        self._errors = Counter("planner_step_errors", "Steps in which a part outside failed.", registry=self.registry)
        self._time = Histogram("planner_decision_seconds", "Time one decision took.", registry=self.registry,
                               buckets=STEP_BUCKETS)  # fmt: skip
        info = self._gauge("info", "What runs.", ("version", "law", "predictor", "profile"))
        info.labels(version, policy.law, policy.predictor, policy.pools[0].profile.name).set(1)

    def text(self) -> bytes:
        """Everything, as Prometheus scrapes it."""
        return generate_latest(self.registry)

    def timed(self, planner: Decider) -> Decider:
        """``planner`` with its decisions timed."""
        return _Timed(planner, self._time)

    def learnt(self, planner: Planner) -> None:
        """What the planner has in memory: error budget, start-up times."""
        self._show("error_budget_requests", max(planner.state.budgets.values(), default=None))
        for pool in planner.policy.pools:
            if pool.name in planner.state.supply:
                self._startup.labels(pool.name).set(planner.state.supply[pool.name].startup_s(pool))

    def troubled(self, problems: int) -> None:
        """How much goes wrong inside the planner now."""
        self._seen["own_problems"].set(problems)

    def record(self, seen: Observation, decision: Decision, error: str = "") -> None:
        """Take note of one step."""
        self._steps.labels(decision.reason.value).inc()
        for change in decision.adjustments:
            self._rules.labels(change.pool, change.reason.value).inc()
        for problem in seen.problems:
            self._conditions.labels(condition_of(problem)).inc()
        if error:
            self._errors.inc()
        self._fleets(seen, decision)
        for name, value in {**self._measured(seen), **self._foreseen(decision)}.items():
            self._show(name, value)
        self._seen["last_step_timestamp_seconds"].set(seen.at)

    def _fleets(self, seen: Observation, decision: Decision) -> None:
        for pool, reading in seen.pools.items():
            self._pool["requested"].labels(pool).set(reading.requested if reading.requested_known else float("nan"))
            self._pool["ready"].labels(pool).set(reading.ready)
        for pool, count in decision.replicas.items():
            self._pool["allowed"].labels(pool).set(count)
        for pool, count in decision.wanted.items():
            self._pool["wanted"].labels(pool).set(count)
        for pool, factor in decision.corrections.items():
            self._correction.labels(pool).set(factor)
        gpus = {pool.name: pool.gpus for pool in self._policy.pools}
        asked = [n * gpus.get(pool, 1) for pool, n in decision.replicas.items()]
        self._show("gpus_allowed", sum(asked) if asked else None)

    def _measured(self, seen: Observation) -> dict[str, float | None]:
        window, sla = seen.window, self._policy.sla
        slow = _known(
            slow_share(seen.pools[pool.name], sla.itl_s)
            for pool in self._policy.pools
            if pool.role is not Role.PREFILL and pool.name in seen.pools
        )
        if window is None:
            return dict.fromkeys(("request_rate", "input_tokens", "output_tokens", "ttft_seconds", "itl_seconds",
                                  "late_share", "slow_share"))  # fmt: skip
        return {
            "request_rate": None if window.started is None else window.started / window.seconds,
            "input_tokens": mean_of(window.input_tokens),
            "output_tokens": mean_of(window.output_tokens),
            "ttft_seconds": mean_of(window.ttft),
            "itl_seconds": mean_of(window.itl),
            "late_share": late_share(window.ttft, sla.ttft_s),
            "slow_share": max(slow) if slow else None,
        }

    def _foreseen(self, decision: Decision) -> Mapping[str, float | None]:
        """Forecast and expectation of a decision that made one; others leave the last ones standing.

        Only the slo law knows whether some fleet would keep the promise.
        """
        shown: dict[str, float | None] = {}
        if decision.forecast is not None:
            shown |= {
                "forecast_rate": decision.forecast.rate,
                "forecast_rate_low": decision.forecast.rate_low,
                "forecast_rate_high": decision.forecast.rate_high,
                "forecast_horizon_seconds": decision.forecast.horizon_s,
            }
        if decision.expected is not None:
            shown["expected_attainment"] = decision.expected.attainment
        if self._policy.law == "slo" and decision.reason not in HELD:
            shown["feasible"] = float(decision.feasible)
        return shown

    def _show(self, name: str, value: float | None) -> None:
        """Set a gauge; what is not known shows no number."""
        self._seen[name].set(float("nan") if value is None else value)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        """A gauge that shows no number before it is set; one with labels shows nothing."""
        gauge = Gauge(f"planner_{name}", text, labels, registry=self.registry)
        if not labels:
            gauge.set(float("nan"))
        return gauge


class _Timed:
    def __init__(self, planner: Decider, histogram: Histogram) -> None:
        self._planner, self._histogram = planner, histogram

    def step(self, seen: Observation) -> Decision:
        started = time.perf_counter()
        decision = self._planner.step(seen)
        self._histogram.observe(time.perf_counter() - started)
        return decision


def condition_of(problem: str) -> str:
    """The name in front of a named condition (``stale: …``); what has none is ``other``."""
    name, colon, _ = problem.partition(": ")
    return name if colon and name.replace("-", "").isalpha() and name.islower() else "other"


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
