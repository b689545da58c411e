"""Profiles in every form they come in, and every way a file can be wrong."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given

from planner.adapters.profile_files import FORMS, ProfileError, from_json, load, save, to_json
from tests.core.profile_worlds import noisy, profile

GOOD = to_json(profile())
TARGETS = {"json": "p.json", "npz": "p", "configmap": "p.yaml"}


def changed(**changes):
    """The good object with top-level keys replaced; ``None`` takes one away."""
    body = {**copy.deepcopy(GOOD), **changes}
    return {key: value for key, value in body.items() if value is not None}


def points(part, **changes):
    """The good points of a part, the first one changed."""
    rows = copy.deepcopy(GOOD[part])
    rows[0].update(changes)
    return {part: rows}


def scaled(part, key, factor):
    return {part: [{**row, key: row[key] * factor} for row in GOOD[part]]}


def problems(body):
    with pytest.raises(ProfileError) as told:
        from_json(body, "bad.json")
    assert str(told.value).startswith("profile bad.json: ")
    return told.value.problems


@given(noisy)
def test_what_is_written_as_json_is_read_back_unchanged(known):
    assert from_json(json.loads(json.dumps(to_json(known)))) == known


@pytest.mark.parametrize("form", FORMS)
def test_every_form_keeps_points_and_provenance(form, tmp_path):
    """Dynamo's forms hold milliseconds: a rounding apart, nothing else may be lost."""
    shipped = replace(load("h200-llama31-8b-fp8-tp1"), prefill_gpus=2, decode_gpus=4)
    save(shipped, tmp_path / TARGETS[form], form)
    again = load(tmp_path / TARGETS[form])

    assert (again.name, again.provenance, again.max_kv_tokens) == (
        shipped.name,
        shipped.provenance,
        shipped.max_kv_tokens,
    )
    assert (again.prefill_gpus, again.decode_gpus) == (2, 4)
    for part in ("prefill", "decode"):
        for before, after in zip(to_json(shipped)[part], to_json(again)[part], strict=True):
            assert after == pytest.approx(before, rel=1e-15)


def test_the_shipped_profile_is_the_published_measurement(shared):
    """Figure by figure, as NVIDIA Dynamo publishes it."""
    origin = load(shared / "profiles" / "h200_llama31_8b_fp8_tp1")
    shipped = load("h200-llama31-8b-fp8-tp1")

    assert shipped.prefill_points == origin.prefill_points
    assert shipped.decode_points == origin.decode_points
    assert shipped.max_kv_tokens == origin.max_kv_tokens
    assert shipped.provenance.licence == "Apache-2.0"
    assert "ai-dynamo/dynamo" in shipped.provenance.source


def test_dynamo_finds_what_is_written_for_it(tmp_path):
    """Its planner opens these two files, and int() of max_kv_tokens in the ConfigMap's text."""
    save(profile(), tmp_path, "npz")
    with np.load(tmp_path / "selected_prefill_interpolation" / "raw_data.npz") as arrays:
        assert sorted(arrays) == ["prefill_isl", "prefill_thpt_per_gpu", "prefill_ttft"]
        assert arrays["prefill_ttft"] == pytest.approx([1e3 * p.ttft_s for p in profile().prefill_points])
    with np.load(tmp_path / "selected_decode_interpolation" / "raw_data.npz") as arrays:
        assert arrays["max_kv_tokens"].tolist() == [10_000_000]

    save(profile(), tmp_path / "map.yaml", "configmap")
    texts = yaml.safe_load((tmp_path / "map.yaml").read_text())["data"]
    assert json.loads(texts["decode_raw_data.json"])["max_kv_tokens"] == 10_000_000


def test_what_dynamo_itself_wrote_is_read(tmp_path):
    """Its own folders, without our note beside them: the figures are there, their origin is not known."""
    save(profile(), tmp_path, "npz")
    for ours in ("profile.json", "prefill_raw_data.npz", "decode_raw_data.npz"):
        (tmp_path / ours).unlink()
    known = load(tmp_path)

    assert known.decode_points == pytest.approx(profile().decode_points)
    assert (known.name, known.provenance.model, known.decode_gpus) == (tmp_path.name, "unknown", 1)


def test_a_mounted_config_map_is_read(tmp_path):
    """In a pod it is a directory with a file for each key."""
    save(profile(), tmp_path / "map.yaml", "configmap")
    for name, text in yaml.safe_load((tmp_path / "map.yaml").read_text())["data"].items():
        (tmp_path / name).write_text(text)

    assert load(tmp_path).prefill_points == pytest.approx(profile().prefill_points)


