"""Decisions on short segments of the suite's traffic, as they were when last accepted.

A change of the law, a predictor or the plant shows here as a diff to read: ``make golden`` writes the traces
anew and prints which decisions changed, and what was kept and spent before and now.
"""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

from planner import config
from planner.commands._runs import built, run_policy, start_of
from planner.config import SimulateSettings
from planner.simulation.report.figures import summarise

HERE = Path(__file__).parent
SPLIT = {"profile": "h200-llama31-8b-fp8-tp1", "sla.ttft": "500ms", "sla.itl": "25ms"}
CHAT = {**SPLIT, "traffic.lengths": "azure2023_conv"}
SEGMENTS: dict[str, tuple[str | None, dict[str, str]]] = {
    "conv-day": ("conv-day", {"traffic.from": "54h", "traffic.to": "54.5h"}),
    "conv-day-plant-slower": ("conv-day", {"traffic.from": "54h", "traffic.to": "54.5h", "plant.slower": "1.3"}),
    "conv-day-classic": ("conv-day", {"traffic.from": "54h", "traffic.to": "54.5h", "law": "classic"}),
    "conv-day-budget": ("conv-day", {"traffic.from": "54h", "traffic.to": "54.5h", "budget": "12"}),
    "conv-week-morning": (
        None,
        {
            **CHAT,
            "traffic.source": "azure2024_conv_1min_recon",
            "traffic.scale": "0.2",
            "traffic.from": "9h",
            "traffic.to": "9.5h",
        },
    ),
    "conv-hour": (None, {**SPLIT, "traffic.source": "azure2023_conv", "traffic.scale": "20", "traffic.to": "30m"}),
    "aggregated": ("aggregated", {"traffic.to": "30m"}),
    "step": (None, {**CHAT, "traffic.source": "step:low=20/s,high=120/s,at=10m,duration=20m"}),
}
"""Shipped traffic: name of the scenario, and what is different."""
LARGE: dict[str, tuple[str, dict[str, str]]] = {
    "mooncake-hour": (
        "mooncake_fast25/conversation_trace.jsonl.gz",
        {**SPLIT, "traffic.scale": "8", "router": "kv", "sla.ttft": "5s", "sla.itl": "50ms", "traffic.to": "20m"},
    ),
    "reason-day": (
        "servegen/reason_deepseek-r1_clients_10min.csv.gz",
        {**SPLIT, "sla.ttft": "1s", "sla.itl": "30ms", "traffic.from": "12h", "traffic.to": "12.5h"},
    ),
    "small-burst": (
        "servegen/language_m-small_clients_10min.csv.gz",
        {**SPLIT, "mode": "aggregated", "traffic.scale": "0.1", "sla.ttft": "300ms", "sla.itl": "20ms",
         "traffic.to": "30m"},
    ),
    "burstgpt-day": (
        "burstgpt_week1/burstgpt_week1_tokens_per_s_1min.csv.gz",
        {**CHAT, "traffic.scale": "1000", "traffic.from": "154h", "traffic.to": "154.5h"},
    ),
    "tweets-day": (
        "nab/Twitter_volume_AMZN.csv.gz",
        {**CHAT, "traffic.scale": "31.9", "traffic.from": "167.2h", "traffic.to": "167.7h"},
    ),
}  # fmt: skip
"""Traffic that is too large to ship, under ``SLA_PLANNER_SHARED``."""


def trace(scenario: str | None, changes: dict[str, str]) -> str:
    """What it kept and cost, then one line for every moment at which a decision was made or the fleet changed."""
    settings = config.load(SimulateSettings, config.find(scenario) if scenario else None, changes)
    profile, world = built(settings)
    run = run_policy(settings, profile, world, start_of(settings, world))
    summary = summarise(run)
    lines, last = [f"kept {summary.attainment.both:.2%} with {summary.gpu_hours:.2f} GPU-hours"], None
    for step in run.steps:
        decision = step.decision
        wanted = " ".join(f"{pool}={n}" for pool, n in decision.wanted.items())
        said = f"{decision.summary()} wanted {wanted}"
        if said != last and decision.reason.value != "held-between-decisions":
            seconds = round(decision.at - world.traffic.epoch_s)
            lines.append(f"{seconds // 60:02d}:{seconds % 60:02d} {said}")
            last = said
    return "\n".join(lines) + "\n"


def hold_to(name: str, said: str, rewrite: bool) -> None:
    path = HERE / f"{name}.txt"
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    if said != before:
        changes = list(difflib.unified_diff(before.splitlines(), said.splitlines(), "before", "now", n=0, lineterm=""))
        told = "\n".join([f"{name}:", *(line for line in changes if not line.startswith("@@"))])
        assert rewrite, f"{told}\nif that is meant: make golden, and say why in the commit message"
        print(f"\n{told}")
        path.write_text(said, encoding="utf-8")


@pytest.mark.parametrize("name", SEGMENTS)
def test_shipped_traffic_is_decided_as_before(name: str, write_golden: bool) -> None:
    hold_to(name, trace(*SEGMENTS[name]), write_golden)


@pytest.mark.parametrize("name", LARGE)
def test_the_suite_is_decided_as_before(name: str, write_golden: bool, shared: Path) -> None:
    file, changes = LARGE[name]
    hold_to(name, trace(None, {**changes, "traffic.source": str(shared / "traces" / file)}), write_golden)


def test_every_trace_belongs_to_a_segment() -> None:
    """A renamed segment must not leave its old trace behind, forever green."""
    assert {path.stem for path in HERE.glob("*.txt")} == set(SEGMENTS) | set(LARGE)
