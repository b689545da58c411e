"""Moments as people write them."""

from __future__ import annotations

import pytest

from planner.replay.moments import iso, moment, offset, shown

NOON = 1_795_521_600.0  # 2026-11-24T12:00:00Z


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-24T12:00:00Z", NOON),
        ("2026-11-24T12:00", NOON),  # UTC unless it says otherwise
        ("2026-11-24 13:00:00+01:00", NOON),
        ("1795521600", NOON),
        ("1h30m", 100.0 + 5400.0),
        ("+90s", 190.0),
        ("1.5h", 5500.0),
        ("2m 500ms", 220.5),
    ],
)
def test_moments_are_read_as_dates_seconds_or_offsets(text: str, expected: float) -> None:
    assert moment(text, start=100.0) == expected


@pytest.mark.parametrize(
    "text", ["yesterday", "1h30", "", "h", "12:00", "inf", "nan", "1e308", "1e13", "9" * 400 + "h"]
)
def test_what_is_no_moment_is_told_with_what_would_be(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no moment: write a date like .*offset from the start like 1h30m"):
        moment(text, start=0.0)


def test_an_offset_needs_a_start() -> None:
    with pytest.raises(ValueError, match="'1h' is no moment"):
        moment("1h")


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (59.6, "1m00s"), (4625, "1h17m05s"), (-65, "-1m05s")])
def test_offsets_are_shown_as_they_are_written(seconds: float, text: str) -> None:
    assert offset(seconds) == text


def test_the_clock_of_a_simulation_is_no_date() -> None:
    """81,000 s since 1970 is no moment at which anything happened."""
    assert (shown(81_000.0), iso(81_000.0)) == ("81,000 s on the log's clock", None)
    assert (shown(NOON), iso(NOON)) == ("2026-11-24 12:00:00 UTC", "2026-11-24T12:00:00+00:00")