def test_one_number_of_gpus_is_for_both_roles():
    assert from_json(changed(gpus_per_replica=2)).gpus("prefill") == 2
    assert from_json(changed(gpus_per_replica=2)).gpus("decode") == 2


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ([1, 2], "expected an object with schema 'sla-planner/profile.v1', found list"),
        (changed(schema=None), "schema is None; this version reads 'sla-planner/profile.v1'"),
        (changed(schema="sla-planner/profile.v2"), "schema is 'sla-planner/profile.v2'; this version reads"),
        (changed(prefil=[]), "unknown key 'prefil'; known are schema, name,"),
        (changed(max_kv_tokens=None), "missing key 'max_kv_tokens'"),
        (changed(max_kv_tokens=float("nan")), "max_kv_tokens is nan; it must be a number above 0"),
        (changed(max_kv_tokens="945k"), "max_kv_tokens is '945k'; it must be a number above 0"),
        (changed(prefill={}), "prefill is {}; it must be a list of points with isl, ttft_s"),
        (changed(prefill=GOOD["prefill"][:1]), "prefill has 1 prompt lengths; at least 2 are needed"),
        (changed(prefill=GOOD["prefill"][:1] * 2), "prefill: ISL 128 is there 2 times; give each length once"),
        (changed(decode=GOOD["decode"][:3]), "decode has 3 points; at least 4 are needed"),
        (changed(decode=GOOD["decode"][:4]), "decode has a single context length; at least 2 are needed"),
        (changed(**points("prefill", ttft_s=float("nan"))), "prefill[0].ttft_s is nan; it must be a number"),
        (changed(**points("prefill", isl=-5)), "prefill[0].isl is -5; it must be a number of at least 0"),
        (changed(**points("prefill", isl=0)), "prefill[0].isl is 0; it must be above 0"),
        (changed(**points("prefill", ttft_s=True)), "prefill[0].ttft_s is True; it must be a number"),
        (changed(**points("decode", itl_s=None)), "decode[0].itl_s is None; it must be a number"),
        (changed(**points("decode", itl_ms=4.0)), "decode[0]: unknown key 'itl_ms'; known are kv_usage"),
        (changed(prefill=[{"isl": 5.0}, *GOOD["prefill"]]), "prefill[0]: missing 'ttft_s'"),
        (changed(decode=["x", *GOOD["decode"]]), "decode[0] is 'x'; it must be an object with kv_usage"),
        (changed(**scaled("prefill", "ttft_s", 1e3)), "ttft_s starts at 21.9282: seconds are expected, this looks"),
        (changed(**scaled("prefill", "ttft_s", 1e-3)), "1000 times quicker than its throughput says"),
        (changed(**scaled("decode", "itl_s", 1e3)), "itl_s starts at 4.055: seconds are expected, this looks"),
        (changed(**scaled("decode", "itl_s", 1e-3)), "1000 times quicker than its throughput says"),
        (changed(**scaled("decode", "kv_usage", 100)), "kv_usage reaches 3.6: a share from 0 to 1 is expected"),
        (changed(gpus_per_replica=0), "gpus_per_replica of decode is 0; it must be a whole number of at least 1"),
        (changed(gpus_per_replica={"prefill": 1}), "gpus_per_replica of decode is None; it must be a whole number"),
        (changed(gpus_per_replica={"prefill": 1, "decode": 1, "agg": 1}), "gpus_per_replica: unknown key 'agg'; known"),
        (changed(provenance="me"), "provenance is 'me'; it must be an object with model, gpu, engine"),
        (changed(provenance={"model": "m", "gpu": "g"}), "provenance: missing 'engine'"),
        (changed(provenance={**GOOD["provenance"], "gpus": "x"}), "provenance: unknown key 'gpus'; known are mod"),
        (changed(provenance={**GOOD["provenance"], "date": 2025}), "provenance.date is 2025; it must be text"),
        (changed(provenance={**GOOD["provenance"], "measured": "yes"}), "must be true (measured) or false (est"),
    ],
)  # fmt: skip
def test_a_bad_profile_says_what_would_be_right(body, sentence):
    assert any(sentence in problem for problem in problems(body)), problems(body)


def test_a_single_batch_size_is_refused():
    """KV usage that is proportional to context is one batch size, whatever it looks like."""
    rows = [{**GOOD["decode"][0], "context_tokens": c, "kv_usage": 8 * c / 1e7} for c in (100.0, 200.0, 300.0, 400.0)]

    assert problems(changed(decode=rows)) == ("decode has a single batch size; at least 2 are needed to tell what a "
                                              "sequence costs",)  # fmt: skip


