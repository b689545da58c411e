"""Whatever breaks around it, the planner holds the fleet, says what is wrong, and recovers within two intervals."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from planner.core.types import Reason
from planner.local.install import Tools
from planner.ports import Step
from tests.e2e.proxy import DIRECT, Mood, door
from tests.e2e.rig import INTERVAL_S, Rig, phases, rig, send
from tests.stack import stack_tools

__all__ = ["stack_tools"]

RATE = 5.0


def asked(live: Rig, path: str) -> tuple[int, str]:
    """What the planner itself answers over HTTP."""
    assert live.running is not None
    try:
        with DIRECT.open(live.running.service.address + path, timeout=5.0) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as problem:
        return problem.code, problem.read().decode()


def metric(live: Rig, name: str) -> float:
    """The sum of the planner's own series of that name."""
    found = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", asked(live, "/metrics")[1], re.MULTILINE)
    return sum(map(float, found))


def blind(step: Step) -> bool:
    return step.seen.window is None and step.decision.reason is Reason.HELD_BLIND


def sized(step: Step) -> bool:
    return step.decision.reason is Reason.SIZED


def processes(live: Rig, pool: str) -> list[int]:
    """Process ids of the workers of a pool that Prometheus is told of."""
    workers = json.loads((live.stack.folder / "workers.json").read_text())
    names = [group["labels"]["worker"] for group in workers if group["labels"]["pool"] == pool]
    return [pid for name in names for pid in pids_of(live, name)]


def pids_of(live: Rig, name: str) -> list[int]:
    port = json.loads((live.stack.folder / "workers.json").read_text())
    target = next(group["targets"][0] for group in port if group["labels"]["worker"] == name)
    wanted = f"DYN_SYSTEM_PORT={target.rpartition(':')[2]}".encode()
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if wanted in environment(pid)]


def environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


@pytest.mark.e2e
def test_prometheus_away_failing_slow_or_empty(stack_tools: Tools, tmp_path: Path) -> None:
    """An outage must not read as silence: the fleet is held, and that is said, until there is something to see."""
    with rig("aggregated", {"aggregated": 3}, stack_tools, tmp_path) as live, door(live.stack.prometheus_url) as gate:
        live.prometheus_url = gate.url
        send(live.stack, phases((2.0, 3.0))).wait()
        live.plan()
        load = send(live.stack, phases((RATE, 115.0)))
        live.kept.wait(sized)

        def stopped() -> None:
            live.stack.prometheus.end()

        def started() -> None:
            live.stack.prometheus.start()
            live.stack.prometheus.wait_ready()

        troubles: list[tuple[str, Callable[[], None], Callable[[], None], str]] = [
            ("stopped", stopped, started, "HTTP 502"),
            *(
                (mood.value, lambda mood=mood: setattr(gate, "mood", mood),  # type: ignore[misc]
                 lambda: setattr(gate, "mood", Mood.WELL), said)
                for mood, said in ((Mood.ERROR, "tsdb is on fire"), (Mood.SLOW, "1.5 s"), (Mood.EMPTY, "absent"))
            ),
        ]  # fmt: skip
        for name, begin, end, said in troubles:
            held = dict(live.kept.steps[-1].decision.replicas)
            errors = metric(live, "planner_steps_total")
            begin()
            first = live.kept.wait(blind)
            live.kept.wait(lambda step, since=first.seen.at: step.seen.at >= since + INTERVAL_S)  # type: ignore[misc]
            during = [step for step in live.kept.since(first.seen.at) if blind(step)]
            ready, alive = asked(live, "/readyz"), asked(live, "/healthz")
            page = asked(live, "/data.json")[1]
            end()
            ended = time.time()
            live.kept.wait(lambda step: step.seen.window is not None and sized(step), 2.5 * INTERVAL_S)

            assert during, name
            assert all(dict(step.decision.replicas) == held for step in during), name
            assert any(said in problem for step in during for problem in step.seen.problems), (name, during[-1])
            assert (ready[0], alive[0]) == (503, 200), (name, ready, alive)
            assert said in ready[1], name
            assert said in page, name
            assert metric(live, "planner_steps_total") > errors, name
            assert time.time() - ended < 2.0 * INTERVAL_S + 2.0, name
        assert asked(live, "/readyz")[0] == 200
        load.client.stop()
        replies = load.wait()

    assert replies.lost == 0


@pytest.mark.e2e
def test_workers_die_or_never_come_and_the_planner_is_replaced(stack_tools: Tools, tmp_path: Path) -> None:
    """A dead worker is not less demand, a hung one is not supply for ever, a new planner goes on from the old one."""
    with rig("aggregated", {"aggregated": 3}, stack_tools, tmp_path, patience_s=8.0) as live:
        send(live.stack, phases((2.0, 3.0))).wait()
        live.plan(min_replicas={"aggregated": 3})
        load = send(live.stack, phases((RATE, 50.0), (22.0, 25.0), (RATE, 15.0)))
        live.kept.wait(sized)

        # a worker is killed with requests in flight: its requests go on elsewhere, another takes its place
        os.kill(processes(live, "aggregated")[0], signal.SIGKILL)
        fewer = live.kept.wait(lambda step: step.seen.pools["aggregated"].ready < 3)
        told = live.kept.wait(lambda step: "died" in step.error or step.seen.pools["aggregated"].ready >= 3)
        back = live.kept.wait(lambda step: step.seen.pools["aggregated"].ready >= 3, 2 * INTERVAL_S)

        assert fewer.decision.replicas["aggregated"] >= 3
        assert any("died" in step.error for step in live.kept.since(fewer.seen.at - 4.0)), told
        assert back.decision.replicas["aggregated"] >= 3

        # the planner is replaced in the middle of a burst: no step of the new one asks for less than the old did
        burst_at = (load.client.started_at or 0.0) + 60.0
        time.sleep(max(0.0, burst_at - time.time()))
        before = dict(live.kept.steps[-1].decision.replicas)
        assert live.running is not None
        live.running.stop()
        live.plan(min_replicas={"aggregated": 3})
        first = live.kept.wait(lambda step: bool(step.decision.replicas))
        grown = live.kept.wait(lambda step: step.seen.window is not None)

        assert first.decision.replicas["aggregated"] >= before["aggregated"]
        assert grown.decision.replicas["aggregated"] >= before["aggregated"]
        assert live.running.service.planner.state.memory.ticks[:3]  # what the old one had learnt

        # a worker that hangs while it starts is given up and replaced; the fleet asked for does not shrink for it
        hung = hang_the_next(live)
        gone = live.kept.wait(lambda step: "given up" in step.error, 40.0)

        assert gone.decision.replicas["aggregated"] >= 3
        assert not alive(hung)
        load.client.stop()
        replies = load.wait()

    assert replies.lost == 0


def hang_the_next(live: Rig) -> int:
    """Kill one worker and freeze its successor before it is ready."""
    known = set(worker_pids(live))
    os.kill(processes(live, "aggregated")[0], signal.SIGKILL)
    deadline = time.monotonic() + 20.0
    while time.monotonic() < deadline:
        new = [pid for pid in worker_pids(live) if pid not in known]
        if new:
            os.kill(new[0], signal.SIGSTOP)
            return new[0]
        time.sleep(0.01)
    raise AssertionError("no worker was started in place of the one that was killed")


def worker_pids(live: Rig) -> list[int]:
    wanted = f"DYN_FILE_KV={live.stack.folder / 'registry'}".encode()
    return [
        pid
        for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
        if wanted in (env := environment(pid)) and any(part.startswith(b"DYN_SYSTEM_PORT=") for part in env)
    ]


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
