"""The real stack: requests through Envoy are timed as the profile says, workers come and go, nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from planner.core.types import Decision, Reason
from planner.local.client import Client
from planner.local.install import Tools
from planner.local.stack import MODEL, Mode, Shape, Stack
from tests.stack import TIMING, stack_tools, steady

pytestmark = pytest.mark.e2e
__all__ = ["stack_tools"]  # a fixture
FIRST: dict[Mode, dict[str, int]] = {"aggregated": {"aggregated": 2}, "disaggregated": {"prefill": 1, "decode": 2}}
LAST: dict[Mode, str] = {"aggregated": "aggregated", "disaggregated": "decode"}
ISL, OSL = 300, 40


def until(condition: Callable[[], object], what: str, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s for: {what}"
        time.sleep(0.05)


def asked(pool: str, count: int) -> Decision:
    return Decision(0.0, {pool: count}, {pool: count}, Reason.SIZED)


def get(url: str) -> str:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10.0) as reply:
        text: str = reply.read().decode()
    return text


def processes_of(folder: Path) -> list[int]:
    """Every process that was started with something of ``folder`` on its command line, or in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_bytes() + bytes(process.joinpath("cwd").readlink())
        except OSError:
            continue
        if str(folder).encode() in told and int(process.name) != os.getpid():
            found.append(int(process.name))
    return found


@pytest.mark.parametrize("mode", FIRST)
def test_workers_come_and_go_under_load_and_nobody_is_lost(mode: Mode, stack_tools: Tools, tmp_path: Path) -> None:
    """The way of a request, the times of the profile, Prometheus' labels, a scale-out and a drain, in one run."""
    pool = LAST[mode]
    load = steady(rate=6.0, seconds=24.0, isl=ISL, osl=OSL)
    with Stack(Shape(mode, FIRST[mode], TIMING.profile("test")), stack_tools, tmp_path) as stack:
        stack.serve(steady(rate=4.0, seconds=1.0, isl=ISL, osl=OSL))
        stack.wait_scraped()
        client = Client(stack.url, MODEL, load)
        sender = threading.Thread(target=client.run)
        sender.start()
        time.sleep(6.0)
        stack.fleet.apply(asked(pool, 3))
        until(lambda: stack.fleet.fleet()[pool].ready == 3, "a third worker")
        stack.wait_scraped()
        time.sleep(4.0)
        stack.fleet.apply(asked(pool, 1))
        sender.join()
        series = json.loads(get(f"{stack.prometheus_url}/api/v1/series?match[]=up"))["data"]
        told = get(f"{stack.frontend_url}/metrics")

    seen = [reply for reply in client.replies if not reply.error]
    alone_s = TIMING.prefill_s + TIMING.prefill_s_per_token * ISL  # 55 ms
    ttft, itl = (np.array([getattr(reply, name) for reply in seen]) for name in ("ttft_s", "itl_s"))

    assert [reply.error for reply in client.replies if reply.error] == []
    assert len(seen) == load.requests
    assert all(reply.output_tokens == OSL for reply in seen)
    assert ttft.min() > alone_s  # nobody is served faster than an idle worker prefills
    assert alone_s < np.median(ttft) < 4 * alone_s + 0.2
    assert itl.min() > 0.9 * TIMING.step_s
    assert TIMING.step_s < np.median(itl) < 3 * TIMING.step_s
    assert {(s.get("pool"), s["job"]) for s in series} == {(name, "worker") for name in stack.pools} | {
        (None, "frontend")
    }
    assert {f"{pool}-1", f"{pool}-2", f"{pool}-3"} <= {s.get("worker") for s in series}
    count, total = (
        float(line.rpartition(" ")[2])
        for end in ("count", "sum")
        for line in told.splitlines()
        if line.startswith(f"dynamo_frontend_input_sequence_tokens_{end}")
    )
    assert total == count * ISL  # the frontend counts as many tokens as the client meant to send
    assert processes_of(tmp_path) == []


def test_a_worker_that_is_killed_loses_no_request(stack_tools: Tools, tmp_path: Path) -> None:
    """The frontend moves its requests to the others, and a new worker takes its place."""
    with Stack(Shape("aggregated", {"aggregated": 2}, TIMING.profile("test")), stack_tools, tmp_path) as stack:
        client = Client(stack.url, MODEL, steady(rate=5.0, seconds=12.0, isl=ISL, osl=OSL))
        sender = threading.Thread(target=client.run)
        sender.start()
        time.sleep(4.0)
        first = stack.fleet.processes()["aggregated-1"]
        os.kill(first, signal.SIGKILL)
        until(lambda: "aggregated-3" in stack.fleet.processes(), "the replacement")
        sender.join()

    assert [reply.error for reply in client.replies if reply.error] == []


def test_prometheus_can_be_stopped_and_started_again(stack_tools: Tools, tmp_path: Path) -> None:
    """What it knew is there again, at the same address: an outage, not a new server."""
    with Stack(Shape("aggregated", {"aggregated": 1}, TIMING.profile("test")), stack_tools, tmp_path) as stack:
        stack.serve(steady(rate=4.0, seconds=1.0, isl=ISL, osl=OSL))
        stack.wait_scraped()
        stack.prometheus.end()
        with pytest.raises(OSError, match="refused"):
            get(f"{stack.prometheus_url}/-/ready")
        stack.prometheus.start()
        stack.prometheus.wait_ready()
        stack.wait_scraped()


def test_nothing_survives_a_parent_that_is_killed(stack_tools: Tools, tmp_path: Path) -> None:
    """SIGKILL to whoever started it: frontend, Envoy, Prometheus and workers end, by the kernel's hand."""
    code = textwrap.dedent(
        f"""
        import time
        from pathlib import Path
        from planner.local import install
        from planner.local.stack import Shape, Stack
        from planner.local.timing import LinearTiming
        shape = Shape("aggregated", {{"aggregated": 2}}, LinearTiming().profile("test"))
        with Stack(shape, install.tools(install.home()), Path({str(tmp_path)!r})):
            print("ready", flush=True)
            time.sleep(60)
        """
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        started = set(processes_of(tmp_path)) - {parent.pid}
        parent.kill()

    assert len(started) == 5
    until(lambda: not processes_of(tmp_path), "the end of all")
