"""Whatever is unreadable in between: windows together hold what was counted, no more and no less."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from planner.adapters.prometheus.looks import Door, Look, Target
from planner.adapters.prometheus.windows import Windows
from planner.core.observe import FrontDoor

LATE_S = 10.0
Step = tuple[int, bool, bool]  # requests since the last look, scraped since, target up


@given(st.lists(st.tuples(*[st.tuples(st.integers(0, 50), st.booleans(), st.booleans())] * 2), min_size=2, max_size=25))
def test_no_request_is_lost_or_invented_while_doors_come_and_go_from_sight(steps: list[tuple[Step, Step]]) -> None:
    windows = Windows(LATE_S)
    counted, scraped_at = [0, 0], [0.0, 0.0]
    exposed = [0, 0]
    told_requests, told_at_last, told_first = 0.0, 0, None
    for number, doors in enumerate(steps):
        at = 1000.0 + number
        looked: dict[str, Door] = {}
        targets: dict[str, Target] = {}
        for i, (requests, scraped, up) in enumerate(doors):
            counted[i] += requests
            if scraped or number == 0:
                exposed[i], scraped_at[i] = counted[i], at - 0.25
            looked[f"door-{i}"] = Door(scraped_at[i], FrontDoor(started=float(exposed[i])))
            targets[f"door-{i}"] = Target(up or number == 0, at - 0.25)
        seen = windows.observe(Look(at, looked, {}, {}, targets))
        if told_first is None:
            told_first = told_at_last = sum(exposed)
        if seen.window is not None:
            assert seen.window.started is not None
            told_requests += seen.window.started
            told_at_last = sum(exposed)
        else:
            assert number == 0 or seen.problems

    assert told_first is not None
    assert told_requests == told_at_last - told_first
