"""A log as a whole: found moments, changes, and what is wrong with a file."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from planner.adapters.decision_log import DecisionLog, DecisionLogError
from planner.core.types import Decision, Observation, PoolReading, Reason, Window
from planner.replay.evidence import seen_before
from planner.replay.recording import Recording, load


def written(path: Path, *fleets: int, start: float = 100.0, reason: Reason = Reason.SIZED,
            append: bool = False) -> Path:  # fmt: skip
    """A log of one pool, a step every 5 s."""
    with DecisionLog(path, append=append) as log:
        for i, n in enumerate(fleets):
            at = start + 5.0 * i
            seen = Observation(at, {"decode": PoolReading(n, n)}, Window(5.0, started=10.0))
            log.record(seen, Decision(at, {"decode": n}, {"decode": n}, reason))
    return path


def test_changes_are_steps_that_ask_for_another_fleet(tmp_path: Path) -> None:
    assert list(load(written(tmp_path / "a.jsonl", 2, 2, 3, 3, 2)).changes()) == [2, 4]


@pytest.mark.parametrize(("moment", "index"), [(100.0, 0), (104.9, 0), (105.0, 1), (114.0, 2)])
def test_the_step_at_a_moment_is_the_last_one_before_it(tmp_path: Path, moment: float, index: int) -> None:
    assert load(written(tmp_path / "a.jsonl", 1, 2, 3)).at(moment) == index


@pytest.mark.parametrize("moment", [99.0, 116.0])
def test_a_moment_outside_the_log_is_refused_with_its_reach(tmp_path: Path, moment: float) -> None:
    with pytest.raises(ValueError, match=r"the log reaches from 100 s .* to 110 s .*\(10s later\)"):
        load(written(tmp_path / "a.jsonl", 1, 2, 3)).at(moment)


@pytest.mark.parametrize(("line", "index"), [(1, 0), (3, 2), (-1, 2), (-3, 0)])
def test_steps_are_counted_as_lines_of_the_file(tmp_path: Path, line: int, index: int) -> None:
    assert load(written(tmp_path / "a.jsonl", 1, 2, 3)).number(line) == index


@pytest.mark.parametrize("line", [0, 4, -4])
def test_a_step_that_is_not_there_is_refused(tmp_path: Path, line: int) -> None:
    with pytest.raises(ValueError, match=f"there is no step {line}: the log has 3"):
        load(written(tmp_path / "a.jsonl", 1, 2, 3)).number(line)


def test_a_number_that_is_held_is_traced_to_the_step_that_found_it(recording: Recording) -> None:
    held = 12 * 20 + 3  # a quarter of a minute behind a full decision
    found = recording.origin(held)

    assert recording.steps[held].decision.reason is Reason.HELD_BETWEEN
    assert recording.steps[found].decision.reason is Reason.SIZED
    assert recording.steps[found].decision.replicas == recording.steps[held].decision.replicas


def test_a_log_that_is_being_written_is_read_up_to_its_last_whole_line(tmp_path: Path) -> None:
    """A live log is explained while the planner writes it; a killed one after its last words."""
    path = written(tmp_path / "a.jsonl", 1, 2, 3)
    path.write_text(path.read_text()[:-40])
    found = load(path)

    assert len(found.steps) == 2
    assert found.notes == ("a.jsonl is cut off in line 3: that step is left out",)


def test_a_compressed_log_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    whole = written(tmp_path / "a.jsonl", *[i % 7 for i in range(3000)])
    path.write_bytes(gzip.compress(whole.read_bytes())[:-100])
    found = load(path)

    assert 0 < len(found.steps) < 3000
    assert "cut off" in found.notes[0]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "holds no decisions"),
        (b'{"schema": "sla-planner/simulation.v1"}\n', r"a\.jsonl:1: schema is 'sla-planner/simulation\.v1'"),
        (b"PK\x03\x04\xff\xfe", r"a\.jsonl:1: not JSON"),
        (b"not json", r"a\.jsonl:1: not JSON"),
    ],
)
def test_a_file_that_is_no_log_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)

    with pytest.raises(DecisionLogError, match=problem):
        load(path)


def test_a_file_that_only_claims_to_be_compressed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_text("{}")

    with pytest.raises(DecisionLogError, match="cannot be read: Not a gzipped file"):
        load(path)


def test_a_line_that_is_broken_inside_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", 1, 2, 3)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + lines[1][:20] + "\n" + lines[2])

    with pytest.raises(DecisionLogError, match=r"a\.jsonl:2: not JSON"):
        load(path)


def test_a_line_that_was_cut_off_before_a_restart_is_left_out_and_told(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", 1, 2, 3)
    path.write_text(path.read_text()[:-40])
    found = load(written(path, 4, 5, start=200.0, append=True))

    assert [step.decision.replicas["decode"] for step in found.steps] == [1, 2, 4, 5]
    assert found.notes == ("a.jsonl is cut off in line 3: that step is left out",)


def test_a_log_that_goes_back_in_time_inside_a_session_is_refused(tmp_path: Path) -> None:
    """Lines of two logs in one file would be replayed as nonsense."""
    path, other = written(tmp_path / "a.jsonl", 1, 2), written(tmp_path / "b.jsonl", 1, 2, start=50.0)
    path.write_text(path.read_text() + other.read_text().splitlines(keepends=True)[1])

    with pytest.raises(DecisionLogError, match=r"a\.jsonl:3: goes back in time, from 105\.0 to 55\.0"):
        load(path)


@pytest.fixture
def set_back(tmp_path: Path) -> Recording:
    """Three steps from 100 s on, and three after a restart with a clock that was set back to 95 s."""
    return load(written(written(tmp_path / "a.jsonl", 1, 2, 3), 4, 5, 6, start=95.0, append=True))


def test_a_restart_with_the_clock_set_back_is_told(set_back: Recording) -> None:
    """A clock that was wrong at one start must not cost the whole log."""
    (note,) = set_back.notes

    assert len(set_back.steps) == 6
    assert note.startswith("the clock had been set back when the planner was started at step 4, from 110 s ")
    assert set_back.seconds == 20.0


@pytest.mark.parametrize(("moment", "index"), [(95.0, 3), (104.0, 4), (109.9, 5), (112.0, 2)])
def test_a_moment_that_came_twice_is_the_later_one(set_back: Recording, moment: float, index: int) -> None:
    """The second session reaches from 95 s to 105 s, and its last step stands for 5 s."""
    assert set_back.at(moment) == index


def test_the_reach_of_every_session_is_told(set_back: Recording) -> None:
    with pytest.raises(ValueError, match=r"reaches from 100 s .* to 110 s .*\(10s later\) and from 95 s .* to 105 s"):
        set_back.at(500.0)


def test_a_decision_goes_by_nothing_from_before_the_clock_was_set_back(set_back: Recording) -> None:
    assert seen_before(set_back, 3, None).requests == 10.0
