"""``planner backtest`` on a real Prometheus whose database we filled: eight hours with known rates."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from planner import config
from planner.adapters.decision_log import read
from planner.cli import main
from planner.commands.backtest import period
from planner.config.backtest import BacktestSettings
from planner.replay import recording
from tests.replay.remembered import Day, remembered

BASE = "profile: h200-llama31-8b-fp8-tp1\nsla: {ttft: 500ms, itl: 25ms}\ntick: 15s\n"
MINUTES = 360
AWAY = (7200.0, 8400.0)  # not scraped in the second day: from 2:00 to 2:20


def configuration(folder: Path, url: str) -> Path:
    file = folder / "live.yaml"
    file.write_text(
        f"{BASE}prometheus:\n  url: {url}\n  scrape: 15s\n  timeout: 20s\n  labels: {{model: llama}}\n"
        "  pools: {prefill: {job: prefill}, decode: {job: decode}}\n"
    )
    return file


def backtest(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["backtest", *map(str, args)], env={"COLUMNS": "120"})


def whole(day: Day) -> tuple[str, str, str, str]:
    return ("--from", str(day.start), "--to", str(day.end))


def made(folder: Path, away: tuple[float, float] | None = None) -> Iterator[Day]:
    rates = folder / "rates.csv"
    curve = (30.0 + 25.0 * math.sin(2 * math.pi * m / MINUTES) for m in range(MINUTES))
    rates.write_text("minute,rps\n" + "".join(f"{m},{rate:.4f}\n" for m, rate in enumerate(curve)))
    start = (time.time() // 86400 - 3) * 86400
    with remembered(folder, rates, start, {"prefill": 6, "decode": 3}, 15.0, away) as day:
        yield day


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    yield from made(tmp_path_factory.mktemp("day"))


@pytest.fixture(scope="module")
def day_with_gap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    yield from made(tmp_path_factory.mktemp("gap"), AWAY)


@pytest.fixture(scope="module")
def found(day: Day, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    done = backtest(configuration(tmp_path_factory.mktemp("c"), day.url), *whole(day), "--json", "-")

    assert done.exit_code == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.e2e
def test_the_past_is_read_to_the_last_request(day: Day, found: dict[str, Any]) -> None:
    traffic, world = found["traffic"], day.world.traffic

    assert found["schema"] == "sla-planner/backtest.v1"
    assert found["period"]["known_seconds"] == found["period"]["seconds"] == 3600.0 * MINUTES / 60
    assert traffic["requests"] == found["simulated"]["requests"] == pytest.approx(world.requests, abs=30)
    assert traffic["rate_per_second"]["max"] == pytest.approx(55.0, rel=0.15)
    assert traffic["input_tokens"] == pytest.approx(float(world.input_tokens.mean()), rel=0.02)
    assert traffic["output_tokens"] == pytest.approx(float(world.output_tokens.mean()), rel=0.02)
    assert traffic["dispersion"] == pytest.approx(1.0 + 30.0 / 8.0, rel=0.3)


@pytest.mark.e2e
def test_what_really_ran_stands_beside(found: dict[str, Any]) -> None:
    """Six and three replicas, all the time; with so many of them everything was kept."""
    recorded = found["recorded"]

    assert recorded["gpu_hours"] == pytest.approx(9 * MINUTES / 60, rel=0.01)
    assert recorded["pools"] == {"prefill": {"mean": 6.0}, "decode": {"mean": 3.0}}
    assert recorded["ttft_kept"][0] > 0.999
    assert 0.003 < recorded["itl_seconds"]["mean"] < 0.01
    assert found["simulated"]["gpu_hours_serving"] < 0.6 * recorded["gpu_hours"]


@pytest.mark.e2e
def test_it_agrees_with_simulate_on_the_same_rates(day: Day, found: dict[str, Any]) -> None:
    """Other draws of arrivals and lengths around the same rates: GPU-hours within 5 %, attainment within a point."""
    flags = ["--traffic", str(day.rates), "--lengths", "azure2023_conv", "--dispersion", "8", "--scrape", "15s",
             "--profile", "h200-llama31-8b-fp8-tp1", "--ttft", "500ms", "--itl", "25ms", "--json", "-"]  # fmt: skip
    simulated = json.loads(CliRunner().invoke(main, ["simulate", *flags]).stdout)
    ours = found["simulated"]

    assert ours["gpu_hours"] == pytest.approx(simulated["gpu_hours"], rel=0.05)
    assert ours["attainment"]["both"] == pytest.approx(simulated["attainment"]["both"], abs=0.01)
    assert ours["ttft_seconds"]["mean"] == pytest.approx(simulated["ttft_seconds"]["mean"], rel=0.15)
    assert ours["itl_seconds"]["mean"] == pytest.approx(simulated["itl_seconds"]["mean"], rel=0.1)


@pytest.mark.e2e
def test_a_part_of_the_past_under_another_law_with_every_output(day: Day, tmp_path: Path) -> None:
    out = {"--report": "r.html", "--plots": "plots", "--decisions": "d.jsonl", "--json": "b.json"}
    files = [part for flag, name in out.items() for part in (flag, str(tmp_path / name))]
    file = configuration(tmp_path, day.url)
    part = ("--from", str(day.start + 3600), "--to", str(day.start + 7200))
    done = backtest(file, *part, "--law", "classic", "--ttft", "400ms", *files)
    answer, about = json.loads((tmp_path / "b.json").read_text()), recording.load(tmp_path / "d.jsonl").about()
    assert about is not None

    assert done.exit_code == 0
    assert "really ran" in done.output
    assert answer["simulated"]["policy"] == about.law == "classic"
    assert about.sla.ttft_s == 0.4
    assert next(iter(read(tmp_path / "d.jsonl"))).seen.at == day.start + 3600
    assert (tmp_path / "r.html").stat().st_size > 10_000
    assert any(path.suffix == ".png" for path in (tmp_path / "plots").iterdir())
    assert day.url not in done.stderr


@pytest.mark.e2e
def test_attainment_that_is_missed_is_an_answer_that_falls_short(day: Day, tmp_path: Path) -> None:
    part = ("--from", str(day.start), "--to", str(day.start + 3600))
    slow = ("--plant-slower", "3", "--law", "static", "--replicas", "prefill=1,decode=1")
    done = backtest(configuration(tmp_path, day.url), *part, *slow, "--min-attainment", "0.99")

    assert done.exit_code == 1
    assert "is below --min-attainment 99.00%" in done.stderr


@pytest.mark.e2e
def test_a_gap_is_left_out_of_everything(day_with_gap: Day, tmp_path: Path) -> None:
    day = day_with_gap
    done = backtest(configuration(tmp_path, day.url), *whole(day), "--json", "-")
    assert done.exit_code == 0, done.stderr
    answer = json.loads(done.stdout)
    ((start, end),) = answer["period"]["gaps"]
    arrived = day.world.traffic.arrivals_s + day.start
    outside = int(((arrived < start) | (arrived >= end)).sum())

    assert start - day.start == pytest.approx(AWAY[0], abs=61)
    assert end - day.start == pytest.approx(AWAY[1], abs=121)
    assert answer["simulated"]["requests"] == pytest.approx(outside, rel=0.002)
    assert answer["period"]["known_seconds"] == pytest.approx(answer["period"]["seconds"] - (end - start))
    assert any("is left out" in note for note in answer["notes"])


@pytest.mark.e2e
def test_too_many_gaps_are_refused(day_with_gap: Day, tmp_path: Path) -> None:
    start = day_with_gap.start + AWAY[0] - 1800
    done = backtest(configuration(tmp_path, day_with_gap.url), "--from", str(start), "--to", str(start + 3600))

    assert done.exit_code == 2
    assert "of the period was not measured, more than --gaps 20%" in done.stderr


@pytest.mark.e2e
def test_a_past_that_prometheus_does_not_remember_is_refused(day: Day, tmp_path: Path) -> None:
    done = backtest(configuration(tmp_path, day.url), "--from", "2020-01-01T00:00", "--to", "2020-01-01T02:00")

    assert done.exit_code == 2
    assert "100.0% of the period was not measured" in done.stderr


def test_a_prometheus_that_is_away_is_a_part_outside_that_failed(tmp_path: Path) -> None:
    done = backtest(configuration(tmp_path, "http://127.0.0.1:9"), "--last", "1h")

    assert done.exit_code == 3
    assert "Prometheus at http://127.0.0.1:9 cannot be reached" in done.stderr


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        ((), "last: which period? write last, like 7d, or from"),
        (("--last", "7d", "--from", "2026-11-17"), "from and last both say where the period begins"),
        (("--last", "7"), "--last: '7' is not a duration"),
        (("--from", "yesterday"), "--from: 'yesterday' is no moment"),
        (("--from", "inf"), "--from: 'inf' is no moment"),
        (("--from", "2026-11-17", "--to", "nan"), "--to: 'nan' is no moment"),
        (
            ("--from", "2030-01-01", "--to", "2029-01-01"),
            "from (2030-01-01 00:00:00 UTC) is not before to (2029-01-01 00:00:00 UTC)",
        ),
        (("--from", "9000-01-01", "--to", "9001-01-01"), "9000-01-01 00:00:00 UTC is yet to come"),
        (("--last", "30s"), "holds no whole bin of 60 s"),
        (("--last", "1h", "--dialect", "dinamo"), "dinamo"),
        (("--last", "1h", "--report", "/no/such/folder/r.html"), "there is no folder /no/such/folder"),
    ],
)
def test_a_period_that_makes_no_sense_is_bad_input(tmp_path: Path, args: tuple[str, ...], problem: str) -> None:
    done = backtest(configuration(tmp_path, "http://127.0.0.1:9"), *args)

    assert done.exit_code == 2
    assert problem in done.stderr


def test_a_scenario_of_simulate_is_no_live_configuration() -> None:
    done = backtest("demo", "--last", "1h")

    assert done.exit_code == 2
    assert "traffic: unknown key" in done.stderr
    assert "--prometheus is needed" in done.stderr


def test_the_period_is_whole_bins_of_the_past() -> None:
    asked = {"profile": "x", "sla.ttft": "1s", "sla.itl": "1s", "prometheus.url": "http://x", "last": "1h"}

    assert period(config.load(BacktestSettings, None, asked), now=100_030.0) == (96_480.0, 100_020.0)
    assert period(config.load(BacktestSettings, None, {**asked, "to": "200000"}), now=100_030.0)[1] == 100_020.0
