"""The story is short, in order and true; the summary's figures are those of the definitions."""

from __future__ import annotations

import numpy as np
import pytest

from planner.adapters.processes import Event, What
from planner.core.policy import Sla
from planner.core.types import Decision, DemandForecast, Observation, PoolReading, Reason
from planner.local.client import Reply, arrays
from planner.local.story import Story, sizes, summary

SLA = Sla(ttft_s=0.5, itl_s=0.03, goal=0.95)


def decided(at: float, **replicas: int) -> Decision:
    return Decision(at, replicas, replicas, Reason.SIZED, forecast=DemandForecast(19.0, 20.0, 15.0, 25.4, 300.0, 50.0))


def reply(number: int, ttft_s: float | None, itl_s: float | None, error: str = "") -> Reply:
    return Reply(number, 100.0 + number, 300, ttft_s, itl_s, 1.0, 50, 0.0, error)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def story(told: list[str]) -> Story:
    made = Story(told.append, SLA)
    made.begin({"decode": 2})
    return made


def test_a_change_is_told_once_with_its_reason(story: Story, told: list[str]) -> None:
    for decision in (decided(0.0, decode=2), decided(2.0, decode=3), decided(4.0, decode=3)):
        story.announce(decision)

    assert [line.split("  ", 1)[1] for line in told] == [
        "planner: decode 2 → 3 (sized; 20 requests/s, up to 25 within 19 s)"
    ]


def test_a_worker_is_followed_from_being_asked_for_to_its_end(story: Story, told: list[str]) -> None:
    for what, detail in ((What.ASKED, "starts in 8.0 s"), (What.STARTED, "process 7"), (What.READY, "after 8.4 s"),
                         (What.DRAINING, ""), (What.ENDED, "")):  # fmt: skip
        story.happened(Event(0.0, "decode", "decode-3", what, detail))

    assert [line.split("  ", 1)[1].strip() for line in told] == [
        "+ decode-3 asked for (starts in 8.0 s)",
        "✓ decode-3 serves (after 8.4 s)",
        "− decode-3 drains: it finishes what it has",
        "· decode-3 has ended",
    ]


def test_clearing_up_is_no_part_of_the_story(story: Story, told: list[str]) -> None:
    story.end()
    story.happened(Event(0.0, "decode", "decode-1", What.DRAINING))

    assert told == []
    assert story.events[What.DRAINING] == 0


def test_a_trouble_is_told_when_it_begins(story: Story, told: list[str]) -> None:
    seen = Observation(0.0, {"decode": PoolReading(2, 2)})
    for error in ("", "Prometheus is away", "Prometheus is away", "", "Prometheus is away"):
        story.record(seen, decided(0.0, decode=2), error)

    assert len([line for line in told if "Prometheus is away" in line]) == 2


def test_the_summary_counts_lost_requests_as_missed(story: Story) -> None:
    """Two of four kept: one too slow to begin, one lost. A single token has no ITL and keeps it."""
    replies = arrays([reply(0, 0.1, 0.02), reply(1, 0.1, None), reply(2, 0.6, 0.02), reply(3, None, None, "HTTP 503")])
    lines = "\n".join(summary(story, replies, 10.0))

    assert "4, lost 1" in lines
    assert "kept for 50.0%" in lines
    assert np.array_equal(replies.kept(0.5, 0.03), [True, True, False, False])


def test_a_run_without_requests_says_so(story: Story) -> None:
    assert summary(story, arrays([]), 10.0) == ["no request was sent"]


def test_sizes_are_means_over_time() -> None:
    """2 for 10 s, then 5 for 5 s: 45 replica-seconds in 15 s. Steps that knew nothing are left out."""
    mean, most = sizes([(-3.0, {}), (0.0, {"decode": 2}), (10.0, {"decode": 5})], until=15.0)

    assert mean == {"decode": pytest.approx(3.0)}
    assert most == {"decode": 5}
