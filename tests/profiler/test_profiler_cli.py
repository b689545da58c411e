"""The profiler's commands, as people and programs call them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from planner.adapters.profile_files import load, save
from profiler.cli import main
from tests.core.profile_worlds import profile

H200 = "h200-llama31-8b-fp8-tp1"


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def answer(*arguments):
    done = run(*arguments, "--json", "-")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_show_tells_where_a_profile_is_from_and_what_was_repaired():
    told = answer("show", H200)

    assert told["schema"] == "sla-planner/profile-summary.v1"
    assert told["provenance"]["licence"] == "Apache-2.0"
    assert told["range"]["isl"] == [100.0, 16_372.0]
    assert told["points"] == {"prefill": 17, "decode": 41}
    assert len(told["repairs"]) == 3


def test_the_tables_for_people_hold_the_points_and_the_repairs():
    shown = run("show", H200).stdout

    for text in ("Apache-2.0", "16,372", "44,253", "3 repaired", "788 sequences", "945,029 tokens"):
        assert text in shown


def test_a_profile_without_contradictions_says_so(tmp_path):
    save(profile(), tmp_path / "p.json")

    assert "no point contradicts another" in run("show", tmp_path / "p.json").stdout


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Run once and as people do, in a process of its own: (table, JSON object)."""
    file = tmp_path_factory.mktemp("fit") / "fit.json"
    command = [sys.executable, "-m", "profiler.cli", "fit", H200, "--json", file]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "120"})
    return done.stdout, json.loads(file.read_text())


def test_fit_says_how_well_each_model_fits_the_real_profile(fitted):
    """The figures of docs/results.md; the peer's cubic is off by three times at a point it has not seen."""
    _, told = fitted
    decode = {m["model"]: m for m in told["decode"]}
    monotone, cubic, step = decode["monotone (slo)"], decode["cubic grid (classic)"], decode["a + b·n + c·kv (plant)"]

    assert told["schema"] == "sla-planner/fit.v1"
    assert step["at_points"]["mean"] < 0.04
    assert monotone["at_points"]["mean"] < 0.002  # it goes through the points, repairs apart
    assert monotone["left_out"]["mean"] < step["left_out"]["mean"] < cubic["left_out"]["mean"]
    assert cubic["left_out"]["largest"] > 3.0
    assert step["coefficients"] == pytest.approx(
        {"base_s": 4.38e-3, "per_sequence_s": 3.77e-5, "per_kv_token_s": 3.04e-8}, rel=0.01
    )
    assert [m["model"] for m in told["prefill"]] == ["monotone (slo)", "cubic (classic)", "quadratic in ISL"]
    assert max(m["left_out_inner"]["mean"] for m in told["prefill"]) < 0.05


def test_the_fit_is_shown_as_a_table_and_written_for_programs_at_once(fitted):
    table, told = fitted

    worst = told["decode"][1]["left_out"]
    assert told["profile"] == H200
    assert "left out" in table
    assert f"{worst['mean']:.1%}" in table
    assert worst["where"] in table


def test_pictures_are_written(tmp_path):
    done = run("show", H200, "--plot", tmp_path / "new" / "plots", "--json", "-")

    assert done.exit_code == 0
    for name in ("prefill.png", "decode.png"):
        assert (tmp_path / "new" / "plots" / name).read_bytes().startswith(b"\x89PNG")
        assert name in done.stderr


@pytest.mark.parametrize(("target", "form"), [("p.json", None), ("p.yaml", None), ("folder", None), ("p.txt", "json")])
def test_convert_writes_the_form_that_the_name_suggests_or_that_is_asked_for(target, form, tmp_path):
    done = run("convert", H200, tmp_path / target, *(["--to", form] if form else []))

    assert done.exit_code == 0, done.output
    assert "17 prefill and 41 decode points" in done.stdout
    assert load(tmp_path / target).provenance == load(H200).provenance


def test_convert_notes_what_dynamo_does_not_say(tmp_path):
    """Its files name neither model nor GPU nor how many GPUs a replica has."""
    save(profile(), tmp_path / "raw", "npz")
    (tmp_path / "raw" / "profile.json").unlink()
    done = run("convert", tmp_path / "raw", tmp_path / "p.json", "--name", "mine", "--model", "m", "--gpu", "L4",
               "--engine", "vLLM", "--engine-version", "0.11", "--estimated", "--decode-gpus", "2")  # fmt: skip
    known = load(tmp_path / "p.json")

    assert done.exit_code == 0, done.output
    assert (known.name, known.provenance.model, known.provenance.gpu) == ("mine", "m", "L4")
    assert (known.provenance.engine_version, known.provenance.measured) == ("0.11", False)
    assert (known.gpus("prefill"), known.gpus("decode")) == (1, 2)


def test_convert_overwrites_only_when_told(tmp_path):
    target = tmp_path / "p.json"
    target.write_text("precious")
    refused = run("convert", H200, target)

    assert refused.exit_code == 2
    assert "--force overwrites it" in refused.stderr
    assert target.read_text() == "precious"
    assert run("convert", H200, target, "--force").exit_code == 0
    assert load(target).name == H200


@pytest.mark.parametrize("command", ["show", "fit"])
def test_a_profile_that_is_not_there_is_bad_input(command):
    done = run(command, "h100-nothing")

    assert done.exit_code == 2
    assert "shipped: h200-llama31-8b-fp8-tp1" in done.stderr


def test_a_missing_library_is_named_with_how_to_get_it(tmp_path):
    """In an installation without extras; here a numba that cannot be imported stands for it."""
    (tmp_path / "numba.py").write_text("raise ModuleNotFoundError('No module named numba', name='numba')")
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.pathsep.join(sys.path)}"}
    done = subprocess.run([sys.executable, "-m", "profiler.cli", "fit", H200], env=env, capture_output=True, text=True)

    assert done.returncode == 3
    assert "this needs numba, which is not installed: pip install 'sla-planner[simulate]'" in done.stderr
