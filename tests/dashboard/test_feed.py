"""A log is followed as it grows, whatever its writer is in the middle of."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from planner.adapters.decision_log import DecisionLog, DecisionLogError
from planner.dashboard.feed import LogFeed, RecentFeed

from .steps import ABOUT, steps, write


def read(feed: LogFeed) -> int:
    """Read on until there is no more; the number of steps so far."""
    while True:
        version, more = feed.look(lambda series: series.version)
        if not more:
            return version


def test_a_log_is_followed_while_it_grows(tmp_path: Path) -> None:
    log = list(steps(20))
    feed = LogFeed(write(tmp_path / "log.jsonl", log[:5]))
    before = read(feed)
    with DecisionLog(tmp_path / "log.jsonl", append=True) as file:
        for one in log[5:]:
            file.record(one.seen, one.decision, one.error)

    assert (before, read(feed)) == (5, 21)
    assert feed.look(lambda series: series.about)[0] == ABOUT
    feed.close()


def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    text = write(tmp_path / "whole.jsonl", steps(3)).read_bytes()
    path = tmp_path / "log.jsonl"
    path.write_bytes(text[:-100])
    feed = LogFeed(path)
    before = read(feed)
    with path.open("ab") as file:
        file.write(text[-100:])

    assert (before, read(feed)) == (3, 4)
    feed.close()


def test_an_empty_file_waits_for_its_first_step(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.touch()
    feed = LogFeed(path)
    before, heard = read(feed), feed.heard
    write(path, steps(2))

    assert (before, heard) == (0, None)
    assert read(feed) == 3
    feed.close()


def test_a_file_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", steps(50))
    feed = LogFeed(path)
    read(feed)
    name = feed.name
    write(path, steps(7), replace(ABOUT, name="other"))

    assert read(feed) == 8
    assert feed.name != name
    assert feed.look(lambda series: series.about and series.about.name)[0] == "other"
    feed.close()


def test_a_broken_line_is_a_fault_and_the_rest_is_read(tmp_path: Path) -> None:
    """A planner that was killed in the middle of a line and started again must still be seen."""
    path = write(tmp_path / "log.jsonl", steps(4))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], lines[2][:80], *lines[3:]]) + "\n")
    feed = LogFeed(path)
    read(feed)
    answer, _ = feed.look(lambda series: series.since(0))

    assert answer["at"] == 20.0
    assert [f["text"].startswith(f"{path}:3: not JSON") for f in answer["faults"]] == [True]
    json.dumps(answer, allow_nan=False)
    feed.close()


def test_a_restart_with_the_clock_set_back_begins_the_page_anew(tmp_path: Path) -> None:
    """Its times would lie on top of those before."""
    path = write(tmp_path / "log.jsonl", steps(20, start=1000.0))
    feed = LogFeed(path)
    read(feed)
    name = feed.name
    path.write_bytes(path.read_bytes() + write(tmp_path / "later.jsonl", steps(5, start=500.0)).read_bytes())
    read(feed)
    answer, _ = feed.look(lambda series: series.since(0))

    assert feed.name != name
    assert (answer["start"], answer["at"]) == (500.0, 525.0)
    assert ["the clock had been set back" in fault["text"] for fault in answer["faults"]] == [True]
    feed.close()


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text('{"schema": "other.v3"}\n')
    feed = LogFeed(path)

    with pytest.raises(DecisionLogError, match=r"other\.jsonl:1: schema is 'other\.v3'"):
        read(feed)
    feed.close()


def test_a_compressed_log_is_read(tmp_path: Path) -> None:
    feed = LogFeed(write(tmp_path / "log.jsonl.gz", steps(9)))

    assert read(feed) == 10
    feed.close()


def test_the_planners_own_feed_shows_what_a_log_of_it_would(tmp_path: Path) -> None:
    log = list(steps(100))
    recent, file = RecentFeed(ABOUT), LogFeed(write(tmp_path / "log.jsonl", log))
    for one in log:
        recent.record(one.seen, one.decision, one.error)
    read(file)

    assert recent.look(lambda series: series.since(0))[0] == file.look(lambda series: series.since(0))[0]
    file.close()