def test_all_problems_of_a_file_are_told_at_once():
    body = changed(max_kv_tokens=0, gpus_per_replica=0, **points("prefill", ttft_s=-1), **points("decode", itl_s=0))

    told = problems(body)
    assert len(told) == 5  # two of them the GPUs of both roles
    with pytest.raises(ProfileError, match=r"5 problems:\n(.*\n)*  max_kv_tokens is 0"):
        from_json(body)


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(ProfileError, match=r"h100-nothing: there is no such file .* shipped: h200-llama31-8b-fp8-tp1"):
        load("h100-nothing")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("p.json", b'{"schema": \n nope}', r"p\.json:2: not JSON"),
        ("p.yaml", b"a: [1, 2", r"p\.yaml: not YAML"),
        ("p.json", b"[" * 100_000, r"p\.json: nested too deeply"),
        ("p.yaml", b"[" * 100_000, r"p\.yaml: nested too deeply"),
        ("p.npz", b"PK\x03\x04\xff\xfe", r"p\.npz: not a text file; of Dynamo's npz files give the directory"),
        ("p.bin", b"\xff\xfe\x00", r"p\.bin: not a text file$"),
        ("m.yaml", b"kind: ConfigMap\ndata: {other: x}", r"has no prefill_raw_data\.json in its data; it has other"),
        ("m.yaml", b"kind: ConfigMap", r"it has nothing"),
        ("m.yaml", b"kind: ConfigMap\ndata: {prefill_raw_data.json: '{', decode_raw_data.json: '{}'}",
         r"m\.yaml \(prefill_raw_data\.json\): not JSON"),
    ],
)  # fmt: skip
def test_a_file_that_is_none_says_so(name, content, sentence, tmp_path):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ProfileError, match=sentence):
        load(tmp_path / name)


def test_a_file_that_may_not_be_read_says_so(tmp_path):
    (tmp_path / "dir.json").mkdir()

    with pytest.raises(ProfileError, match=r"the directory holds none of prefill_raw_data\.npz"):
        load(tmp_path / "dir.json")


def arrays(directory: Path, part: str, **changes: object) -> Path:
    """A directory of good npz files with some arrays of a part changed; ``None`` takes one away."""
    save(profile(), directory, "npz")
    file = directory / f"{part}_raw_data.npz"
    with np.load(file) as found:
        both = {**{key: found[key] for key in found}, **changes}
    np.savez(file, **{key: np.asarray(value) for key, value in both.items() if value is not None})
    return directory


@pytest.mark.parametrize(
    ("part", "changes", "sentence"),
    [
        ("prefill", {"prefill_ttft": None}, "missing array 'prefill_ttft'"),
        ("decode", {"max_kv_tokens": None}, "missing array 'max_kv_tokens'"),
        (
            "decode",
            {"z_itl": [4.0, 5.0]},
            "arrays of decode differ in length: x_kv_usage 8, y_context_length 8, z_itl 2",
        ),
        ("prefill", {"prefill_isl": ["a", "b", "c", "d"]}, "array 'prefill_isl' does not hold numbers only"),
        ("decode", {"z_itl": [float("nan")] * 8}, r"decode\[0\].itl_s is nan"),
        ("prefill", {"prefill_ttft": [0.02, 0.03, 0.05, 0.2]}, "times quicker than its throughput says"),
    ],
)
def test_bad_arrays_are_told_by_name(part, changes, sentence, tmp_path):
    """The last case: seconds where Dynamo writes milliseconds."""
    with pytest.raises(ProfileError, match=sentence):
        load(arrays(tmp_path, part, **changes))


def test_npz_files_that_are_none_or_hold_objects_are_refused(tmp_path):
    """Nothing is unpickled, ever."""
    save(profile(), tmp_path, "npz")
    np.savez(tmp_path / "decode_raw_data.npz", z_itl=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ProfileError, match=r"decode_raw_data\.npz: not an npz file of numbers"):
        load(tmp_path)

    (tmp_path / "prefill_raw_data.npz").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(ProfileError, match=r"prefill_raw_data\.npz: not an npz file of numbers"):
        load(tmp_path)


def test_an_unknown_form_is_refused(tmp_path):
    with pytest.raises(ValueError, match="form 'csv' is none of json, npz, configmap"):
        save(profile(), tmp_path / "p.csv", "csv")
