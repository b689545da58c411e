"""The past, read back through range queries, is what was seen live; and a survey says what there is to see."""

from __future__ import annotations

import time

from planner.adapters.prometheus import Access, Condition, Finding, Server, Subject, history, subject, survey
from planner.adapters.prometheus.history import STEPS_AT_ONCE
from planner.core.types import Role
from tests.adapters.prometheus.recorded import Recorded
from tests.adapters.prometheus.stand import Group, Stand, wait_for

SCRAPE_S = 2.0
STARTED = "dynamo_frontend_requests_started_total"
TTFT = "dynamo_frontend_time_to_first_token_seconds"


def dynamo(front: Group, workers: Group, **labels: str) -> Subject:
    pools = {"aggregated": (Role.AGGREGATED, {"job": workers.job})}
    return subject("dynamo", pools, {"job": front.job, **labels}, scrape_s=SCRAPE_S)


def test_history_adds_up_to_what_was_counted(prometheus_stand: Stand) -> None:
    """Steps end between scrapes; over all of them nothing is counted twice or lost, also across pages."""
    stand, front, workers = prometheus_stand, prometheus_stand.group(), prometheus_stand.group()
    text = Recorded("dynamo-frontend.txt")
    front.targets[0].show(text.text())
    workers.targets[0].show(Recorded("dynamo-worker.txt").text())
    stand.settle(front.targets[0], workers.targets[0])
    start = time.time()
    for more in range(1, 6):
        text.add(STARTED, more)
        text.observe(TTFT, 0.3, more)
        front.targets[0].show(text.text())
        stand.settle(front.targets[0])
    end = time.time()
    ours, server = dynamo(front, workers), Server(Access(stand.url, timeout_s=20))
    seen = list(history(server, ours, start, end, 0.01))  # more steps than one question holds
    windows = [o.window for o in seen if o.window is not None]

    assert len(seen) == int((end - start) / 0.01 + 1e-9) + 1 > STEPS_AT_ONCE
    assert sum(w.started or 0 for w in windows) == 1 + 2 + 3 + 4 + 5
    assert sum(w.ttft.count for w in windows if w.ttft is not None) == 15
    assert abs(sum(w.seconds for w in windows) - (end - start)) < 1.5  # between scrapes, not between steps
    assert {(o.pools["aggregated"].requested, o.pools["aggregated"].ready) for o in seen} == {(1, 1)}
    unseen = [o for o in seen[1:] if o.window is None]
    assert all(any(p.startswith(Condition.NOTHING_NEW) for p in o.problems) for o in unseen)


def test_history_before_there_was_anything_is_blind(prometheus_stand: Stand) -> None:
    stand, front, workers = prometheus_stand, prometheus_stand.group(), prometheus_stand.group()
    server = Server(Access(stand.url, timeout_s=20))
    seen = list(history(server, dynamo(front, workers), 1_000_000.0, 1_000_120.0, 60.0))

    assert [(o.at, o.window, dict(o.pools)) for o in seen] == [(1_000_000.0 + 60 * i, None, {}) for i in range(3)]
    assert all(any(p.startswith("absent: ") for p in o.problems) for o in seen)


def test_a_survey_says_what_each_signal_was_found_under(prometheus_stand: Stand) -> None:
    stand, front, workers = prometheus_stand, prometheus_stand.group(), prometheus_stand.group()
    text = Recorded("dynamo-frontend.txt")
    text.drop("dynamo_frontend_cached_tokens")
    front.targets[0].show(text.text())
    workers.targets[0].show(Recorded("dynamo-worker.txt").text())
    stand.settle(front.targets[0], workers.targets[0])
    server = Server(Access(stand.url, timeout_s=20))
    found = {(f.place, f.signal): f for f in survey(server, dynamo(front, workers), time.time())}
    ttft, cached, steps = (
        found["front door", "ttft"],
        found["front door", "cached_tokens"],
        found["aggregated", "steps"],
    )

    assert (ttft.found, ttft.metric, ttft.labels["model"], ttft.problem) == (True, TTFT, ("tiny",), "")
    assert ttft.age_s is not None
    assert 0 <= ttft.age_s < 3
    assert (ttft.nearest(0.5), ttft.nearest(0.47), ttft.nearest(1000.0)) == ((0.47, 1.0), (0.47, 0.47), (480.0, None))
    assert (cached.found, cached.needed) == (False, False)
    assert cached.problem.startswith("absent: ")
    assert (steps.found, steps.metric, steps.nearest(0.015)) == (
        True,
        "vllm:inter_token_latency_seconds",
        (0.01, 0.025),
    )
    assert found["aggregated", "running"].needed


def test_a_survey_names_wrong_labels_and_what_no_half_of_a_split_fleet_knows(prometheus_stand: Stand) -> None:
    stand, prefill, decode = prometheus_stand, prometheus_stand.group(), prometheus_stand.group()
    prefill.targets[0].show(Recorded("vllm.txt").text())
    stand.settle(prefill.targets[0])
    pools = {"prefill": (Role.PREFILL, {"job": prefill.job}), "decode": (Role.DECODE, {"job": decode.job})}
    server = Server(Access(stand.url, timeout_s=20))
    found: list[Finding] = []

    def told() -> bool:
        found[:] = survey(server, subject("vllm", pools, scrape_s=SCRAPE_S), time.time())
        return any(f.problem.startswith(Condition.WRONG_LABELS) and f.place == "decode" for f in found)

    wait_for(told)

    assert any(f.signal == "ttft" and "split" in f.problem for f in found)
    assert any(f.place == "prefill" and f.signal == "input_tokens" and f.found for f in found)
