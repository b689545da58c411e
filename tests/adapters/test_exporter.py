"""The planner's own metrics: parsed as Prometheus parses them, true to what was decided, silent where unknown."""

from __future__ import annotations

import math

from prometheus_client.parser import text_string_to_metric_families

from planner.adapters.exporter import Exporter, condition_of
from planner.core.planner import Planner
from planner.core.types import Observation, PoolReading
from tests.core.worlds import policy, seen


def samples(exporter: Exporter) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(exporter.text().decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def stepped(observations: list[Observation]) -> tuple[Exporter, Planner]:
    planner = Planner(policy())
    exporter = Exporter(planner.policy, "1.2.3")
    timed = exporter.timed(planner)
    for observation in observations:
        exporter.record(observation, timed.step(observation))
    exporter.learnt(planner)
    return exporter, planner


def test_what_was_decided_is_what_is_exposed() -> None:
    exporter, planner = stepped([seen(5.0 * i, 60.0) for i in range(30)])
    shown = samples(exporter)
    asked = planner.state.asked
    assert asked is not None

    assert shown["planner_replicas_allowed", (("pool", "prefill"),)] == asked["prefill"]
    assert shown["planner_gpus_allowed", ()] == sum(asked.values())
    assert shown["planner_request_rate", ()] == 60.0
    assert shown["planner_forecast_rate_low", ()] <= shown["planner_forecast_rate_high", ()]
    assert shown["planner_decision_seconds_count", ()] == 30
    assert sum(value for (name, _), value in shown.items() if name == "planner_steps_total") == 30


def test_what_is_not_known_is_no_number() -> None:
    """A dashboard that shows 0 requests per second during an outage has told a lie."""
    blind = Observation(200.0, {"prefill": PoolReading(2, 2)}, None, ("stale: ttft is 40 s old",))
    exporter, _ = stepped([*(seen(5.0 * i, 60.0) for i in range(30)), blind])
    shown = samples(exporter)

    assert math.isnan(shown["planner_request_rate", ()])
    assert math.isnan(shown["planner_ttft_seconds", ()])
    assert shown["planner_conditions_total", (("condition", "stale"),)] == 1
    assert shown["planner_replicas_ready", (("pool", "prefill"),)] == 2


def test_two_planners_in_one_process_do_not_meet() -> None:
    first, _ = stepped([seen(0.0, 60.0)])
    second, _ = stepped([seen(0.0, 60.0), seen(5.0, 60.0)])

    assert samples(first)["planner_decision_seconds_count", ()] == 1
    assert samples(second)["planner_decision_seconds_count", ()] == 2


def test_conditions_are_counted_by_name() -> None:
    assert condition_of("counter-reset: requests_total of frontend-0") == "counter-reset"
    assert condition_of("http://prometheus:9090 refused") == "other"


def test_what_was_asked_for_is_no_number_where_nobody_says_it() -> None:
    exporter, _ = stepped([Observation(0.0, {"prefill": PoolReading(2, 2, requested_known=False)})])
    shown = samples(exporter)

    assert math.isnan(shown["planner_replicas_requested", (("pool", "prefill"),)])
    assert shown["planner_replicas_ready", (("pool", "prefill"),)] == 2
