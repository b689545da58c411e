"""What loading promises of every traffic: determinism, scale, windows; and every contradiction is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.simulation.traffic.arrivals import Window
from planner.simulation.traffic.errors import TrafficError
from planner.simulation.traffic.load import TrafficSpec, load
from planner.simulation.traffic.recorded import Recorded
from planner.simulation.traffic.transform import JITTER_S, transformed

LENGTHS = "fixed:isl=100,osl=10"


def azure(rows: int, step_s: float = 2.0) -> str:
    """Requests every ``step_s`` with lengths that tell them apart."""
    start = np.datetime64("2024-05-12T08:00:00", "ns")
    times = start + (np.arange(rows) * step_s * 1e9).astype("timedelta64[ns]")
    lines = [f"{str(at).replace('T', ' ')},{i + 1},{2 * i + 1}" for i, at in enumerate(times)]
    return "\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *lines, ""])


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recorded") / "azure.csv"
    path.write_text(azure(600))
    return path


@pytest.fixture(scope="module")
def mooncake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recorded") / "mooncake.jsonl"
    row = '{{"timestamp": {at}, "input_length": 1024, "output_length": {i}, "hash_ids": [0, {i}]}}\n'
    path.write_text("".join(row.format(at=1000 * i, i=i + 1) for i in range(300)))
    return path


@pytest.fixture(scope="module")
def rates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rates") / "rates.csv"
    path.write_text("minute,requests\n" + "".join(f"{i},{60 + 10 * i}\n" for i in range(30)))
    return path


sources = pytest.mark.parametrize("source", ["recorded", "mooncake", "rates"])


def spec_of(path: Path, **options: object) -> TrafficSpec:
    lengths = LENGTHS if path.name == "rates.csv" else None
    return replace(TrafficSpec(path, lengths=lengths), **options)


@sources
@given(scale=st.floats(0.05, 6), seed=st.integers(0, 1000))
def test_arrivals_ascend_inside_the_window_and_every_request_asks_for_something(
    request: pytest.FixtureRequest, source: str, scale: float, seed: int
) -> None:
    traffic = load(spec_of(request.getfixturevalue(source), scale=scale, seed=seed))

    assert (np.diff(traffic.arrivals_s) >= 0).all()
    assert ((traffic.arrivals_s >= 0) & (traffic.arrivals_s < traffic.duration_s)).all()
    assert traffic.input_tokens.min() >= 1
    assert traffic.output_tokens.min() >= 1


@sources
def test_the_same_specification_is_the_same_traffic(request: pytest.FixtureRequest, source: str) -> None:
    path = request.getfixturevalue(source)
    first, again = load(spec_of(path, scale=2.5)), load(spec_of(path, scale=2.5))
    other = load(spec_of(path, scale=2.5, seed=2))

    assert np.array_equal(first.arrivals_s, again.arrivals_s)
    assert np.array_equal(first.output_tokens, again.output_tokens)
    assert not np.array_equal(first.arrivals_s, other.arrivals_s)


@sources
@given(a=st.floats(0, 1), b=st.floats(0, 1), scale=st.sampled_from([0.5, 1.0, 2.5]))
def test_a_window_holds_exactly_what_the_whole_has_there(
    request: pytest.FixtureRequest, source: str, a: float, b: float, scale: float
) -> None:
    path = request.getfixturevalue(source)
    whole = load(spec_of(path, scale=scale))
    start, end = min(a, b) * whole.duration_s, max(a, b) * whole.duration_s
    inside = (whole.arrivals_s >= start) & (whole.arrivals_s < end)
    if not inside.any():
        return
    part = load(spec_of(path, scale=scale, from_s=start, to_s=end))

    assert np.allclose(part.arrivals_s + start, whole.arrivals_s[inside], atol=1e-9)
    assert np.array_equal(part.output_tokens, whole.output_tokens[inside])
    assert part.duration_s == pytest.approx(end - start)
    assert part.epoch_s == pytest.approx(whole.epoch_s + start)


def test_scale_one_is_the_recording(recorded: Path) -> None:
    traffic = load(TrafficSpec(recorded))

    assert traffic.arrivals_s.tolist() == pytest.approx([2.0 * i for i in range(600)])
    assert traffic.input_tokens.tolist() == list(range(1, 601))
    assert traffic.epoch_s % 86400 == 8 * 3600
    assert traffic.duration_s == 1199  # whole seconds, the last request inside


@given(scale=st.floats(0.05, 0.95), seed=st.integers(0, 1000))
def test_thinning_keeps_requests_whole_and_where_they_were(recorded: Path, scale: float, seed: int) -> None:
    traffic = load(TrafficSpec(recorded, scale=scale, seed=seed))
    row = traffic.input_tokens - 1

    assert np.allclose(traffic.arrivals_s, 2.0 * row)
    assert (traffic.output_tokens == 2 * row + 1).all()
    assert len(np.unique(row)) == traffic.requests
    assert traffic.requests == pytest.approx(600 * scale, abs=6 * np.sqrt(600 * scale * (1 - scale)))


@given(small=st.floats(0.05, 4), factor=st.floats(1, 2), seed=st.integers(0, 100))
def test_a_smaller_scale_is_a_part_of_a_larger_one(recorded: Path, small: float, factor: float, seed: int) -> None:
    """Common random numbers: turning the load up adds requests and moves none."""
    few = load(TrafficSpec(recorded, scale=small, seed=seed))
    many = load(TrafficSpec(recorded, scale=small * factor, seed=seed))
    pairs = set(zip(many.arrivals_s.tolist(), many.input_tokens.tolist(), strict=True))

    assert set(zip(few.arrivals_s.tolist(), few.input_tokens.tolist(), strict=True)) <= pairs


@given(copies=st.integers(2, 7), seed=st.integers(0, 1000))
def test_whole_copies_arrive_near_what_they_were_copied_from(recorded: Path, copies: int, seed: int) -> None:
    traffic = load(TrafficSpec(recorded, scale=copies, seed=seed))
    row = traffic.input_tokens - 1

    assert traffic.requests == 600 * copies
    assert (np.bincount(row) == copies).all()
    assert np.abs(traffic.arrivals_s - 2.0 * row).max() <= JITTER_S
    assert (traffic.output_tokens == 2 * row + 1).all()


def test_copies_keep_the_level_of_every_minute_also_the_first_and_last(recorded: Path) -> None:
    traffic = load(TrafficSpec(recorded, scale=40))
    per_minute = np.bincount((traffic.arrivals_s // 60).astype(int))[:19]

    # 30 requests a minute, 40 times: a copy leaves its minute with one chance in four.
    assert per_minute == pytest.approx(1200, abs=6 * np.sqrt(1200 * 0.25 * 2))


def test_copies_have_fresh_blocks_and_share_among_themselves(mooncake: Path) -> None:
    """Copied users are other users: they must not find the prefixes of the original in the cache."""
    once, thrice = load(TrafficSpec(mooncake)), load(TrafficSpec(mooncake, scale=3))
    assert thrice.block_ids is not None
    assert thrice.block_starts is not None
    assert once.block_ids is not None
    uses = np.sort(np.bincount(thrice.block_ids))

    assert len(np.unique(thrice.block_ids)) == 3 * len(np.unique(once.block_ids))
    assert uses[-3:].tolist() == [300, 300, 300]  # the common first block, once for each copy
    assert (np.diff(thrice.block_starts) == 2).all()


@given(scale=st.floats(0.1, 3), a=st.floats(0, 250), seed=st.integers(0, 50))
def test_block_ids_are_dense_and_belong_to_their_requests(mooncake: Path, scale: float, a: float, seed: int) -> None:
    traffic = load(TrafficSpec(mooncake, scale=scale, from_s=a, seed=seed))
    ids, starts = traffic.block_ids, traffic.block_starts
    assert ids is not None
    assert starts is not None

    assert len(starts) == traffic.requests + 1
    assert starts[-1] == len(ids)
    assert set(np.unique(ids)) == set(range(ids.max() + 1))
    # A request's own second block is the only one of its copy with that answer length.
    own = {}
    for i in range(traffic.requests):
        own.setdefault((int(ids[starts[i]]), int(traffic.output_tokens[i])), set()).add(int(ids[starts[i] + 1]))
    assert all(len(blocks) == 1 for blocks in own.values())


@given(scale=st.floats(0.1, 5))
def test_scale_multiplies_rates(rates: Path, scale: float) -> None:
    traffic = load(spec_of(rates, scale=scale))
    expected = scale * sum(60 + 10 * i for i in range(30))

    assert traffic.requests == pytest.approx(expected, abs=6 * np.sqrt(expected))


def test_a_mean_token_rate_becomes_requests(tmp_path: Path) -> None:
    path = tmp_path / "tokens.csv"
    path.write_text("minute,tokens_per_s\n" + "".join(f"{i},1100\n" for i in range(60)))

    assert load(TrafficSpec(path, lengths=LENGTHS)).requests == pytest.approx(10 * 3600, rel=0.03)


def test_shipped_traffic_is_found_by_its_bare_name() -> None:
    by_name = load(TrafficSpec("azure2023_conv"))
    by_file = load(TrafficSpec("azure2023_conv.csv.gz"))

    assert by_name.requests == by_file.requests == 19_366
    assert by_name.name == "azure2023_conv"
    assert by_name.notes == ("azure2023_conv.csv.gz: read as azure",)


def test_who_gives_no_lengths_is_told_where_they_are_from(rates: Path) -> None:
    traffic = load(TrafficSpec(rates))

    assert traffic.notes[-1] == "lengths: none were given, drawn from the shipped sample azure2023_conv"
    assert traffic.input_tokens.mean() == pytest.approx(1155, rel=0.1)


def test_lengths_are_drawn_from_any_recorded_trace(rates: Path, mooncake: Path) -> None:
    assert set(load(TrafficSpec(rates, lengths=mooncake)).input_tokens.tolist()) == {1024}


def test_means_make_log_normal_lengths(rates: Path) -> None:
    traffic = load(TrafficSpec(rates, isl=3000, osl=300))

    assert traffic.input_tokens.mean() == pytest.approx(3000, rel=0.06)
    assert traffic.output_tokens.std() / traffic.output_tokens.mean() == pytest.approx(1.0, abs=0.15)


def test_a_window_beyond_the_end_is_cut_there_and_said(recorded: Path) -> None:
    traffic = load(TrafficSpec(recorded, from_s=600, to_s=3600))

    assert traffic.duration_s == 599
    assert "cut there" in traffic.notes[-1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"source": "nowhere.csv"}, "no traffic 'nowhere.csv': it is neither a file, nor shipped (azure2023_conv,"),
        ({"format": "parquet"}, "format is 'parquet'; known are azure, mooncake, burstgpt, servegen, rates"),
        ({"format": "mooncake"}, "azure.csv:1: not JSON"),
        ({"format": "burstgpt"}, "a BurstGPT trace has no column TIMESTAMP"),
        ({"format": "rates"}, "azure.csv: a rate table has two columns"),
        ({"scale": 0.0}, "scale is 0; it must be a number above 0"),
        ({"scale": float("nan")}, "scale is nan"),
        ({"scale": -1.0}, "scale is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"dispersion": 8.0}, "dispersion is for rates and generators; azure.csv is recorded"),
        ({"dispersion": 0.0}, "dispersion is 0; a Gamma shape is a number above 0"),
        ({"lengths": LENGTHS}, "recorded with its own lengths"),
        ({"isl": 100.0, "osl": 10.0}, "recorded with its own lengths"),
        ({"isl": 100.0}, "mean lengths come in pairs: osl is missing"),
        ({"isl": 100.0, "osl": 10.0, "lengths": LENGTHS}, "contradict each other"),
        ({"from_s": -1.0}, "must start at 0 or later"),
        ({"from_s": 60.0, "to_s": 60.0}, "the window runs from 60 s to 60 s"),
        ({"from_s": 120.0, "to_s": 60.0}, "end after its start"),
        ({"from_s": 86400.0}, "ends after 20 min"),
        ({"from_s": 0.5, "to_s": 1.0}, "has no requests from 500 ms to 1 s at scale 1"),
        ({"source": "poisson:rate=1/s,duration=1m", "format": "azure"}, "is a generator, not a file"),
        ({"source": "poisson:rate=1/s,duration=1m,isl=5,osl=5", "lengths": LENGTHS}, "gives its own lengths"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(recorded: Path, options: dict[str, object], said: str) -> None:
    with pytest.raises(TrafficError) as caught:
        load(replace(TrafficSpec(recorded), **options))
    assert said in str(caught.value)


def test_lengths_that_say_nothing_of_lengths_are_refused(rates: Path) -> None:
    with pytest.raises(TrafficError, match="which say nothing of lengths"):
        load(TrafficSpec(rates, lengths=rates))


def test_a_file_of_no_known_format_is_told_what_would_be(tmp_path: Path) -> None:
    path = tmp_path / "poem.txt"
    path.write_text("a rose is a rose\n")

    with pytest.raises(TrafficError, match=r"'a rose is a rose', is that of no known format; azure has the columns"):
        load(TrafficSpec(path))


def test_blocks_beyond_32_bits_are_refused() -> None:
    trace = Recorded(np.zeros(1), np.ones(1, np.int32), np.ones(1, np.int32), 0.0, np.array([2**30], np.int32),
                     np.array([0, 1]))  # fmt: skip

    with pytest.raises(TrafficError, match="prefix blocks times 3 copies are more than a run can hold"):
        transformed(trace, 3.0, Window(0, 1), seed=1)
