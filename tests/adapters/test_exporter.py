"""The planner's own metrics: parsed as Prometheus parses them, true to what was decided, silent where unknown."""

from __future__ import annotations

import math

from prometheus_client.parser import text_string_to_metric_families

from planner.adapters.exporter import Exporter, condition_of
from planner.core.planner import Planner
from planner.core.policy import Sla
from planner.core.types import Decision, Observation, PoolReading, Reason
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


def test_before_the_first_step_no_gauge_shows_a_number() -> None:
    """An alert on planner_feasible == 0 would page somebody at every start."""
    shown = samples(Exporter(policy(), "1.2.3"))
    counters = ("planner_step_errors", "planner_decision_seconds")
    gauges = {name: n for (name, labels), n in shown.items() if not labels and not name.startswith(counters)}

    assert {"planner_feasible", "planner_request_rate", "planner_forecast_rate", "planner_gpus_allowed"} <= set(gauges)
    assert all(math.isnan(n) for n in gauges.values())


def test_what_a_law_does_not_judge_is_no_number() -> None:
    """A fixed fleet is not said to be able to keep a promise, nor to be unable to."""
    planner = Planner(policy(law="static", fixed={"prefill": 2, "decode": 2}))
    exporter = Exporter(planner.policy, "1.2.3")
    for i in range(30):
        exporter.record(seen(5.0 * i, 60.0), planner.step(seen(5.0 * i, 60.0)))
    shown = samples(exporter)

    for name in ("planner_feasible", "planner_expected_attainment", "planner_forecast_rate"):
        assert math.isnan(shown[name, ()])


def test_every_full_decision_says_whether_some_fleet_keeps_the_promise() -> None:
    idle, _ = stepped([seen(5.0 * i, 0.0) for i in range(30)])
    promised = policy(sla=Sla(0.5, 0.001))
    hopeless, planner = Exporter(promised, "1.2.3"), Planner(promised)
    for i in range(30):
        hopeless.record(seen(5.0 * i, 60.0), planner.step(seen(5.0 * i, 60.0)))

    assert samples(idle)["planner_feasible", ()] == 1
    assert samples(hopeless)["planner_feasible", ()] == 0


def test_a_planner_that_has_asked_for_nothing_shows_no_gpus() -> None:
    exporter = Exporter(policy(), "1.2.3")
    exporter.record(Observation(0.0, {}, None, ("away",)), Decision(0.0, {}, {}, Reason.HELD_BLIND))

    assert math.isnan(samples(exporter)["planner_gpus_allowed", ()])
