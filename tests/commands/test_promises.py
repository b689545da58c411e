"""``size`` and ``simulate`` answer for each promise by itself."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from planner.cli import main

SIZE = [
    "size",
    "--profile",
    "h200-llama31-8b-fp8-tp1",
    "--rate",
    "60/s",
    "--isl",
    "3000",
    "--osl",
    "300",
    "--json",
    "-",
]


def sized(*options: str) -> tuple[int, dict[str, object]]:
    answer = CliRunner().invoke(main, [*SIZE, *options])
    return answer.exit_code, json.loads(answer.stdout)


def test_size_says_of_every_promise_whether_it_can_be_kept() -> None:
    code, answer = sized("--ttft", "p99.9:500ms", "--itl", "mean:25ms", "--max-replicas", "prefill=4")

    assert code == 1
    assert answer["promises"] == [
        {"promise": "p99.9 TTFT", "target": 0.5, "kept": False},
        {"promise": "mean ITL", "target": 0.025, "kept": True},
    ]
    assert answer["reasons"] == ["prefill: max-replicas 5 → 4", "the limits do not leave enough for p99.9 TTFT"]


@pytest.mark.parametrize("ttft", ["500ms", "p99:500ms", "p90:500ms", "mean:500ms"])
def test_size_of_a_promise_within_reach_keeps_it(ttft: str) -> None:
    code, answer = sized("--ttft", ttft, "--itl", "25ms")

    assert (code, answer["feasible"]) == (0, True)


def test_simulate_tells_promise_by_promise() -> None:
    options = ["--profile", "h200-llama31-8b-fp8-tp1", "--traffic", "poisson:rate=20/s,duration=5m", "--isl", "1000",
               "--osl", "100", "--ttft", "mean:400ms", "--itl", "p95:1ms", "--json", "-"]  # fmt: skip
    answer = json.loads(CliRunner().invoke(main, ["simulate", *options]).stdout)
    ttft, itl = answer["promises"]

    assert (ttft["promise"], ttft["measure"], ttft["target"], ttft["kept"]) == ("mean TTFT", "mean", 0.4, True)
    assert ttft["observed"] == pytest.approx(answer["ttft_seconds"]["mean"])
    assert (itl["promise"], itl["latency"], itl["kept"]) == ("p95 ITL", "itl", False)
    assert itl["observed"] == pytest.approx(answer["itl_seconds"]["p95"], rel=0.01)
    assert not answer["feasible"]  # nobody decodes at a token per millisecond
