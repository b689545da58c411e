"""Recorded traces: what is read, what is refused with its line, and what failed requests become."""

from __future__ import annotations

import json

import numpy as np
import pytest

from planner.simulation.traffic.errors import TrafficError
from planner.simulation.traffic.recorded import read_azure, read_burstgpt, read_mooncake

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
BURSTGPT = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"


def mooncake(*rows: dict[str, object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def asked(at_ms: float, isl: int, osl: int, *blocks: int) -> dict[str, object]:
    return {"timestamp": at_ms, "input_length": isl, "output_length": osl, "hash_ids": list(blocks)}


def test_azure_rows_keep_their_time_of_day_and_their_tenth_of_a_microsecond(write) -> None:
    path = write("azure.csv", AZURE + "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n")
    trace = read_azure(path)

    assert trace.at_s.tolist() == pytest.approx([0.0, 4.314579], abs=1e-9)
    assert trace.input_tokens.tolist() == [374, 396]
    assert trace.output_tokens.tolist() == [44, 109]
    assert trace.epoch_s % 86400 == pytest.approx(18 * 3600 + 15 * 60 + 46.68059, abs=1e-6)
    assert trace.block_ids is None


def test_burstgpt_failures_are_left_out_and_counted(write) -> None:
    """A request with no answer asks for no decoding; replaying it would be load that never was."""
    path = write("b.csv", BURSTGPT + "5,ChatGPT,472,18,490,Conversation log\n"
                 "45,GPT-4,300,0,300,API log\n118.5,GPT-4,417,276,693,Conversation log\n")  # fmt: skip
    trace = read_burstgpt(path)

    assert trace.at_s.tolist() == [0.0, 113.5]
    assert trace.output_tokens.tolist() == [18, 276]
    assert trace.epoch_s == 5.0
    assert trace.notes == ("1 of 3 rows have 0 input or output tokens (failed requests) and are left out",)


def test_burstgpt_files_with_sessions_are_read_too(write) -> None:
    header = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    path = write("b3.csv", header + "5,,1.5,ChatGPT,472,18,490,Conversation log\n")

    assert read_burstgpt(path).input_tokens.tolist() == [472]


def test_mooncake_blocks_are_renumbered_densely_and_stay_shared(write) -> None:
    path = write("m.jsonl", mooncake(asked(0, 1000, 5, 900, 17), asked(1500, 600, 7, 900, 44), asked(1500, 0, 7)))
    trace = read_mooncake(path)

    assert trace.at_s.tolist() == [0.0, 1.5]
    assert trace.block_ids is not None
    assert trace.block_starts is not None
    assert trace.block_ids.tolist() == [0, 1, 0, 2]
    assert trace.block_starts.tolist() == [0, 2, 4]
    assert trace.block_tokens == 512
    assert len(trace.notes) == 1  # the empty request


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("2023-11-16 18:15:46,5,5\n2023-11-16 18:15:45,5,5\n", r"a\.csv:3: TIMESTAMP is earlier than on line 2"),
        ("2023-11-16 18:15:46,5,-5\n", r"a\.csv:2: GeneratedTokens is '-5'"),
        ("2023-11-16 18:15:46,5\n", r"a\.csv:2: 2 fields"),
        ("2023-11-16 18:15:46,NaN,5\n", r"a\.csv:2: ContextTokens is 'NaN'"),
        ("2023-11-16 18:15:46,0,5\n", r"all 1 requests ask for no tokens"),
        ("", r"a\.csv has a header but no requests"),
    ],
)
def test_a_broken_azure_trace_is_refused(write, rows: str, said: str) -> None:
    with pytest.raises(TrafficError, match=said):
        read_azure(write("a.csv", AZURE + rows))


def test_time_that_runs_backwards_between_blocks_is_seen(write) -> None:
    rows = ["2023-11-16 18:15:46,5,5"] * 65_535 + ["2023-11-16 18:15:45,5,5"]

    with pytest.raises(TrafficError, match=r"a\.csv:65537: TIMESTAMP is earlier than on line 65536"):
        read_azure(write("a.csv", AZURE + "\n".join(rows)))


