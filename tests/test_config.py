"""What operators write becomes settings; all that is wrong with it is told at once, with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from planner.config import CompareSettings, ConfigError, LiveSettings, SimulateSettings, SizeSettings, find, load
from planner.config.flags import flags, settings
from planner.config.settings import LONGEST_TOKENS
from planner.simulation.traffic import lengths

LEAST: dict[str, Any] = {
    "profile": "h200-llama31-8b-fp8-tp1",
    "traffic": {"source": "poisson:rate=20/s,duration=10m"},
    "sla": {"ttft": "500ms", "itl": "25ms"},
}


def written(tmp_path: Path, **more: Any) -> Path:
    file = tmp_path / "scenario.yaml"
    file.write_text(yaml.safe_dump({**LEAST, **more}))
    return file


def problems(file: Path | None, given: dict[str, Any] | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as error:
        load(SimulateSettings, file, given or {})
    return error.value.problems


def test_a_profile_traffic_and_a_promise_are_enough(tmp_path: Path) -> None:
    found = load(SimulateSettings, written(tmp_path), {})

    assert (found.sla.ttft_s, found.sla.itl_s, found.sla.goal) == (0.5, 0.025, 0.99)
    assert list(found.pools) == ["prefill", "decode"]


@pytest.mark.parametrize(
    ("ttft", "itl", "said"),
    [
        ("500ms", "25ms", "TTFT ≤ 500 ms and ITL ≤ 25 ms for 99 % of requests"),
        ("p95:500ms", "p90:25ms", "p95 TTFT ≤ 500 ms and p90 ITL ≤ 25 ms"),
        ("mean:1.5s", "25ms", "mean TTFT ≤ 1.5 s and p99 ITL ≤ 25 ms"),
        ("p99.9: 470ms", "mean:25ms", "p99.9 TTFT ≤ 470 ms and mean ITL ≤ 25 ms"),
    ],
)
def test_a_latency_may_be_measured_by_itself(tmp_path: Path, ttft: str, itl: str, said: str) -> None:
    found = load(SimulateSettings, written(tmp_path, sla={"ttft": ttft, "itl": itl}), {})

    assert str(found.sla.to_core()) == said


LIVE = {"profile": LEAST["profile"], "sla.ttft": "500ms", "sla.itl": "25ms"}


@pytest.mark.parametrize(
    "value", ["notaurl", "prometheus:9090", "ftp://p:9090", "http://", "http://p:port", "http://[::1"]
)
def test_an_address_that_nobody_can_be_asked_at_is_refused(value: str) -> None:
    """The planner would start, and stay blind."""
    with pytest.raises(ConfigError) as error:
        load(LiveSettings, None, {**LIVE, "prometheus.url": value})

    (problem,) = error.value.problems
    assert problem.startswith(f"--prometheus: {value!r} is no address of a server: write http://")


@pytest.mark.parametrize("value", ["http://p:9090", "https://p", "http://[::1]:9090/prometheus", "https://me@p/x?y=z"])
def test_addresses_are_taken_as_they_are_written(value: str) -> None:
    assert load(LiveSettings, None, {**LIVE, "prometheus.url": value}).prometheus.url == value


@pytest.mark.parametrize("value", ["p0:1s", "p100:1s", "p:1s", "q95:1s", "95:1s", "pnan:1s", "median:1s", ":1s"])
def test_a_measure_that_is_none_is_refused(tmp_path: Path, value: str) -> None:
    (problem,) = problems(written(tmp_path), {"sla.ttft": value})

    assert problem.startswith("--ttft: ")
    assert "p95:500ms" in problem


@pytest.mark.parametrize(("value", "word"), [("p95:500", "unit"), ("mean:0s", "must be above 0"), (0.5, "unit")])
def test_a_target_is_a_duration(tmp_path: Path, value: object, word: str) -> None:
    (problem,) = problems(written(tmp_path, sla={"ttft": value, "itl": "25ms"}))

    assert word in problem


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    found = load(SimulateSettings, written(tmp_path), {"sla.ttft": "2s", "initial": "prefill=3,decode=2", "seed": "7"})

    assert found.sla.ttft_s == 2.0
    assert found.sla.itl_s == 0.025  # the rest of the section stays
    assert found.initial == {"prefill": 3, "decode": 2}
    assert found.seed == 7


def test_stretches_of_time_are_read_as_they_are_written(tmp_path: Path) -> None:
    in_file = load(SimulateSettings, written(tmp_path, plant={"shortages": ["20m-50m", "1h-90m"]}), {})
    by_flag = load(SimulateSettings, written(tmp_path), {"plant.shortages": "20m-50m, 1h-90m"})

    assert in_file.plant.shortages == by_flag.plant.shortages == ((1200.0, 3000.0), (3600.0, 5400.0))


def test_supply_that_makes_no_sense_is_told_at_once(tmp_path: Path) -> None:
    plant = {"shortages": ["50m-20m"], "hangs": 1, "slow_starts": 2, "slow_factor": 0.5, "gpus": 0}
    found = problems(written(tmp_path, plant=plant))

    assert [line.split(": ")[1] for line in found] == [f"plant.{name}" for name in (
        "hangs", "slow_starts", "slow_factor", "shortages", "gpus")]  # fmt: skip
    assert "'50m-20m' ends before it begins" in found[3]


def test_flags_alone_are_enough() -> None:
    given = {"profile": "p", "traffic.source": "t", "sla.ttft": "1s", "sla.itl": "20ms"}

    assert load(SimulateSettings, None, given).traffic.source == "t"


def test_traffic_may_be_just_its_source(tmp_path: Path) -> None:
    found = load(SimulateSettings, written(tmp_path, traffic="day.csv"), {"traffic.scale": "3"})

    assert (found.traffic.source, found.traffic.scale) == ("day.csv", 3.0)


def test_files_are_looked_for_beside_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scenario that is run from another folder must find its own trace."""
    (tmp_path / "day.csv").touch()
    monkeypatch.chdir("/")

    assert load(SimulateSettings, written(tmp_path, traffic="day.csv"), {}).traffic.source == str(tmp_path / "day.csv")


