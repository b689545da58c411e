"""Rate tables: what the names of the columns mean, and what is refused rather than guessed."""

from __future__ import annotations

import numpy as np
import pytest

from planner.simulation.traffic.errors import TrafficError
from planner.simulation.traffic.rates import read_rates


def minutes(value: str, *rows: float) -> str:
    return f"minute,{value}\n" + "".join(f"{i},{row}\n" for i, row in enumerate(rows))


@pytest.mark.parametrize(
    ("column", "per_second"),
    [
        ("requests", 600 / 60),  # per bin, which is a minute
        ("value", 600 / 60),
        ("count_per_bin", 600 / 60),
        ("req_per_min", 600 / 60),
        ("req_per_hour", 600 / 3600),
        ("rate_rps", 600),
        ("rps", 600),
        ("requests_per_s", 600),
        ("requests_per_sec", 600),
    ],
)
def test_the_column_name_says_what_its_numbers_mean(write, column: str, per_second: float) -> None:
    table = read_rates(write("r.csv", minutes(column, 600, 600)))

    assert table.curve.rates.tolist() == pytest.approx([per_second] * 2)
    assert table.curve.edges_s.tolist() == [0, 60, 120]
    assert not table.in_tokens


@pytest.mark.parametrize(
    ("header", "times", "bin_s"),
    [
        ("seconds", "0 30 60", 30),
        ("t_sec", "0 0.5 1", 0.5),
        ("minute", "0 1 2", 60),
        ("hour", "7 8 9", 3600),
        ("timestamp", "2015-02-26 21:42:53/2015-02-26 21:47:53/2015-02-26 21:52:53", 300),
    ],
)
def test_the_time_column_name_is_its_unit(write, header: str, times: str, bin_s: float) -> None:
    rows = "".join(f"{time},12\n" for time in (times.split("/") if "/" in times else times.split()))
    table = read_rates(write("r.csv", f"{header},requests\n{rows}"))

    assert table.curve.end_s == pytest.approx(3 * bin_s)
    assert table.curve.rates.tolist() == pytest.approx([12 / bin_s] * 3)


def test_the_time_of_day_of_the_first_row_is_kept(write) -> None:
    by_hour = read_rates(write("h.csv", "hour,requests\n7,1\n8,1\n"))
    by_date = read_rates(write("d.csv", "timestamp,requests\n2015-02-26 21:42:53,1\n2015-02-26 21:47:53,1\n"))

    assert by_hour.epoch_s == 7 * 3600
    assert by_date.epoch_s % 86400 == pytest.approx(21 * 3600 + 42 * 60 + 53)


def test_tokens_are_divided_by_the_tokens_of_a_request(write) -> None:
    table = read_rates(write("t.csv", minutes("tokens_per_s", 2000, 4000)))

    assert table.in_tokens
    assert table.of_requests(mean_tokens=1000.0).rates.tolist() == [2, 4]


def test_missing_rows_are_silence_and_a_note(write) -> None:
    """The bin is the median step; what lies beyond it was not measured and cannot be replayed."""
    table = read_rates(write("r.csv", "seconds,requests\n0,60\n60,60\n120,60\n300,60\n360,60\n"))

    assert table.curve.expected(np.array([0, 180, 300, 420.0])).tolist() == pytest.approx([180, 0, 120])
    assert "rows are missing for 120 s" in table.notes[-1]


def test_a_row_cut_short_by_the_next_keeps_its_requests(write) -> None:
    table = read_rates(write("r.csv", "seconds,requests\n0,60\n60,60\n100,60\n160,60\n220,60\n"))

    assert table.curve.expected(np.array([60, 100, 280.0])).tolist() == pytest.approx([60, 180])
    assert len(table.notes) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ms,requests\n0,1\n1,1\n", r"one time column named seconds, t_sec, minute, hour, timestamp; the header is ms"),
        ("requests\n1\n2\n", r"one time column"),
        ("minute,hour\n1,2\n2,3\n", r"one time column"),
        ("minute,requests,tokens\n0,1,1\n", r"two columns, time and requests per bin"),
        ("minute,req_per_day\n0,1\n1,1\n", r"the unit of column req_per_day is not known"),
        ("minute,per_5min\n0,1\n1,1\n", r"the unit of column per_5min is not known"),
        ("minute,requests\n0,1\n", r"fewer than two rows"),
        ("minute,requests\n", r"fewer than two rows"),
        ("minute,requests\n0,0\n1,0\n", r"holds no requests: every requests is 0"),
        ("minute,requests\n1,5\n0,5\n", r"r\.csv:3: minute is earlier than on line 2"),
        ("minute,requests\n0,5\n1,5\n1,5\n", r"r\.csv:4: minute is the same as on the line before"),
        ("minute,requests\n0,5\n1,-5\n", r"r\.csv:3: requests is '-5'"),
        ("minute,requests\n0,5\n1,\n", r"r\.csv:3: requests is missing"),
        ("minute,requests\n0,5\n1,nan\n", r"r\.csv:3: requests is 'nan'"),
        ("minute,requests\n0,5\n1,5,5\n", r"r\.csv:3: 3 fields"),
        ("timestamp,requests\n0,5\n60,5\n", r"r\.csv:2: timestamp is '0'; it must be a date and time"),
    ],
)
def test_what_is_no_rate_table_is_refused_with_what_would_be(write, text: str, said: str) -> None:
    with pytest.raises(TrafficError, match=said):
        read_rates(write("r.csv", text))
