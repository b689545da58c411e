"""Planner and simulated workers get the same figures: the profile, and the table that workers read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from planner.adapters import profile_files
from planner.local import model
from planner.local.timing import LinearTiming, write_table

TIMING = LinearTiming()


def test_the_profile_is_the_straight_lines_everywhere() -> None:
    """Between its points and beyond them: TTFT by prompt, a step by the KV in use."""
    profile = TIMING.profile("test")

    assert profile.repairs == ()
    for isl in (16, 333, 5_000, 20_000):
        assert profile.prefill.service_s(isl) == pytest.approx(0.010 + 150e-6 * isl, rel=1e-6)
    for sequences, context in ((1, 100), (7, 400), (12, 1_000), (30, 50)):
        expected = 0.010 + 5e-6 * sequences * context
        assert profile.decode.itl_s(sequences, context) == pytest.approx(expected, rel=1e-3)


def test_the_profile_survives_its_file(tmp_path: Path) -> None:
    """The planner reads it from there, with all the doubts that a file is met with."""
    profile = TIMING.profile("test")
    profile_files.save(profile, tmp_path / "profile.json")

    assert profile_files.load(tmp_path / "profile.json") == profile


@pytest.mark.parametrize("name", ["linear", "h200-llama31-8b-fp8-tp1"])
def test_the_table_says_what_the_profile_says(name: str, tmp_path: Path) -> None:
    profile = TIMING.profile("linear") if name == "linear" else profile_files.load(name)
    write_table(profile, tmp_path / "timing.npz")
    with np.load(tmp_path / "timing.npz") as table:
        isl, ttft = table["prefill_isl"], table["prefill_ttft_ms"]
        kv, contexts, itl = (table[key] for key in ("decode_active_kv_tokens", "decode_context_length", "decode_itl"))

    assert itl.shape == (len(kv), len(contexts))
    assert np.interp(1_000.0, isl, ttft) == pytest.approx(1e3 * profile.prefill.service_s(1_000.0), rel=0.01)
    row, column = len(kv) // 2, len(contexts) // 8
    sequences = kv[row] / contexts[column]
    assert itl[row, column] == pytest.approx(1e3 * profile.decode.itl_s(sequences, contexts[column]))
    assert np.all(np.diff(itl, axis=0) >= -1e-9)  # fuller is never faster


def test_one_word_is_one_token(tmp_path: Path) -> None:
    """The client knows how long its prompts are only if this holds."""
    from tokenizers import Tokenizer

    model.write(tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    words = " ".join(f"w{n}" for n in (model.WORDS[0], 777, model.WORDS[-1]))

    assert tokenizer.encode(words).tokens == words.split()
    assert (
        tokenizer.get_vocab_size()
        == model.VOCABULARY
        == json.loads((tmp_path / "config.json").read_text())["vocab_size"]
    )
