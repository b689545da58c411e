"""Trace files are read whatever packs them, and every damaged line is named."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from planner.simulation.traffic.columns import Kind, read_rows
from planner.simulation.traffic.errors import TrafficError
from planner.simulation.traffic.files import blocks, first_line

TEXT = b"a,b\n1,2\n3,4\n"


def lines_of(path: Path, lines_per_block: int = 2) -> list[bytes]:
    return [line for block in blocks(path, lines_per_block) for line in block.lines]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
def test_compression_is_told_by_content_not_by_name(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"  # never .gz: people rename files
    path.write_bytes(pack(TEXT))

    assert lines_of(path) == [b"a,b", b"1,2", b"3,4"]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_files_joined_after_packing_are_read_to_the_end(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "joined"
    path.write_bytes(pack(b"1\n2\n") + pack(b"3\n"))

    assert lines_of(path) == [b"1", b"2", b"3"]


def test_windows_line_ends_and_a_byte_order_mark_are_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "from-a-spreadsheet.csv"
    path.write_bytes(b"\xef\xbb\xbfa,b\r\n1,2\r\n\r\n")

    assert lines_of(path) == [b"a,b", b"1,2"]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(1, 10))
def test_blocks_hold_every_line_once_and_know_its_number(
    tmp_path_factory: pytest.TempPathFactory, digits: list[int], lines_per_block: int
) -> None:
    path = tmp_path_factory.mktemp("blocks") / "lines"
    path.write_text("".join(f"{digit}\n" for digit in digits))
    found = {
        block.first_line + i: line for block in blocks(path, lines_per_block) for i, line in enumerate(block.lines)
    }

    assert found == {number: b"%d" % digit for number, digit in enumerate(digits, start=1)}


def test_a_blank_line_inside_is_a_missing_row(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(b"a,b\n1,2\n\n3,4\n")

    with pytest.raises(TrafficError, match=r"trace\.csv:3: an empty line"):
        lines_of(path)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_a_download_that_broke_off_is_said_to_be_cut_short(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "half"
    whole = pack("".join(f"{i * 7919 % 10007},{i}\n" for i in range(5000)).encode())
    path.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(TrafficError, match="half is damaged or cut short"):
        lines_of(path)


def test_damaged_compression_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "flipped.gz"
    packed = bytearray(gzip.compress(TEXT * 100))
    packed[len(packed) // 2] ^= 0xFF
    path.write_bytes(packed)

    with pytest.raises(TrafficError, match=r"flipped\.gz is damaged"):
        lines_of(path)


def test_a_missing_or_empty_file_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.touch()

    with pytest.raises(TrafficError, match=r"nowhere\.csv cannot be read: No such file"):
        lines_of(tmp_path / "nowhere.csv")
    with pytest.raises(TrafficError, match=r"empty\.csv is empty"):
        first_line(empty)


KINDS = {"when": Kind.TIME, "count": Kind.COUNT, "rate": Kind.NUMBER}
GOOD = "when,count,rate\n2024-05-12 00:00:01,5,0.5\n"


def table(tmp_path: Path, text: str) -> dict[str, np.ndarray]:
    path = tmp_path / "table.csv"
    path.write_text(text)
    parts = list(read_rows(path, KINDS))
    return {name: np.concatenate([part.columns[name] for part in parts]) for name in KINDS}


def test_columns_are_found_by_name_in_any_order(tmp_path: Path) -> None:
    found = table(tmp_path, "other,rate,when,count\nx,0.5,2024-05-12 00:00:01,5\ny,1e3,2024-05-12 00:00:02,6\n")

    assert found["count"].tolist() == [5, 6]
    assert found["rate"].tolist() == [0.5, 1000.0]
    assert np.diff(found["when"]).tolist() == [1_000_000_000]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("2024-05-12 00:00:01,5", r":2: 2 fields where the table has 3"),
        ("2024-05-12 00:00:01,5,0.5,9", r":2: 4 fields where the table has 3"),
        ("2024-05-12 00:00:01,-5,0.5", r":2: count is '-5'; it must be a whole number from 0"),
        ("2024-05-12 00:00:01,5.0,0.5", r":2: count is '5\.0'"),
        ("2024-05-12 00:00:01,5_0,0.5", r":2: count is '5_0'"),
        ("2024-05-12 00:00:01,,0.5", r":2: count is missing"),
        ("2024-05-12 00:00:01,3000000000,0.5", r":2: count is '3000000000'"),
        ("2024-05-12 00:00:01,99999999999999999999,0.5", r":2: count is '9{20}'"),
        ("2024-05-12 00:00:01,5,nan", r":2: rate is 'nan'; it must be a number from 0"),
        ("2024-05-12 00:00:01,5,inf", r":2: rate is 'inf'"),
        ("2024-05-12 00:00:01,5,-0.1", r":2: rate is '-0\.1'"),
        ("2024-05-12 00:00:01,5,much", r":2: rate is 'much'"),
        ("12,5,0.5", r":2: when is '12'; it must be a date and time"),
        ("2024-13-12 00:00:01,5,0.5", r":2: when is '2024-13-12 00:00:01'"),
        ("tomorrow,5,0.5", r":2: when is 'tomorrow'"),
    ],
)
def test_a_bad_cell_is_named_with_its_line_and_value(tmp_path: Path, row: str, said: str) -> None:
    with pytest.raises(TrafficError, match=r"table\.csv" + said):
        table(tmp_path, f"when,count,rate\n{row}\n")


def test_the_line_of_a_bad_cell_is_right_far_into_a_file(tmp_path: Path) -> None:
    """Lines are parsed in blocks; numbering must survive them."""
    rows = ["2024-05-12 00:00:01,5,0.5"] * 70_000
    rows[66_000] = "2024-05-12 00:00:01,five,0.5"

    with pytest.raises(TrafficError, match=r"table\.csv:66002: count is 'five'"):
        table(tmp_path, "\n".join(["when,count,rate", *rows]))


def test_missing_and_doubled_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(TrafficError, match=r"no column rate; the header is when, count"):
        table(tmp_path, "when,count\n")
    with pytest.raises(TrafficError, match=r"two columns have the same name"):
        table(tmp_path, "when,count,rate,rate\n")


@pytest.mark.parametrize(
    ("written", "utc"),
    [
        ("2024-05-12 02:00:00", "2024-05-12T02:00:00"),
        ("2024-05-12T02:00:00.25Z", "2024-05-12T02:00:00.25"),
        ("2024-05-12 02:00:00.1234567", "2024-05-12T02:00:00.1234567"),
        ("2024-05-12 02:00:00+00:00", "2024-05-12T02:00:00"),
        ("2024-05-12T02:00:00+08:00", "2024-05-11T18:00:00"),
        ("2024-05-12T02:00:00.5-0530", "2024-05-12T07:30:00.5"),
        ("2024-05-12", "2024-05-12T00:00:00"),
    ],
)
def test_times_are_utc_unless_they_say_otherwise(tmp_path: Path, written: str, utc: str) -> None:
    found = table(tmp_path, f"when,count,rate\n{written},1,1\n2024-05-13 00:00:00,1,1\n")

    assert found["when"][0] == np.datetime64(utc, "ns").astype(np.int64)


def test_times_of_many_zones_in_one_file_are_each_their_own(tmp_path: Path) -> None:
    """The fast way is for files with one zone; it must not be taken for others."""
    zones = ["", "Z", "+00:00", "+02:00", "-0200"]
    rows = "".join(f"2024-05-12 12:00:00{zone},1,1\n" for zone in zones)
    hours = table(tmp_path, "when,count,rate\n" + rows)["when"] // 3_600_000_000_000 % 24

    assert hours.tolist() == [12, 12, 12, 10, 14]
