"""Installs the parts of the local stack into an environment of their own, and finds them again.

Wheels come from a lock with hashes and without addresses; pip's own settings say from where. Prometheus is a
package of the system: we say how to get it.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from planner import resources
from planner.local.errors import StackError

Tell = Callable[[str, float], None]
"""What is going on, and the share that is done, 0 … 1."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs that the stack is started from."""

    python: Path  # with ai-dynamo
    envoy: Path
    prometheus: Path


def home() -> Path:
    """Where the wheels go."""
    return resources.stack_home()


def lock() -> Path:
    """The lock that the wheels are installed from."""
    return resources.path("local", "requirements.lock")


def is_installed(folder: Path) -> bool:
    """Whether what the lock says is there."""
    try:
        return (folder / _MARK).read_text() == _digest()
    except OSError:
        return False


def install(folder: Path, tell: Tell = lambda what, share: None) -> None:
    """Make the environment in ``folder``; nothing is done when it is there.

    Raises:
        StackError: this machine has no wheels to offer, or pip failed; with pip's own words.
    """
    if is_installed(folder):
        return
    if not sys.platform.startswith("linux"):
        raise StackError(f"ai-dynamo has wheels for Linux only, this is {sys.platform}")
    tell("making a virtual environment", 0.0)
    if not (folder / "bin" / "pip").exists():
        _make_environment(folder)
    _pip_install(folder, tell)
    (folder / _MARK).write_text(_digest())


def tools(folder: Path, prometheus: Path | None = None) -> Tools:
    """The programs of the stack.

    Raises:
        StackError: the wheels are not installed, or there is no Prometheus; with how to get it.
    """
    if not is_installed(folder):
        raise StackError(f"the parts of the stack are not installed in {folder}: planner demo installs them")
    envoy = next(folder.glob("lib/python*/site-packages/envoy/_bin/envoy"), None)
    if envoy is None:
        raise StackError(f"{folder} holds no Envoy: remove the folder and install again")
    return Tools((folder / "bin" / "python").absolute(), envoy.absolute(), _prometheus(prometheus))


def _prometheus(asked: Path | None) -> Path:
    found = shutil.which(str(asked or "prometheus"))
    if found is None:
        wanted = f"{asked} is not a program" if asked else "Prometheus is not installed"
        raise StackError(
            f"{wanted}: apt-get install --no-install-recommends prometheus (or prometheus.io/download), "
            "then again; --prometheus-binary names one that is not on the PATH"
        )
    return Path(found).absolute()


_MARK = ".installed"  # holds the digest of the lock that was installed


def _digest() -> str:
    return hashlib.sha256(lock().read_bytes()).hexdigest()


def _make_environment(folder: Path) -> None:
    try:
        venv.create(folder, with_pip=True, clear=True)
    except (OSError, subprocess.CalledProcessError) as problem:
        hint = "; on Debian and Ubuntu: apt-get install python3-venv" if find_spec("ensurepip") is None else ""
        raise StackError(f"no virtual environment can be made in {folder}: {problem}{hint}") from None


def _pip_install(folder: Path, tell: Tell) -> None:
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--no-deps",
               "--require-hashes", "--progress-bar", "off", "-r", str(lock())]  # fmt: skip
    expected = len(re.findall(r"^[\w.-]+==", lock().read_text(), re.MULTILINE))
    said: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        assert pip.stdout is not None
        collected = 0
        for line in pip.stdout:
            said += filter(None, [line.strip()])
            if found := re.match(r"Collecting (\S+)==", line):
                collected += 1
                tell(f"downloading {found[1]}", 0.9 * min(1.0, collected / expected))
            elif line.startswith("Installing"):
                tell("installing", 0.9)
    if pip.returncode:
        raise StackError(f"the parts of the stack cannot be installed; pip says: {'; '.join(said[-3:])}")
    tell("installed", 1.0)


def main() -> None:
    """``python -m planner.local.install``: for CI and `make stack`."""
    try:
        install(home(), lambda what, share: print(f"{share:4.0%} {what}", flush=True))
    except StackError as problem:
        sys.exit(str(problem))


if __name__ == "__main__":
    main()
