"""The page's figures: the planner's own meaning, bounded memory, deltas that add up to the whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.adapters import profile_files
from planner.adapters.decision_log import About
from planner.core.attainment import late_share
from planner.core.histogram import Histogram
from planner.core.load import lengths_of, load_of
from planner.core.policy import Policy, Pool
from planner.core.sizing import slo
from planner.core.types import PoolReading, Reason
from planner.dashboard.measured import p95
from planner.dashboard.series import MOST_BINS, Series
from planner.ports import Step

from .steps import ABOUT, EDGES, step, steps, window


def series_of(of: Iterable[Step], about: About | None = ABOUT) -> Series:
    series = Series(about)
    for one in of:
        series.take(one)
    return series


def figures_of(of: Iterable[Step], about: About | None = ABOUT) -> dict[str, Any]:
    figures: dict[str, Any] = series_of(of, about).since(0)["figures"]
    return figures


# ------------------------------------------------------------------ promises


def test_shares_and_their_brackets_are_those_of_the_planner() -> None:
    # 0.4 s is an edge: 2 of 10 are later, exactly. 100 of 1000 token gaps come from a worker above 25 ms.
    seen = window(ttft=(5.0, 2.0, 1.0, 2.0, 0.0))
    figures = figures_of([step(0.0), step(5.0, seen)])

    assert figures["kept_ttft"] == pytest.approx([0.8, 0.8, 0.8])
    assert figures["kept_itl"] == pytest.approx(0.9)
    assert figures["kept"] == pytest.approx([0.7, 0.7, 0.8])  # at best the slow ones are among the late ones
    assert figures["missed"] == pytest.approx([2.0, 3.0, 3.0])


def test_a_target_between_two_edges_is_shown_as_a_bracket_with_the_planners_estimate_inside() -> None:
    about = replace(ABOUT, sla=replace(ABOUT.sla, ttft_s=0.5))
    seen = window(ttft=(90.0, 0.0, 0.0, 8.0, 2.0))
    figures = figures_of([step(0.0), step(5.0, seen, workers=((0.01, 1.0),))], about)
    assert seen.ttft is not None
    late = late_share(seen.ttft, 0.5)
    assert late is not None

    assert figures["kept"] == pytest.approx([0.90, 1.0 - late, 0.98])
    assert figures["missed"] == pytest.approx([2.0, 100.0 * late, 10.0])


def test_requests_that_tell_their_own_itl_are_a_bracket_too() -> None:
    """Of 100 answers 10 were slower than 20 ms and 2 than 50 ms; the target lies between, at 25 ms."""
    first, later = step(0.0), step(5.0, window(ttft=(100.0, 0.0, 0.0, 0.0, 0.0)))
    own = Histogram((0.02, 0.05, float("inf")), (90.0, 8.0, 2.0), 1.7)
    told = {**later.seen.pools, "decode": replace(later.seen.pools["decode"], request_itl=own)}
    figures = figures_of([first, replace(later, seen=replace(later.seen, pools=told))])
    slow = late_share(own, 0.025)
    assert slow is not None

    assert figures["kept_itl"] == pytest.approx(1.0 - slow)
    assert figures["kept"] == pytest.approx([0.90, 1.0 - slow, 0.98])


def test_unknown_itl_is_told_and_not_taken_for_a_measurement() -> None:
    figures = figures_of([step(0.0), step(5.0, window(), workers=())])

    assert figures["itl_unknown"] == 1.0
    assert figures["now"]["itl_p95"] is None


def test_without_requests_nothing_is_said_of_promises() -> None:
    figures = figures_of([step(0.0), step(5.0, window(started=0.0, ttft=(0.0,) * 5), workers=())])

    assert figures["kept"] == [None, None, None]
    assert figures["now"]["ttft_p95"] is None
    assert figures["now"]["rate"] == 0.0


def test_a_log_that_does_not_say_what_it_is_of_has_load_and_replicas_and_no_verdict() -> None:
    answer = series_of(steps(30), about=None).since(0)

    assert answer["about"] is None
    assert answer["figures"]["gpu_hours"] is None
    assert answer["figures"]["kept"] == [None, None, None]
    assert answer["figures"]["now"]["rate"] == pytest.approx(2.0)
    assert answer["fleet"]["decode"] == {"allowed": 3, "requested": 3, "ready": 3}


def test_requests_without_a_first_token_are_told() -> None:
    """They are in no latency bucket: a page that hid them would praise a fleet that loses requests."""
    figures = figures_of([step(0.0), step(5.0, window(started=15.0)), step(10.0, window(started=12.0))])

    assert figures["unanswered"] == pytest.approx(7.0)


def test_the_worst_stretch_is_counted_from_the_start_of_the_log_and_only_once_it_is_over() -> None:
    bad, good = window(ttft=(2.0, 0.0, 0.0, 8.0, 0.0)), window()
    calm = ((0.01, 1.0),)
    log = [step(1000.0 + 5 * k, bad if 300 < 5 * k <= 600 else good, workers=calm) for k in range(721)]

    assert figures_of(log[:121])["worst_5min"] == [pytest.approx(0.2), 300.0]
    assert figures_of(log[:120])["worst_5min"] == [pytest.approx(1.0), 0.0]
    assert figures_of(log[:720])["worst_hour"] == [None, None]
    assert figures_of(log)["worst_hour"] == [pytest.approx(1 - 0.8 / 12, abs=2e-3), 0.0]  # one twelfth of an hour


counts = st.lists(st.integers(0, 400), min_size=5, max_size=5).filter(lambda c: sum(c[:-1]) > 0)


@given(counts)
def test_the_p95_lies_in_its_bucket_and_agrees_with_the_late_share(found: list[int]) -> None:
    """One reading of buckets: were the target at the estimated p95, the planner would count 5 % late."""
    histogram = Histogram(EDGES, tuple(map(float, found)), 1.0)
    estimate = p95(histogram)
    assert estimate is not None
    if estimate.value is None:
        assert sum(found[:-1]) < 0.95 * sum(found) + 1e-9
        return
    late = late_share(histogram, estimate.value)

    assert estimate.low <= estimate.value <= (estimate.high or 0.0)
    if estimate.low < estimate.value < (estimate.high or 0.0):
        assert late == pytest.approx(0.05, rel=1e-6)


# ------------------------------------------------------------------ GPU-hours


def test_gpu_hours_count_what_is_asked_for_and_leave_out_what_nobody_watched() -> None:
    # 720 steps of 5 s = 1 h; prefill 2 × 1 GPU + decode 3 × 2 GPUs = 8 GPUs. Then a day without the planner.
    log = [*steps(720), *steps(720, start=90_000.0)]
    figures = figures_of(log)

    assert figures["gpu_hours"] == pytest.approx(16.0)
    assert figures["watched_s"] == pytest.approx(7200.0)


def test_static_peak_is_what_size_asks_for_at_the_busiest_minute() -> None:
    busy, calm = window(started=600.0, ttft=(600.0, 0.0, 0.0, 0.0, 0.0)), window()
    log = [step(5.0 * k, busy if 120 < 5 * k <= 180 else calm) for k in range(1, 100)]
    profile = profile_files.load(ABOUT.profile)
    pools = tuple(Pool(n, p.role, profile, p.gpus, p.min, p.max, p.startup_s) for n, p in ABOUT.pools.items())
    assert busy.input_tokens is not None
    assert busy.output_tokens is not None
    load = load_of((120.0,), lengths_of(busy.input_tokens), 1.0, lengths_of(busy.output_tokens))
    parts = slo.models(pools, ABOUT.sla, load, {})
    expected = slo.within_share(pools, parts, 1.0 - ABOUT.sla.goal)
    figures = figures_of(log)

    assert figures["static"]["rate"] == pytest.approx(120.0)
    assert figures["static"]["replicas"] == expected
    gpus = expected["prefill"] + 2 * expected["decode"]
    assert figures["static"]["saved"] == pytest.approx((gpus - 8) * figures["watched_s"] / 3600.0)
    assert Policy("slo", ABOUT.sla, pools).pool("decode").gpus == 2


def test_a_profile_that_is_not_here_is_told_and_the_rest_is_shown() -> None:
    answer = series_of(steps(60), replace(ABOUT, profile="gone.json")).since(0)

    assert answer["figures"]["static"] is None
    assert "gone.json" in answer["static_problem"]
    assert answer["figures"]["gpu_hours"] == pytest.approx(8 * 300 / 3600.0)


# ------------------------------------------------------------------ bounded and incremental


def test_a_log_of_days_stays_small_and_loses_no_request() -> None:
    series = series_of(steps(20_000))
    answer = series.since(0)

    assert len(answer["measured"]["i"]) <= MOST_BINS
    assert max(len(pool["i"]) for pool in answer["pools"].values()) <= MOST_BINS + 1
    assert sum(answer["measured"]["requests"]) == pytest.approx(200_000)
    assert answer["figures"]["requests"] == pytest.approx(200_000)
    assert answer["bin_s"] == 5.0 * 2**6  # 20 000 looks, halved six times: 313 bins


@given(st.lists(st.integers(1, 400), min_size=1, max_size=8))
def test_what_a_page_gathers_bit_by_bit_is_what_a_new_page_is_sent(portions: list[int]) -> None:
    series, log = Series(ABOUT), steps(sum(portions))
    page: dict[str, dict[int, tuple[Any, ...]]] = {}
    version = 0
    for portion in portions:
        for _ in range(portion):
            series.take(next(log))
        answer = series.since(version)
        if answer["whole"]:
            page = {}
        _gather(page, answer)
        version = answer["version"]
    fresh: dict[str, dict[int, tuple[Any, ...]]] = {}
    _gather(fresh, series.since(0))

    assert page == fresh


def _gather(page: dict[str, dict[int, tuple[Any, ...]]], answer: dict[str, Any]) -> None:
    groups = {"measured": answer["measured"], "forecast": answer["forecast"], **answer["pools"]}
    for name, columns in groups.items():
        rows = zip(*columns.values(), strict=True)
        page.setdefault(name, {}).update({row[0]: row for row in rows})


def test_nothing_new_costs_nothing() -> None:
    series = series_of(steps(100))
    answer = series.since(series.version)

    assert answer["measured"]["i"] == []
    assert not answer["whole"]


def test_a_bin_keeps_the_highest_wish_and_the_last_fleet() -> None:
    """A wish of five seconds is what made the fleet grow: merging bins must not wash it out."""
    log = [
        step(1.0, window()),
        step(2.0, window(), replicas={"decode": 9}),
        step(3.0, window(), replicas={"decode": 4}),
    ]
    decode = series_of(log).since(0)["pools"]["decode"]

    assert (decode["wanted"], decode["allowed"], decode["ready"]) == ([9], [4], [4])


def test_a_forecast_is_drawn_at_the_time_it_speaks_of() -> None:
    forecast = series_of([step(600.0, window())]).since(0)["forecast"]

    assert forecast == {"i": [(600 + 180) // 5], "rate": [2.0], "low": [1.5], "high": [2.6]}


# ------------------------------------------------------------------ faults and words


def kinds(of: Iterable[Step]) -> list[tuple[str, str, float, float]]:
    return [(f["kind"], f["text"], f["begin"], f["end"]) for f in series_of(of).since(0)["faults"]]


def test_a_first_look_has_nothing_to_compare_with_and_is_no_fault() -> None:
    assert kinds(steps(5)) == []


def test_blind_steps_are_one_spell_from_the_last_sight_to_the_next() -> None:
    blind = {"problems": ("connection refused",), "error": "connection refused", "reason": Reason.HELD_BLIND}
    log = [step(0.0), step(5.0, window()), *(step(t, None, **blind) for t in (10.0, 15.0, 20.0)), step(25.0, window())]

    assert kinds(log) == [("blind", "connection refused", 5.0, 20.0)]
    assert series_of(log).since(0)["wrong"] == []
    assert series_of(log[:-1]).since(0)["wrong"][0]["kind"] == "blind"


def test_problems_and_errors_of_seeing_steps_are_named_apart() -> None:
    log = [step(0.0), step(5.0, window(), problems=("prefill: no such series",), error="403 Forbidden")]

    assert kinds(log) == [
        ("problem", "prefill: no such series", 0.0, 5.0),
        ("error", "403 Forbidden", 0.0, 5.0),
    ]


def reading(at: float, requested: int, ready: int, *ages: float, asked: int | None = None) -> Step:
    made = step(at, window(), replicas={"decode": requested if asked is None else asked})
    return replace(made, seen=replace(made.seen, pools={"decode": PoolReading(requested, ready, starting_s=ages)}))


def test_a_worker_that_is_gone_is_a_fault_and_one_that_was_sent_away_is_not() -> None:
    killed = [reading(0.0, 3, 3), reading(5.0, 3, 2)]
    counted_out = [reading(0.0, 3, 3), reading(5.0, 2, 2, asked=3)]  # a platform that only counts what lives
    sent_away = [reading(0.0, 3, 3, asked=2), reading(5.0, 2, 3, asked=2), reading(10.0, 2, 2)]

    assert kinds(killed) == [("lost", "decode: a ready worker is gone, 2 left of 3 asked for", 0.0, 5.0)]
    assert kinds(counted_out) == kinds(killed)
    assert kinds(sent_away) == []


def test_a_worker_that_never_becomes_ready_is_told() -> None:
    log = [reading(0.0, 3, 2, 100.0), reading(5.0, 3, 2, 359.0), reading(10.0, 3, 2, 364.0), reading(15.0, 3, 2, 369.0)]

    assert [(kind, begin, end) for kind, _, begin, end in kinds(log)] == [("starting", 5.0, 15.0)]


def test_the_last_decision_is_told_as_a_change_and_held_steps_do_not_hide_it() -> None:
    log = [
        step(0.0, window()),
        step(5.0, window(), replicas={"prefill": 2, "decode": 5}),
        step(10.0, window(), replicas={"prefill": 2, "decode": 5}, reason=Reason.HELD_BETWEEN),
    ]
    answer = series_of(log).since(0)

    assert answer["decision"]["headline"] == "prefill 2, decode 3 → 5"
    assert answer["decision"]["at"] == 5.0
    assert any("2 requests/s (90 % of cases within 1.5 to 2.6)" in text for text in answer["decision"]["sentences"])
    assert answer["changes"] == [{"at": 5.0, "words": "decode 3 → 5", "reason": "sized"}]