@pytest.mark.parametrize(("law", "seconds"), [("slo", 60.0), ("classic", 180.0)])
def test_every_law_has_its_own_interval(tmp_path: Path, law: str, seconds: float) -> None:
    assert load(SimulateSettings, written(tmp_path, law=law), {}).decision_interval_s == seconds
    assert load(SimulateSettings, written(tmp_path, law=law, interval="30s"), {}).decision_interval_s == 30.0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"modus": 1}, "scenario.yaml: modus: unknown key; did you mean 'mode'?"),
        ({"traffic": {"sorce": "x", "source": "x"}}, "traffic.sorce: unknown key; did you mean 'source'?"),
        ({"interval": 60}, "interval: 60 has no unit: write 60s, or 60ms, 60m, 60h as it is meant"),
        ({"startup": "2 minutes"}, "startup: '2 minutes' is not a duration"),
        ({"startup": True}, "startup: true is not a duration"),
        ({"scrape": "0s"}, "scrape: 0s must be above 0"),
        ({"sla": {"ttft": "1s", "itl": "1s", "goal": 99}}, "sla.goal: 99 must be below 1"),
        ({"router": "kvv"}, "router: 'kvv' is none of round-robin, least-loaded, kv; did you mean 'kv'?"),
        ({"mode": "x"}, "mode: 'x' is none of disaggregated, aggregated"),
        ({"seed": True}, "seed: true is not a number"),
        ({"seed": "one"}, "seed: 'one' is not a whole number"),
        ({"seed": 1.5}, "seed: 1.5 is not a whole number"),
        ({"traffic": {"source": "x", "scale": float("nan")}}, "traffic.scale: nan is not a number"),
        ({"traffic": {"source": "x", "scale": float("inf")}}, "traffic.scale: inf is not a number"),
        ({"traffic": {"source": 5}}, "traffic.source: 5 is not a name"),
        ({"plant": "slow"}, "plant: 'slow' should be a mapping of keys to values"),
        ({"initial": "prefill=3,decode"}, "initial: 'prefill=3,decode' should read like prefill=13,decode=5"),
        ({"initial": "prefill=3,prefill=2"}, "initial: 'prefill=3,prefill=2' names a pool twice"),
        ({"initial": {"prefill": -1, "decode": 1}}, "initial.prefill: -1 must be at least 0"),
        ({"max_replicas": {"prefill": "many"}}, "max_replicas.prefill: 'many' is not a whole number"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    (problem,) = problems(written(tmp_path, **more))

    assert message in problem


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"min_replicas": {"prefill": 3}, "max_replicas": {"prefill": 2}},
            "min_replicas (3) exceeds max_replicas (2) of pool prefill",
        ),
        ({"max_replicas": {"prefil": 2}}, "mode disaggregated has no pool 'prefil'; did you mean 'prefill'?"),
        ({"mode": "aggregated", "initial": {"decode": 2, "aggregated": 1}}, "mode aggregated has no pool 'decode'"),
        ({"initial": {"prefill": 2}}, "initial: decode missing: a fleet names every pool of mode disaggregated"),
        (
            {"initial": "prefill=9,decode=1", "max_replicas": {"prefill": 8}},
            "9 replicas in prefill exceed max_replicas (8)",
        ),
        ({"initial": "prefill=9,decode=1", "budget": 8}, "initial: 10 GPUs exceed budget (8 GPUs)"),
        (
            {"budget": 4, "gpus_per_replica": "prefill=2,decode=4"},
            "budget (4 GPUs) is below the smallest fleet (6 GPUs: 1 × 2 in prefill, 1 × 4 in decode)",
        ),
        ({"replicas": "prefill=1,decode=1"}, "replicas: is the fixed fleet of law static, and law is slo"),
        ({"traffic": {"source": "x", "from": "2h", "to": "1h"}}, "traffic.from: from (2 h) is not before to (60 min)"),
        ({"scrape": "2m"}, "scrape: scrape (2 min) exceeds interval (60 s)"),
        ({"plant": {"retries": 2}}, "plant.retries: clients only retry after a timeout"),
        ({"outputs": {"report": "/no/such/folder/r.html"}}, "outputs.report: there is no folder /no/such/folder"),
        ({"outputs": {"json": "/"}}, "outputs.json: / is a folder; a file is needed"),
        (
            {"outputs": {"json": "/tmp/both.out", "report": "/tmp/both.out"}},
            "outputs.report: /tmp/both.out is already the file of",
        ),
    ],
)
def test_contradictions_are_told(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    (problem,) = problems(written(tmp_path, **more))

    assert message in problem


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """Whoever repairs one value should not have to run again to hear of the next."""
    file = tmp_path / "bad.yaml"
    file.write_text(
        "traffic: {from: 2d, to: 1d, scale: -1}\n"  # no source, a contradiction, a wrong value
        "sla: {ttft: 500, itl: 25ms}\n"
        "min_replicas: {prefill: 3}\n"
        "max_replicas: {prefill: 2}\n"
        "budget: many\n"
    )
    told = "\n".join(problems(file, {"sla.itl": "25"}))

    assert "--profile is needed, or profile in the configuration: " in told
    assert "--traffic is needed" in told
    assert f"{file}: traffic.scale: -1 must be above 0" in told
    assert f"{file}: sla.ttft: 500 has no unit" in told
    assert "--itl: '25' is not a duration" in told  # it came from a flag
    assert "budget: 'many' is not a whole number" in told
    assert "min_replicas (3) exceeds max_replicas (2)" in told
    assert "from (2 d) is not before to" in told
    assert told.count("\n") == 7


def test_a_contradiction_with_a_wrong_value_is_not_told_twice(tmp_path: Path) -> None:
    told = problems(written(tmp_path, traffic={"source": "x", "from": "2d", "to": "soon"}))

    assert len(told) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not YAML"),
        ("- a\n- b\n", "expected keys and values"),
        ("profile: a\nprofile: b\n", "profile is given twice"),
        ("? [a, b]\n: c\n", "a key must be a name"),
        ("? {a: b}\n: c\n", "a key must be a name"),
        ("[" * 100_000, "nested too deeply"),
        ("{a: " * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_configuration_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    (problem,) = problems(file)

    assert message in problem


def test_an_unknown_scenario_lists_those_there_are() -> None:
    with pytest.raises(ConfigError, match="nowhere: neither a file nor a shipped scenario"):
        find("nowhere")


def test_size_settings_need_a_load() -> None:
    with pytest.raises(ConfigError) as error:
        load(SizeSettings, None, {"profile": "p", "sla.ttft": "1s", "sla.itl": "20ms", "rate": "12"})

    assert [problem.split(" ")[0] for problem in error.value.problems] == ["--rate:", "--isl", "--osl"]


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("isl", "1e308", "--isl: 1e308 must be at most 131072"),
        ("osl", "1e308", "--osl: 1e308 must be at most 131072"),
        ("rate", "1e300/s", "--rate: 1e300/s must be at most 1e+09"),
        ("correction", "decode=1e308", "--correction: 1e308 must be at most 100"),
        ("correction", "decode=1e-308", "--correction: 1e-308 must be at least 0.01"),
    ],
)
def test_a_load_that_nobody_can_compute_with_is_refused(path: str, value: str, said: str) -> None:
    asked = {"profile": "p", "sla.ttft": "1s", "sla.itl": "20ms", "rate": "12/s", "isl": "3000", "osl": "300"}
    with pytest.raises(ConfigError) as error:
        load(SizeSettings, None, {**asked, path: value})

    assert error.value.problems == (said,)


def test_lengths_to_size_for_are_those_that_can_be_simulated() -> None:
    assert LONGEST_TOKENS == lengths.LONGEST_TOKENS


def test_policies_are_a_list_of_names() -> None:
    given = {
        "profile": "p",
        "traffic.source": "t",
        "sla.ttft": "1s",
        "sla.itl": "20ms",
        "policies": "slo, classic+arima",
    }

    assert load(CompareSettings, None, given).policies == ("slo", "classic+arima")


@pytest.mark.parametrize("model", [SimulateSettings, SizeSettings, CompareSettings])
def test_every_setting_says_what_it_means(model: type[BaseModel]) -> None:
    """Help, reference and error messages are made of these sentences."""
    for one in settings(model):
        assert one.description.endswith("."), one.path
    assert len(flags(model)) == len([one for one in settings(model) if one.flag])  # no flag twice