def test_columns_that_no_azure_trace_has_are_refused(write) -> None:
    with pytest.raises(TrafficError, match="an Azure trace has no column Images"):
        read_azure(write("a.csv", "TIMESTAMP,ContextTokens,GeneratedTokens,Images\n"))
    with pytest.raises(TrafficError, match="no column GeneratedTokens"):
        read_azure(write("a.csv", "TIMESTAMP,ContextTokens\n1,2\n"))


FULL = asked(0, 1000, 5, 1, 2)


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({**FULL, "timestamp": -1}, r"timestamp is -1; it must be milliseconds from 0"),
        ({**FULL, "timestamp": True}, r"timestamp is True"),
        ({**FULL, "input_length": -1}, r"input_length is -1; it must be a whole number"),
        ({**FULL, "output_length": 1.5}, r"output_length is 1\.5"),
        ({**FULL, "output_length": 2**31}, r"output_length is 2147483648"),
        ({**FULL, "hash_ids": []}, r"0 hash_ids for 1000 input tokens: 2 blocks of 512 are due"),
        ({**FULL, "hash_ids": [1, 2, 3]}, r"3 hash_ids for 1000"),
        ({**FULL, "hash_ids": [1, "2"]}, r"hash_ids must be a list of whole numbers"),
        ({**FULL, "extra": 1}, r"unknown field extra"),
        ({"timestamp": 0, "input_length": 5}, r"no field output_length, hash_ids"),
        ([1, 2], r"list where a JSON object is due"),
    ],
)
def test_a_broken_mooncake_row_is_named(write, second: object, said: str) -> None:
    path = write("m.jsonl", json.dumps(FULL) + "\n" + json.dumps(second) + "\n")

    with pytest.raises(TrafficError, match=r"m\.jsonl:2: " + said):
        read_mooncake(path)


def test_mooncake_time_that_runs_backwards_is_named(write) -> None:
    path = write("m.jsonl", mooncake(asked(10, 1000, 5, 1, 2), asked(9, 1000, 5, 1, 2)))

    with pytest.raises(TrafficError, match=r"m\.jsonl:2: timestamp 9 is earlier than 10"):
        read_mooncake(path)


@pytest.mark.parametrize("line", ["{", '{"timestamp": NaN', "\udc80"])
def test_a_line_that_is_no_json_is_named(write, tmp_path, line: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes((json.dumps(FULL) + "\n" + line).encode("utf-8", "surrogateescape"))

    with pytest.raises(TrafficError, match=r"m\.jsonl:2: not JSON"):
        read_mooncake(path)


def test_a_timestamp_that_is_not_a_number_is_refused(write) -> None:
    line = '{"timestamp": NaN, "input_length": 1, "output_length": 1, "hash_ids": []}'

    with pytest.raises(TrafficError, match="timestamp is nan"):
        read_mooncake(write("m.jsonl", line))


def test_an_empty_mooncake_trace_is_refused(write) -> None:
    with pytest.raises(TrafficError, match="is empty"):
        read_mooncake(write("m.jsonl", ""))


def test_lengths_are_kept_in_32_bits(write) -> None:
    """A day of 14 million requests must fit beside the plant."""
    trace = read_azure(write("a.csv", AZURE + "2023-11-16 18:15:46,5,5\n"))

    assert trace.input_tokens.dtype == trace.output_tokens.dtype == np.int32


def test_a_trace_may_hash_full_blocks_only(write) -> None:
    """Engines cache full blocks; a trace that leaves out the last, partial one says the same."""
    trace = read_mooncake(write("m.jsonl", mooncake(asked(0, 1000, 5, 1))))

    assert trace.block_starts is not None
    assert trace.block_starts.tolist() == [0, 1]
