"""Dialects are data: what ships can be read, what is broken says all that is broken."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from planner.adapters.prometheus import DialectError
from planner.adapters.prometheus.dialect import COUNTS, GAUGES, SPREADS
from planner.adapters.prometheus.dialect_files import load, names, parse

GOOD = """
schema: sla-planner/dialect.v1
name: mine
title: My router
origin: {project: me/mine, file: metrics.py, version: "1", date: "2026-11-24"}
engine: vllm
signals:
  started: {counter: mine_requests_total}
"""


@pytest.mark.parametrize("name", names())
def test_every_shipped_dialect_reads_and_says_what_it_can_and_cannot(name: str) -> None:
    """A signal is found, or lent by the engine behind, or it is said why not: no silent gaps."""
    dialect = load(name)
    behind = dialect if dialect.is_engine else load(dialect.engine)
    told = {*dialect.signals, *behind.signals, *dialect.cannot, *behind.cannot}

    assert dialect.name == name
    assert behind.is_engine
    assert dialect.presence
    if not dialect.is_engine or dialect.name not in ("dynamo-worker",):  # which has its frontend before it
        assert {*COUNTS, *SPREADS} <= told
    if dialect.is_engine:
        assert {*GAUGES} - {"pending_tokens"} <= told
        assert dialect.steps
        assert bool(dialect.request_itl) != ("request_itl" in dialect.cannot)


def test_the_dialects_of_the_peers_are_there() -> None:
    wanted = {"dynamo", "dynamo-router", "vllm", "sglang", "trtllm", "llm-d", "aibrix", "kthena", "production-stack",
              "llamacpp"}  # fmt: skip

    assert wanted <= set(names())


def test_a_dialect_of_ones_own_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(GOOD)

    assert load(tmp_path / "mine.yaml").signals["started"][0].names == ("mine_requests_total",)


def test_all_that_is_wrong_is_told_at_once() -> None:
    data = yaml.safe_load(GOOD)
    data["colour"] = "red"
    data["signals"] = {
        "ttft": {"counter": "a", "gauge": "b"},
        "itl": {"histogram": "c", "unit": "minutes"},
        "duration": {"buckets": "d"},
    }
    with pytest.raises(DialectError) as caught:
        parse(data, "mine.yaml")
    told = str(caught.value)

    assert told.startswith("dialect mine.yaml: ")
    assert "colour" in told
    assert "exactly one of" in told
    assert "minutes" in told or "'s', 'ms'" in told
    assert "label" in told


def test_a_form_that_cannot_tell_a_signal_is_refused() -> None:
    data = yaml.safe_load(GOOD)
    data["signals"]["ttft"] = {"gauge": "mine_mean_ttft"}
    with pytest.raises(DialectError, match="ttft: gauge mine_mean_ttft cannot tell it; what can is histogram"):
        parse(data, "mine.yaml")


def test_a_signal_nobody_knows_is_refused_with_those_there_are() -> None:
    data = yaml.safe_load(GOOD)
    data["signals"]["tftt"] = {"histogram": "x"}
    with pytest.raises(DialectError, match=r"unknown signal 'tftt'; known are .*ttft"):
        parse(data, "mine.yaml")


def test_a_name_that_does_not_exist_lists_those_that_do() -> None:
    with pytest.raises(DialectError, match=r"dialect vlm: there is none of that name; there are .*vllm"):
        load("vlm")


def test_a_file_that_is_not_yaml_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("signals: [")
    with pytest.raises(DialectError, match=r"broken\.yaml"):
        load(tmp_path / "broken.yaml")
