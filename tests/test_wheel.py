"""What is installed is what was developed: data found by name, commands that run, outside the checkout."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from planner.cli import EXTRAS

LOAD = ["--profile", "h200-llama31-8b-fp8-tp1", "--rate", "12/s", "--isl", "3000", "--osl", "300"]
PROMISE = ["--ttft", "500ms", "--itl", "25ms"]


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=checkout, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel in it; libraries come from the environment of the tests."""
    folder = tmp_path_factory.mktemp("elsewhere")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(installed: Path, *args: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, "-P", *args], cwd=installed.parent, env=environment, capture_output=True, text=True
    )


def test_the_installed_package_is_the_one_that_runs(installed: Path) -> None:
    found = run(installed, "-c", "import planner; print(planner.__file__)")

    assert Path(found.stdout.strip()).is_relative_to(installed)


def test_shipped_files_are_found_by_name(installed: Path) -> None:
    code = (
        "from planner import resources\n"
        "for kind in ('profiles', 'scenarios', 'traffic', 'local'):\n"
        "    for name in resources.names(kind):\n"
        "        print(resources.path(kind, name))"
    )
    found = run(installed, "-c", code)
    paths = [Path(line) for line in found.stdout.splitlines()]

    assert {"h200-llama31-8b-fp8-tp1.json", "demo.yaml", "envoy.yaml"} <= {path.name for path in paths}
    assert all(path.is_relative_to(installed) for path in paths)


def test_size_runs_outside_the_checkout(installed: Path) -> None:
    found = run(installed, "-m", "planner", "size", *LOAD, *PROMISE, "--json", "-")

    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["pools"].keys() == {"prefill", "decode"}


def test_size_needs_the_base_alone(installed: Path) -> None:
    """Libraries of the extras are hidden: a small installation must not find out at run time that it is too small."""
    hidden = sorted({library for libraries in EXTRAS.values() for library in libraries})
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({hidden!r}))\n"
        "from planner.cli import main\n"
        f"main({['size', *LOAD, *PROMISE, '--json', '-']!r})"
    )
    found = run(installed, "-c", code)

    assert found.returncode == 0, found.stderr


def test_a_shipped_scenario_runs_outside_the_checkout(installed: Path) -> None:
    static = ["--law", "static", "--replicas", "prefill=6,decode=3"]
    found = run(installed, "-m", "planner", "simulate", "demo", "--to", "2m", *static, "--json", "-")

    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["requests"] > 0


def test_the_wheel_holds_the_packages_the_data_and_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"planner", "predictors", "profiler"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.endswith("licenses/NOTICE") for name in names)


def test_the_lock_is_hashes_and_names_without_addresses(checkout: Path) -> None:
    """CI installs from the lock alone, from whatever index it is given."""
    lock = (checkout / "requirements.lock").read_text()
    pinned = re.findall(r"^[a-z0-9._-]+==.*?(?=^[a-z0-9._-]+==|\Z)", lock, re.MULTILINE | re.DOTALL)

    assert "://" not in lock
    assert all("--hash=sha256:" in entry for entry in pinned)


def test_the_lock_pins_everything_that_is_asked_for(checkout: Path) -> None:
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {re.split(r"[\[<>=]", one)[0].lower() for one in wanted} - {"sla-planner"}
    lock = (checkout / "requirements.lock").read_text()

    assert names <= set(re.findall(r"^([a-z0-9._-]+)==", lock, re.MULTILINE))
