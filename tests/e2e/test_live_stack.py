"""The planner steers NVIDIA's own frontend, router and workers under real HTTP load."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from planner.local.install import Tools
from tests.e2e.rig import INTERVAL_S, ITL_S, TTFT_S, measured, phases, rig, send, totals
from tests.stack import stack_tools

__all__ = ["stack_tools"]

CALM, UP, BURST, SETTLED, IDLE = (3.0, 25.0), (11.0, 55.0), (22.0, 20.0), (11.0, 20.0), (0.0, 40.0)


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("mode", "initial"),
    [("aggregated", {"aggregated": 2}), ("disaggregated", {"prefill": 1, "decode": 1})],
    ids=["aggregated", "disaggregated"],
)
def test_replicas_follow_and_the_promise_holds(
    mode: str, initial: dict[str, int], stack_tools: Tools, tmp_path: Path
) -> None:
    """A step up, a burst, an idle phase: nobody is lost, and the planner sees what the client measures."""
    with rig(mode, initial, stack_tools, tmp_path) as live:  # type: ignore[arg-type]
        send(live.stack, phases((2.0, 3.0))).wait()  # series are born before the planner counts
        live.plan()
        live.kept.wait(lambda step: step.seen.window is not None)
        began = time.time()
        load = send(live.stack, phases(CALM, UP, BURST, SETTLED, IDLE))
        replies = load.wait()
        live.kept.wait(lambda step: step.seen.at > began + 160.0, 170.0)
        live.running.stop()  # type: ignore[union-attr]

    steps = live.kept.since(began)
    fleet = [sum(step.decision.replicas.values()) for step in steps]
    sent_s = replies.sent_at - load.client.started_at  # type: ignore[operator]
    kept = replies.kept(TTFT_S, ITL_S)
    settled = kept[(sent_s > 55.0) & (sent_s < 80.0)]
    seen, true = totals(steps), measured(replies)
    print({name: (round(seen[name], 4), round(true[name], 4)) for name in seen})
    print("fleet", fleet, "kept", settled.mean(), kept.mean(), "lost", replies.lost)

    assert replies.lost == 0
    assert max(fleet) > fleet[0]
    assert fleet[-1] < max(fleet)
    assert settled.mean() >= 0.95
    burst_at = load.client.started_at + CALM[1] + UP[1]  # type: ignore[operator]
    found = [n for n, step in zip(fleet, steps, strict=True) if step.seen.at <= burst_at][-1]
    soon = [n for n, step in zip(fleet, steps, strict=True) if burst_at < step.seen.at <= burst_at + INTERVAL_S + 5.0]
    assert max(soon) > found, "a burst is answered within an interval, by the fast look or a full decision"
    for name in seen:
        assert seen[name] == pytest.approx(true[name], rel=0.05), name
