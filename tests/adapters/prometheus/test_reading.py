"""Quirks that a dialect may declare, each on its own."""

from __future__ import annotations

import math

import pytest

from planner.adapters.prometheus import Condition
from planner.adapters.prometheus.dialect import Dialect, Form, Metric, Origin
from planner.adapters.prometheus.reading import Instance, SignalError, instances
from planner.adapters.prometheus.server import Sample
from planner.core.observe import Cumulative

INF = math.inf


def instance(*series: tuple[str, float, dict[str, str]], **quirks: tuple[str, ...]) -> Instance:
    dialect = Dialect("mine", "Mine", Origin("me", "m.py", "1", "2026-11-24"), **quirks)  # type: ignore[arg-type]
    (one,) = instances(
        [Sample(name, {"instance": "i", **labels}, 100.0, value) for name, value, labels in series], dialect
    )
    return one


def test_milliseconds_are_seconds_inside() -> None:
    one = instance(("t_bucket", 3, {"le": "500"}), ("t_bucket", 4, {"le": "+Inf"}), ("t_sum", 2000, {}))

    assert one.spread((Metric(Form.HISTOGRAM, ("t",), 1e-3),)) == Cumulative((0.5, INF), (3, 4), 2.0)


def test_percent_is_a_share_inside() -> None:
    assert instance(("kv", 80, {})).gauges((Metric(Form.GAUGE, ("kv",), 1e-2),)) == [pytest.approx(0.8)]


def test_the_newest_name_that_is_exposed_counts_and_only_that() -> None:
    one = instance(("new_total", 5, {}), ("old_total", 7, {}))
    ways = tuple(Metric(Form.COUNTER, (name,)) for name in ("newest_total", "new_total", "old_total"))

    assert one.count(ways) == 5


def test_a_sum_needs_all_its_parts_but_those_that_are_exposed_late() -> None:
    one = instance(("done_total", 5, {}), ("running", 2, {}))

    assert one.count((Metric(Form.SUM, ("done_total", "running", "failed_total")),)) is None
    assert one.count((Metric(Form.SUM, ("done_total", "running", "failed_total"), lazy=("failed_total",)),)) == 7


def test_a_range_that_nobody_declared_is_no_bucket() -> None:
    one = instance(("t", 5, {"bucket": "0-3ms"}))
    with pytest.raises(SignalError) as caught:
        one.spread((Metric(Form.BUCKETS, ("t",), 1e-3, label="bucket", edges=(0.001, 0.002)),))

    assert caught.value.condition is Condition.NOT_A_HISTOGRAM
    assert "'0-3ms'" in str(caught.value)


def test_a_native_histogram_is_no_histogram_that_can_be_read_and_is_called_so() -> None:
    """Beside its classic twin it does no harm."""
    native, way = ("t", math.nan, {}), (Metric(Form.HISTOGRAM, ("t",)),)
    classic = (("t_bucket", 3, {"le": "0.5"}), ("t_bucket", 4, {"le": "+Inf"}), ("t_sum", 2, {}))
    with pytest.raises(SignalError, match="neither a summary nor a native one") as caught:
        instance(native).spread(way)

    assert caught.value.condition is Condition.NOT_A_HISTOGRAM
    assert instance(native, *classic).spread(way) == Cumulative((0.5, INF), (3, 4), 2.0)


def test_ranges_without_a_sum_are_estimated_from_their_middles() -> None:
    """Off by no more than the square root of a range's width, here 2.5."""
    one = instance(("t", 10, {"bucket": "200-500ms"}))
    spread = one.spread((Metric(Form.BUCKETS, ("t",), 1e-3, label="bucket", edges=(0.2, 0.5)),))

    assert spread == Cumulative((0.2, 0.5, INF), (0, 10, 10), pytest.approx(10 * math.sqrt(0.2 * 0.5)))


def test_a_sum_and_a_number_are_one_bucket() -> None:
    one = instance(
        ("tokens_total", 4000, {"kind": "input"}), ("tokens_total", 99, {"kind": "output"}), ("n_total", 8, {})
    )
    metric = Metric(Form.MEAN, ("tokens_total",), where={"kind": "input"}, count="n_total")

    assert one.spread((metric,)) == Cumulative((INF,), (8,), 4000)


def test_a_bound_that_is_no_number_is_told() -> None:
    one = instance(("t_bucket", 3, {"le": "many"}), ("t_sum", 1, {}))
    with pytest.raises(SignalError, match="le='many', which is no number"):
        one.spread((Metric(Form.HISTOGRAM, ("t",)),))


def test_a_histogram_without_its_last_bucket_is_told() -> None:
    one = instance(("t_bucket", 3, {"le": "1"}), ("t_sum", 1, {}))
    with pytest.raises(SignalError, match="lacks buckets"):
        one.spread((Metric(Form.HISTOGRAM, ("t",)),))


def test_what_an_older_scrape_showed_is_gone() -> None:
    """A gauge that is cleared between scrapes is absent now, whatever it was."""
    dialect = Dialect("mine", "Mine", Origin("me", "m.py", "1", "2026-11-24"))
    old, new = Sample("gone", {"instance": "i"}, 95.0, 7.0), Sample("there", {"instance": "i"}, 100.0, 1.0)
    (one,) = instances([old, new], dialect)

    assert one.gauges((Metric(Form.GAUGE, ("gone",)),)) is None
    assert one.gauges((Metric(Form.GAUGE, ("there",)),)) == [1.0]


def test_ranks_that_tell_the_same_count_once_and_parts_add_up() -> None:
    one = instance(
        ("running", 5, {"tp_rank": "0", "dp_rank": "0"}), ("running", 5, {"tp_rank": "1", "dp_rank": "0"}),
        ("running", 2, {"tp_rank": "0", "dp_rank": "1"}), copies=("tp_rank",), sum_over=("dp_rank",),
    )  # fmt: skip

    assert one.gauges((Metric(Form.GAUGE, ("running",)),)) == [5, 2]
