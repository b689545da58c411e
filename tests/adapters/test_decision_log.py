"""What is written can be read back as it was; a broken line is named."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from planner.adapters.decision_log import (
    SCHEMA,
    About,
    AboutPool,
    DecisionLog,
    DecisionLogError,
    read,
)
from planner.core.histogram import Histogram
from planner.core.policy import Sla
from planner.core.types import (
    Adjustment,
    Decision,
    DemandForecast,
    Expected,
    Observation,
    PoolReading,
    Reason,
    Role,
    Window,
)
from planner.ports import Step
from planner.replay.recording import load

INF = float("inf")
SEEN = Observation(
    60.0,
    {"decode": PoolReading(3, 2, starting_s=(1.5,), waiting=0.0, worker_steps=((0.01, 80.0),))},
    Window(5.0, started=12.0, ttft=Histogram((0.1, INF), (11.0, 1.0), 0.9)),
    ("prefill: no such series",),
)
DECISION = Decision(
    60.0,
    {"decode": 4},
    {"decode": 5},
    Reason.SIZED,
    (Adjustment("decode", Reason.GPU_BUDGET, 5, 4),),
    DemandForecast(180.0, 2.0, 1.0, 3.5, 900.0, 100.0, 1.7),
    Expected(0.3, None, 0.991),
    feasible=False,
    corrections={"decode": 1.1},
    notes=("«besten Wert»",),
)
ABOUT = About(
    name="chat",
    law="slo",
    sla=Sla(0.5, 0.025, 0.95),
    interval_s=60.0,
    pools={"decode": AboutPool(Role.DECODE, 2, 1, 8, 90.0)},
    profile="h200-llama31-8b-fp8-tp1",
    mode="disaggregated",
    settings={"sla": {"ttft": 0.5}, "max_replicas": {"decode": 8}},
)
STEPS = [Step(SEEN, DECISION, "conflict"), Step(SEEN, DECISION)]


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
def test_a_log_is_read_back_as_it_was_written(tmp_path: Path, name: str) -> None:
    with DecisionLog(tmp_path / name) as log:
        for step in STEPS:
            log.record(step.seen, step.decision, step.error)

    assert list(read(tmp_path / name)) == STEPS


def test_the_schema_stands_in_the_first_line_and_every_line_is_an_object(tmp_path: Path) -> None:
    with DecisionLog(tmp_path / "log.jsonl") as log:
        for step in STEPS:
            log.record(step.seen, step.decision, step.error)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]

    assert [line.get("schema") for line in lines] == [SCHEMA, None]
    assert [line["decision"]["replicas"] for line in lines] == [{"decode": 4}] * 2


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with DecisionLog(path) as log:
        log.record(SEEN, DECISION)
    path.write_text(path.read_text() + '{"seen": {"at": 1, "pools": {}}, "decision": {"at": "soon"}}\n')

    with pytest.raises(DecisionLogError, match=r"log\.jsonl:2: decision: reason, replicas, wanted missing"):
        list(read(path))


@pytest.mark.parametrize("text", ['{"schema": "other.v3"}\n', "[]\n", "not json\n"])
def test_another_file_is_no_decision_log(tmp_path: Path, text: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(text)

    with pytest.raises(DecisionLogError, match=r"log\.jsonl:1: "):
        list(read(path))


def test_a_log_says_what_it_is_of_and_its_steps_read_as_before(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with DecisionLog(path, ABOUT) as log:
        for step in STEPS:
            log.record(step.seen, step.decision, step.error)

    assert load(path).about() == ABOUT
    assert list(read(path)) == STEPS


def test_a_log_without_about_is_read_and_says_nothing_of_itself(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with DecisionLog(path) as log:
        log.record(SEEN, DECISION)

    assert load(path).about() is None


def test_a_step_is_in_the_file_as_soon_as_it_is_recorded(tmp_path: Path) -> None:
    """A page that follows the log shows what happens now, not what fills a buffer."""
    path = tmp_path / "log.jsonl"
    with DecisionLog(path) as log:
        log.record(SEEN, DECISION)
        seen = list(read(path))

    assert seen == [Step(SEEN, DECISION)]


def test_a_restarted_planner_goes_on_with_its_log(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for _ in range(2):
        with DecisionLog(path, ABOUT, append=True) as log:
            log.record(SEEN, DECISION)

    assert list(read(path)) == [Step(SEEN, DECISION)] * 2


@pytest.mark.parametrize("left", [40, 1, 700])
def test_a_log_is_gone_on_with_behind_a_line_that_was_cut_off(tmp_path: Path, left: int) -> None:
    """A planner that was killed while it wrote, or a machine without power, must not cost the whole log."""
    path = tmp_path / "log.jsonl"
    with DecisionLog(path, ABOUT, append=True) as log:
        for _ in range(3):
            log.record(SEEN, DECISION)
    path.write_bytes(path.read_bytes()[:-left])
    with DecisionLog(path, ABOUT, append=True) as log:
        log.record(SEEN, DECISION)
        log.record(SEEN, DECISION)
    whole = {40: 4, 1: 5, 700: 3}[left]  # what was written whole before, and two; all of it, when only its end is lost

    assert list(read(path)) == [Step(SEEN, DECISION)] * whole


def test_a_cut_goes_through_letters_too(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with DecisionLog(path, append=True) as log:
        log.record(SEEN, DECISION)
        log.record(SEEN, DECISION)
    raw = path.read_bytes()
    path.write_bytes(raw[: raw.rindex("»".encode()) + 1])
    with DecisionLog(path, append=True) as log:
        log.record(SEEN, DECISION)

    assert list(read(path)) == [Step(SEEN, DECISION)] * 2


def test_a_log_whose_first_line_was_cut_off_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with DecisionLog(path, ABOUT, append=True) as log:
        log.record(SEEN, DECISION)
    path.write_bytes(path.read_bytes()[:100])
    with DecisionLog(path, ABOUT, append=True) as log:
        log.record(SEEN, DECISION)

    assert list(read(path)) == [Step(SEEN, DECISION)]


def test_a_compressed_log_is_gone_on_with_behind_its_cut(tmp_path: Path) -> None:
    """Behind a cut nothing of a compressed file can be read: what was before is packed anew."""
    path = tmp_path / "log.jsonl.gz"
    with DecisionLog(path, ABOUT, append=True) as log:
        for i in range(2000):
            log.record(replace(SEEN, at=float(i)), DECISION)
    path.write_bytes(path.read_bytes()[:-2000])
    before = 0
    with contextlib.suppress(EOFError):
        for _ in read(path):
            before += 1
    with DecisionLog(path, ABOUT, append=True) as log:
        log.record(SEEN, DECISION)
    after = list(read(path))

    assert before > 0
    assert len(after) == before + 1
    assert after[-1] == Step(SEEN, DECISION)
    assert [file.name for file in tmp_path.iterdir()] == ["log.jsonl.gz"]


def test_a_file_that_is_not_compressed_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl.gz"
    path.write_text("{}")

    with pytest.raises(DecisionLogError, match=r"log\.jsonl\.gz: cannot be gone on with: Not a gzipped file"):
        DecisionLog(path, append=True)
    assert path.read_text() == "{}"


def test_a_promise_that_makes_no_sense_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with DecisionLog(path, ABOUT) as log:
        log.record(SEEN, DECISION)
    path.write_text(path.read_text().replace('"goal":0.95', '"goal":95'))

    with pytest.raises(DecisionLogError, match=r"log\.jsonl:1: about: goal \(95\.0\) must be a share"):
        load(path)
