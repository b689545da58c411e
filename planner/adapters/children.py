"""Child processes that end with us, and what they started with them: started, asked whether they serve, ended.

The leash holds to the *thread* that starts a child: start it from one that lives as long as the child should.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

LEASH = Path(__file__).with_name("leash.py")
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy knows nothing of this machine

LOOK_S = 0.02


class Child(subprocess.Popen[bytes]):
    """A process that leads a group of its own; what it started is killed when it has ended."""

    def poll(self) -> int | None:
        """Its exit code; ``None`` while it runs.

        The group is signalled before the process is reaped: afterwards the number may be somebody else's.
        """
        if self.returncode is None and hasattr(os, "waitid"):  # macOS has it with Python 3.13
            with contextlib.suppress(ChildProcessError):  # reaped by another thread in this moment
                if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                    return None
                _kill_group(self)
        return super().poll()


def spawn(command: Sequence[str], env: Mapping[str, str], log: Path | None = None, cwd: Path | None = None) -> Child:
    """Start ``command`` in a process group of its own, with exactly ``env``; what it prints is added to ``log``.

    Raises:
        OSError: there is no such program, or no process can be had.
    """
    program = shutil.which(command[0], path=env.get("PATH"))
    if program is None:
        raise FileNotFoundError(f"{command[0]} is not a program that can be run here")
    leashed = (sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), program, *command[1:])
    out = log.open("ab") if log else None
    try:
        return Child(leashed, env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, start_new_session=True,
                     stdout=out or subprocess.DEVNULL, stderr=subprocess.STDOUT)  # fmt: skip
    finally:
        if out:
            out.close()


def end(child: Child, patience_s: float) -> None:
    """SIGTERM to the child; SIGKILL to what it started when it has ended, to all when ``patience_s`` is over."""
    child.terminate()
    deadline = time.monotonic() + patience_s
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(LOOK_S)
    kill(child)


def kill(child: Child) -> None:
    """SIGKILL to the child and what it started, and wait for its end."""
    if child.poll() is None:
        _kill_group(child)
        child.wait()


def _kill_group(child: Child) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left in it, or nobody of ours
        os.killpg(child.pid, signal.SIGKILL)


def answers(url: str, timeout_s: float = 1.0) -> bool:
    """Whether ``url`` answers 200 within ``timeout_s``."""
    try:
        with _DIRECT.open(url, timeout=timeout_s) as reply:
            return bool(reply.status == 200)
    except (OSError, ValueError):  # HTTP errors are OSErrors; ValueError: no HTTP at all
        return False


class Ports:
    """Free ports of 127.0.0.1, none given twice.

    From below the range that outgoing connections take theirs from (32768 on Linux): a client must not sit on the
    port between our look and the server's start.
    """

    FIRST, LAST = 15_000, 32_000

    def __init__(self) -> None:
        self._given: set[int] = set()

    def take(self) -> int:
        """A port that nobody listens on now.

        Raises:
            OSError: there is none left.
        """
        for _ in range(1000):
            port = random.SystemRandom().randint(self.FIRST, self.LAST)
            if port not in self._given and _is_free(port):
                self._given.add(port)
                return port
        raise OSError(errno.EADDRINUSE, f"no free port between {self.FIRST} and {self.LAST}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def last_line(log: Path | None) -> str:
    """The last thing that was printed to ``log``; empty when there is none."""
    try:
        lines = log.read_bytes()[-4096:].decode(errors="replace").splitlines() if log else []
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
