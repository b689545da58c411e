"""The past in bins: what was not measured is a gap, never a zero."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from planner.core.histogram import Histogram
from planner.core.policy import Sla
from planner.core.types import Observation, PoolReading, Window
from planner.replay.backtest import gap_notes, read_past, recorded_of
from planner.replay.past import Past, past_of

MINUTE, HOUR = 60.0, 3600.0
INF = float("inf")
LENGTHS = Histogram((100.0, INF), (6.0, 4.0), 2000.0)


def look(at: float, started: float | None = 600.0, seconds: float = MINUTE, ready: int = 3) -> Observation:
    """One minute; ``started`` None: it could not be read."""
    window = None if started is None else Window(seconds, started, input_tokens=LENGTHS, output_tokens=LENGTHS,
                                                 ttft=Histogram((0.5, 1.0, INF), (90.0, 8.0, 2.0), 40.0))  # fmt: skip
    return Observation(at, {"decode": PoolReading(ready, ready)}, window, () if window else ("stale: away",))


def hours(count: float, blind: Sequence[int] = ()) -> list[Observation]:
    """Looks of that many hours, a minute apart; the first one has nothing before it."""
    looks = [look(i * MINUTE, None if i in blind else 600.0) for i in range(1, int(count * 60) + 1)]
    return [look(0.0, None), *looks]


def of(looks: Sequence[Observation]) -> Past:
    return past_of(looks, 0.0, looks[-1].at, MINUTE)


def test_what_was_measured_is_one_stretch() -> None:
    past = of(hours(2))

    assert (past.known_s, past.gaps(), len(past.stretches)) == (2 * HOUR, [], 1)
    assert len(past.bins) == 120


def test_a_gap_is_left_out_and_told() -> None:
    past = of(hours(2, blind=range(61, 71)))

    assert past.gaps() == [(HOUR, HOUR + 600.0)]
    assert past.known_s == 2 * HOUR - 600.0
    assert [s.start for s in past.stretches] == [0.0, HOUR + 600.0]
    assert sum(one.requests for one in past.bins) == 600.0 * 110
    assert past.problems == ("stale: away",)
    assert "8.3% of the period was not measured and is left out (10 min at 1h00m00s)" in gap_notes(past)[0]


def test_silence_that_was_measured_is_no_gap() -> None:
    """A quiet night is traffic of zero: a planner may have scaled down in it."""
    looks = [look(0.0, None), *(look(i * MINUTE, 0.0) for i in range(1, 61))]

    assert of(looks).gaps() == []


def test_a_window_over_a_missed_scrape_covers_both_bins() -> None:
    """The counters went on: 1,200 requests in two minutes are ten a second in each."""
    looks = [*hours(1)[:30], look(31 * MINUTE, 1200.0, 2 * MINUTE), *(look(i * MINUTE) for i in range(32, 61))]
    past = of(looks)

    assert past.gaps() == []
    assert past.bins[29].end - past.bins[29].start == 2 * MINUTE


def test_a_window_over_half_an_hour_says_how_many_but_not_when() -> None:
    looks = [*hours(1)[:20], look(50 * MINUTE, 18000.0, 31 * MINUTE), *(look(i * MINUTE) for i in range(51, 121))]

    assert of(looks).gaps() == [(19 * MINUTE, 50 * MINUTE)]


def test_a_short_stretch_between_gaps_is_left_out() -> None:
    past = of(hours(2, blind=[30, 35]))

    assert past.gaps() == [(29 * MINUTE, 35 * MINUTE)]


@pytest.mark.parametrize(("blind", "most", "refused"), [(30, 0.2, True), (30, 0.3, False), (10, 0.2, False)])
def test_too_many_gaps_are_refused(blind: int, most: float, refused: bool) -> None:
    looks = hours(2, blind=range(61, 61 + blind))

    def again(start: float, end: float, step_s: float) -> list[Observation]:
        return [one for one in looks if start - 1e-9 <= one.at <= end + 1e-9]

    if refused:
        said = r"25\.0% of the period was not measured, more than --gaps 20%: the longest gap is 30 min from 3,600 s"
        with pytest.raises(ValueError, match=said + ".*; most often: stale: away"):
            read_past(again, 0.0, 2 * HOUR, MINUTE, MINUTE, most)
    else:
        assert read_past(again, 0.0, 2 * HOUR, MINUTE, MINUTE, most).past.known_s == 2 * HOUR - blind * MINUTE


def test_nothing_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match=r"100\.0% of the period was not measured"):
        read_past(lambda *_: hours(1, blind=range(61)), 0.0, HOUR, MINUTE, MINUTE, 0.9)


def test_silence_all_along_leaves_nothing_to_try() -> None:
    with pytest.raises(ValueError, match="no request arrived in this period"):
        read_past(lambda *_: [look(0.0, None), *(look(i * MINUTE, 0.0) for i in range(1, 61))], 0.0, HOUR, MINUTE,
                  MINUTE, 0.2)  # fmt: skip


def test_what_really_ran_is_counted_where_it_was_seen() -> None:
    """Three replicas of two GPUs for two hours less ten minutes; nine in ten kept 500 ms."""
    recorded = recorded_of(of(hours(2, blind=range(61, 71))), {"decode": 2}, Sla(0.5, 0.025))

    assert recorded.gpu_hours == pytest.approx(3 * 2 * (2 - 1 / 6))
    assert recorded.mean_replicas == {"decode": 3.0}
    assert recorded.ttft_kept == (0.9, 0.9)
    assert recorded.ttft_s == pytest.approx(0.4)
    assert (recorded.itl_s, recorded.itl_kept) == (None, None)


def test_a_pool_that_was_never_seen_leaves_gpu_hours_unknown() -> None:
    recorded = recorded_of(of(hours(1)), {"decode": 1, "prefill": 1}, Sla(0.5, 0.025))

    assert recorded.gpu_hours is None
    assert recorded.mean_replicas == {"decode": 3.0}
