"""Moments of a log as people write them: ISO dates, seconds since the epoch, offsets from its start."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from planner.units import duration_s

_OFFSET = re.compile(r"\s*\+?((?:\d+(?:\.\d+)?|\.\d+)\s*(?:us|ms|s|min|m|h|d)\s*)+")
_PART = re.compile(r"(?:\d+(?:\.\d+)?|\.\d+)\s*(?:us|ms|s|min|m|h|d)")
RECENT = 1e9
"""Clocks below this (September 2001) are a simulation's: a date would say nothing."""
LATEST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


def moment(text: str, start: float | None = None) -> float:
    """Seconds since the epoch of ``2026-11-24T17:05:00Z`` (UTC unless it says otherwise), ``1795539900`` or
    ``1h30m`` after ``start``.

    Raises:
        ValueError: it is none of these, or no date can be written of it.
    """
    found = _read(text, start)
    if found is None or not abs(found) <= LATEST:  # NaN too
        also = "" if start is None else ", or an offset from the start like 1h30m"
        raise ValueError(
            f"{text!r} is no moment: write a date like 2026-11-24T17:05:00Z, seconds since the epoch{also}"
        )
    return found


def _read(text: str, start: float | None) -> float | None:
    """The number, the offset or the date in ``text``; ``None`` when it is none of them."""
    try:
        return float(text)
    except ValueError:
        pass
    if start is not None and _OFFSET.fullmatch(text):
        return start + sum(duration_s(part) for part in _PART.findall(text))
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def offset(seconds: float) -> str:
    """``4625`` → ``1h17m05s``: how far into a log."""
    whole = round(seconds)
    hours, rest = divmod(abs(whole), 3600)
    minutes, left = divmod(rest, 60)
    sign = "-" if whole < 0 else ""
    if hours:
        return f"{sign}{hours}h{minutes:02d}m{left:02d}s"
    return f"{sign}{minutes}m{left:02d}s" if minutes else f"{sign}{left}s"


def shown(at: float) -> str:
    """A moment for people; a simulation's clock counts from nowhere, and is shown in seconds."""
    if at < RECENT:
        return f"{at:,.0f} s on the log's clock"
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def iso(at: float) -> str | None:
    """The moment as a date for programs; ``None`` on a simulation's clock."""
    return None if at < RECENT else datetime.fromtimestamp(at, UTC).isoformat()
