"""The real files: what ships reads as its sources say, and so do the large ones where they are at hand."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from planner import resources
from planner.simulation.traffic.load import TrafficSpec, load

DAY_S = 86400.0


def test_the_shipped_conversation_trace_is_the_published_one() -> None:
    packed = resources.path("traffic", "azure2023_conv.csv.gz").read_bytes()
    published = "2f1e5b666d4e3055fdbba98598ce2ec307767b9064e03e2fa46676dbcc7d0bf8"

    assert hashlib.sha256(gzip.decompress(packed)).hexdigest() == published


def test_the_shipped_conversation_trace_has_the_figures_of_its_source() -> None:
    traffic = load(TrafficSpec("azure2023_conv"))
    gaps = np.diff(traffic.arrivals_s)

    assert traffic.requests == 19_366
    assert traffic.input_tokens.mean() == pytest.approx(1155, abs=0.5)
    assert np.percentile(traffic.input_tokens, 99) == pytest.approx(4142)
    assert traffic.output_tokens.mean() == pytest.approx(211, abs=0.5)
    assert gaps.std() / gaps.mean() == pytest.approx(1.09, abs=0.005)


def test_the_rise_is_cut_from_the_week_as_its_source_says() -> None:
    week = gzip.decompress(resources.path("traffic", "azure2024_conv_1min_recon.csv.gz").read_bytes()).splitlines()
    rise = resources.path("traffic", "azure2024_conv_rise_2h.csv").read_bytes().splitlines()

    assert rise == [week[0], *week[1351:1471]]


DAY = """
import json, resource, sys
from planner.simulation.traffic.load import TrafficSpec, load
day = {"from_s": 2 * 86400.0, "to_s": 3 * 86400.0}
traffic = load(TrafficSpec("azure2024_conv_1min_recon", lengths="azure2023_conv", scale=3, dispersion=8, **day))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps({"requests": traffic.requests, "peak": peak, "isl": float(traffic.input_tokens.mean())}))
"""


def test_the_day_scenario_is_built_in_bounded_memory() -> None:
    """14.26 million requests from shipped data; the plant needs the rest of its 3 GiB itself."""
    ran = subprocess.run([sys.executable, "-c", DAY], capture_output=True, text=True, check=True)
    found = json.loads(ran.stdout)

    assert found["requests"] == pytest.approx(14.26e6, rel=1e-3)
    assert found["isl"] == pytest.approx(1154.7, rel=2e-3)
    assert found["peak"] < 1.0 * 2**30


def test_mooncake_has_the_figures_of_its_source(shared: Path) -> None:
    path = shared / "traces/mooncake_fast25/conversation_trace.jsonl.gz"
    once, eight = load(TrafficSpec(path)), load(TrafficSpec(path, scale=8))
    fresh = [len(np.unique(traffic.block_ids)) / len(traffic.block_ids) for traffic in (once, eight)]

    assert once.requests == 12_031
    assert once.input_tokens.mean() == pytest.approx(12_035, abs=0.5)
    assert once.output_tokens.mean() == pytest.approx(343, abs=0.5)
    assert eight.requests == 8 * 12_031
    assert fresh[1] == pytest.approx(fresh[0])


def test_deepseek_clients_send_what_was_counted(shared: Path) -> None:
    path = shared / "traces/servegen/reason_deepseek-r1_clients_10min.csv.gz"
    total = np.genfromtxt(path.with_name("reason_deepseek-r1_total_10min.csv.gz"), delimiter=",", skip_header=1)
    traffic = load(TrafficSpec(path))
    per_slot = np.bincount((traffic.arrivals_s // 600).astype(int))

    assert np.abs(per_slot - total[:, 1] * 600).max() <= 8  # rates are printed with six digits
    assert traffic.input_tokens.mean() == pytest.approx(1268, rel=0.01)


def test_clients_are_as_bursty_from_minute_to_minute_as_another_expansion(shared: Path) -> None:
    """An independent expansion of the same clients, made by their own gaps without fitting them to rows."""
    folder = shared / "traces/servegen"
    other = np.genfromtxt(folder / "reason_deepseek-r1_1min_expanded.csv.gz", delimiter=",", skip_header=1)[:, 1]
    ours = load(TrafficSpec(folder / "reason_deepseek-r1_clients_10min.csv.gz"))
    minutes = np.bincount((ours.arrivals_s // 60).astype(int), minlength=1440)

    def within(counts: np.ndarray) -> float:
        rows = counts.reshape(-1, 10)
        return float(rows.var(axis=1, ddof=1).mean() / rows.mean())

    assert within(minutes) == pytest.approx(within(other), rel=0.15)


@pytest.mark.parametrize(
    ("name", "options", "requests"),
    [
        ("azure_llm_2023/AzureLLMInferenceTrace_conv.csv.gz", {"scale": 20}, 387_320),
        ("servegen/language_m-small_clients_10min.csv.gz", {"to_s": 6 * 3600.0, "scale": 0.1}, 1_359_900),
        ("burstgpt_week1/burstgpt_week1_tokens_per_s_1min.csv.gz", {"to_s": DAY_S, "scale": 100}, None),
        ("nab/Twitter_volume_AMZN.csv.gz", {"to_s": DAY_S}, None),
    ],
)
def test_the_traces_of_the_suite_load(shared: Path, name: str, options: dict[str, float], requests: int | None) -> None:
    traffic = load(TrafficSpec(shared / "traces" / name, **options))

    assert requests is None or traffic.requests == pytest.approx(requests, rel=1e-3)
    assert traffic.requests > 1000
