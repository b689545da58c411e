"""Probes: restarted when stuck, out of service when blind, and told why."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.testclient import TestClient

from planner.core.types import Decision, Observation, Reason
from planner.live.health import Health
from planner.live.routes import routes
from tests.core.worlds import seen

DECISION = Decision(0.0, {}, {}, Reason.HELD_BLIND)


class Now:
    at = 1000.0

    def __call__(self) -> float:
        return self.at


def probed(health: Health) -> TestClient:
    return TestClient(Starlette(routes=routes(health, lambda: b"planner_up 1\n")))


def test_a_planner_that_steps_and_sees_is_alive_and_ready() -> None:
    health = Health(5.0, Now())
    health.record(seen(1000.0, 10.0), DECISION)
    client = probed(health)

    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 200
    assert client.get("/metrics").text == "planner_up 1\n"


def test_before_the_first_look_it_is_alive_and_not_ready() -> None:
    client = probed(Health(5.0, Now()))

    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503


def test_a_blind_planner_is_not_restarted_for_it() -> None:
    """An outage of Prometheus must not become a crash loop of the planner."""
    health = Health(5.0, Now())
    health.record(Observation(1000.0, {}, None, ("http://prometheus:9090 refused the connection",)), DECISION)
    client = probed(health)

    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").json() == {"ok": False, "reason": "http://prometheus:9090 refused the connection"}


def test_a_stuck_loop_is_told_with_how_long() -> None:
    now = Now()
    health = Health(5.0, now)
    health.record(seen(1000.0, 10.0), DECISION)
    now.at += 31.0

    assert probed(health).get("/healthz").json()["reason"] == "no step for 31 s, one is due every 5 s"
