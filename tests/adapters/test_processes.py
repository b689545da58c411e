"""A fleet of real processes: it follows decisions, replaces what dies, lets work finish, and leaves nothing behind."""

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
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from planner.adapters.advisory import Advisory
from planner.adapters.processes import Event, ProcessFleet, What, Worker
from planner.core.types import Decision, Reason
from planner.ports import TargetError
from tests.adapters.patience import SOON, runs, until

SERVER = textwrap.dedent(
    """
    import os, signal, sys, threading, time
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path.startswith("/work"):
                time.sleep(float(self.path.rpartition("/")[2]))
            healthy = self.path != "/never"
            self.send_response(200 if healthy else 503)
            self.end_headers()
            self.wfile.write(str(os.getpid()).encode())

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = False  # requests in flight are finished before the end
    if "stubborn" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print("serving as", os.environ.get("WORKER"), flush=True)
    server.serve_forever()
    server.server_close()
    """
)


def asked(**replicas: int) -> Decision:
    return Decision(0.0, replicas, replicas, Reason.SIZED)


class Rig:
    """Fleets of one test, the events of all, and what the test looks at."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = folder / "server.py"
        self.script.write_text(SERVER)
        self.events: list[Event] = []
        self.open = ExitStack()

    def worker(self, *arguments: str, **options: object) -> Worker:
        command = (sys.executable, str(self.script), "{port}", *arguments)
        return Worker(command, {"WORKER": "{pool} {number}"}, **options)  # type: ignore[arg-type]

    def fleet(self, **workers: Worker) -> ProcessFleet:
        fleet = ProcessFleet(workers, self.folder / "sd" / "workers.json", self.folder / "logs", self.events.append)
        self.open.callback(fleet.close, 2.0)
        return fleet

    def targets(self) -> dict[str, str]:
        """Address by worker, as Prometheus reads it."""
        groups = json.loads((self.folder / "sd" / "workers.json").read_text())
        return {group["labels"]["worker"]: group["targets"][0] for group in groups}

    def happened(self, what: What) -> list[str]:
        return [event.worker for event in list(self.events) if event.what is what]

    def pid(self, worker: str) -> int:
        return int(get(f"http://{self.targets()[worker]}/"))


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=SOON) as reply:
        text: str = reply.read().decode()
    return text


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    with made.open:
        yield made


def test_a_fleet_follows_decisions_and_tells_prometheus(rig: Rig) -> None:
    fleet = rig.fleet(prefill=rig.worker(), decode=rig.worker())
    fleet.start({"prefill": 1, "decode": 1})
    fleet.wait_ready(SOON)

    assert {name: (pool.requested, pool.ready) for name, pool in fleet.fleet().items()} == {
        "prefill": (1, 1),
        "decode": (1, 1),
    }

    fleet.apply(asked(decode=3))
    until(lambda: fleet.fleet()["decode"].ready == 3, "three decode workers")

    assert fleet.processes() == {worker: rig.pid(worker) for worker in rig.targets()}
    assert fleet.fleet()["prefill"].requested == 1  # a pool that a decision leaves out is left alone
    assert set(rig.targets()) == {"prefill-1", "decode-1", "decode-2", "decode-3"}
    assert len(set(rig.targets().values())) == 4
    assert (rig.folder / "logs" / "decode-2.log").read_text() == "serving as decode 2\n"


def test_startups_are_measured_from_creation_and_told_once(rig: Rig) -> None:
    """The planner's horizon: the wait in place of a model load counts, the first fleet does not."""
    fleet = rig.fleet(decode=rig.worker(delay_s=1.0))
    fleet.start({"decode": 1})
    fleet.wait_ready(SOON)
    fleet.apply(asked(decode=2))
    until(lambda: fleet.fleet()["decode"].starting_s, "a worker that is starting")
    early = fleet.fleet()["decode"]

    assert (early.requested, early.ready) == (2, 1)
    assert early.starting_s[0] < 1.0

    until(lambda: rig.happened(What.READY) == ["decode-1", "decode-2"], "the second worker")
    (startup,) = fleet.fleet()["decode"].startups_s

    assert 1.0 <= startup < 1.0 + SOON
    assert fleet.fleet()["decode"].startups_s == ()


def test_what_is_starting_is_cancelled_before_what_serves(rig: Rig) -> None:
    fleet = rig.fleet(decode=rig.worker(delay_s=60.0))
    fleet.start({"decode": 2})
    fleet.wait_ready(SOON)
    fleet.apply(asked(decode=4))
    until(lambda: len(fleet.fleet()["decode"].starting_s) == 2, "two that are starting")
    fleet.apply(asked(decode=1))
    until(lambda: rig.happened(What.ENDED), "the end of a worker")

    assert rig.happened(What.CANCELLED) == ["decode-4", "decode-3"]
    assert rig.happened(What.DRAINING) == ["decode-2"]  # the newest of those that serve
    assert rig.happened(What.ENDED) == ["decode-2"]


def test_draining_finishes_the_work(rig: Rig) -> None:
    """A request in flight when the fleet shrinks is answered, and nobody is sent there meanwhile."""
    fleet = rig.fleet(decode=rig.worker())
    fleet.start({"decode": 1})
    fleet.wait_ready(SOON)
    answers: list[str] = []
    address, pid = rig.targets()["decode-1"], rig.pid("decode-1")
    request = threading.Thread(target=lambda: answers.append(get(f"http://{address}/work/1.5")))
    request.start()
    time.sleep(0.3)  # the request is there
    fleet.apply(asked(decode=0))
    until(lambda: not rig.targets(), "the worker to leave Prometheus' list")

    assert runs(pid)
    assert not answers

    request.join()
    until(lambda: rig.happened(What.ENDED), "the end of the worker")

    assert answers == [str(pid)]
    assert not runs(pid)


def test_a_worker_that_does_not_end_is_killed(rig: Rig) -> None:
    fleet = rig.fleet(decode=rig.worker("stubborn", drain_s=0.5))
    fleet.start({"decode": 1})
    fleet.wait_ready(SOON)
    pid = rig.pid("decode-1")
    fleet.apply(asked(decode=0))
    until(lambda: rig.happened(What.KILLED), "the kill")

    assert not runs(pid)


def test_a_worker_that_is_killed_is_replaced(rig: Rig) -> None:
    fleet = rig.fleet(decode=rig.worker())
    fleet.start({"decode": 2})
    fleet.wait_ready(SOON)
    os.kill(rig.pid("decode-1"), signal.SIGKILL)
    until(lambda: set(rig.targets()) == {"decode-2", "decode-3"}, "the replacement")

    (death,) = [event for event in rig.events if event.what is What.DIED]
    assert death.worker == "decode-1"
    assert death.detail.startswith("by signal 9")
    with pytest.raises(TargetError, match="decode-1 died: by signal 9"):
        fleet.apply(asked(decode=2))
    fleet.apply(asked(decode=2))  # told once


def test_a_worker_that_dies_leaves_nothing_behind(rig: Rig) -> None:
    """Its engine would keep the GPU's memory from the replacement, once more with each."""
    core = f"{sys.executable} -c 'import time; time.sleep(600)' & echo $! >> {rig.folder}/cores; sleep .3; exit 3"
    fleet = rig.fleet(decode=Worker(("sh", "-c", core)))
    fleet.start({"decode": 1})
    until(lambda: len(rig.happened(What.DIED)) == 2, "the second death")
    cores = [int(line) for line in (rig.folder / "cores").read_text().split()]

    assert len(cores) >= 2
    until(lambda: not any(runs(pid) for pid in cores[:2]), "the end of what they started")


def test_a_worker_that_never_becomes_ready_is_given_up_and_started_anew(rig: Rig) -> None:
    fleet = rig.fleet(decode=rig.worker(ready_url="http://127.0.0.1:{port}/never", patience_s=0.7))
    fleet.start({"decode": 1})
    until(lambda: len(rig.happened(What.STARTED)) == 2, "the second attempt")

    assert rig.happened(What.GIVEN_UP) == ["decode-1"]
    assert (fleet.fleet()["decode"].requested, fleet.fleet()["decode"].ready) == (1, 0)
    with pytest.raises(TargetError, match=r"decode-1 given up: not ready 0.7 s after its start; it said: serving as"):
        fleet.apply(asked(decode=1))


def test_a_worker_that_dies_at_once_waits_longer_each_time(rig: Rig) -> None:
    """A crash loop must not eat the machine: starts come at about 0, 1, 3 s, not twenty a second."""
    command = (sys.executable, "-c", "raise SystemExit('no such model')")
    fleet = rig.fleet(decode=Worker(command))
    fleet.start({"decode": 1})
    until(lambda: len(rig.happened(What.STARTED)) == 3, "the third attempt")
    starts = [event.at for event in rig.events if event.what is What.STARTED]

    assert starts[1] - starts[0] >= 1.0
    assert starts[2] - starts[1] >= 2.0
    with pytest.raises(TargetError, match=r"decode-1 died: with exit code 1; it said: no such model"):
        fleet.apply(asked(decode=1))


def test_a_program_that_is_not_there_is_told(rig: Rig) -> None:
    fleet = rig.fleet(decode=Worker(("no-such-engine", "--port", "{port}")))
    fleet.start({"decode": 1})

    with pytest.raises(TargetError, match="decode-1 not started: no-such-engine is not a program that can be run here"):
        fleet.wait_ready(SOON)


def test_a_pool_without_a_command_is_refused_as_a_whole(rig: Rig) -> None:
    fleet = rig.fleet(decode=rig.worker())
    fleet.start({"decode": 1})
    with pytest.raises(
        TargetError, match=r"no worker command is configured for prefill; there are commands for decode"
    ):
        fleet.apply(asked(prefill=1, decode=2))

    assert fleet.fleet()["decode"].requested == 1


def test_close_leaves_nothing_behind(rig: Rig) -> None:
    fleet = rig.fleet(decode=rig.worker("stubborn"), prefill=rig.worker())
    fleet.start({"decode": 1, "prefill": 2})
    fleet.wait_ready(SOON)
    pids = [rig.pid(worker) for worker in rig.targets()]
    fleet.close(patience_s=0.5)

    assert [pid for pid in pids if runs(pid)] == []
    assert rig.targets() == {}
    with pytest.raises(TargetError, match="not running"):
        fleet.apply(asked(decode=1))


def test_no_worker_survives_a_parent_that_is_killed(rig: Rig) -> None:
    """SIGKILL gives nobody a chance to clean up; only the kernel can."""
    code = textwrap.dedent(
        f"""
        import sys, time
        from pathlib import Path
        from planner.adapters.processes import ProcessFleet, Worker
        worker = Worker((sys.executable, {str(rig.script)!r}, "{{port}}", "stubborn"))
        fleet = ProcessFleet({{"decode": worker}}, Path({str(rig.folder)!r}) / "sd" / "workers.json")
        fleet.start({{"decode": 2}})
        fleet.wait_ready({SOON})
        print("ready", flush=True)
        time.sleep(60)
        """
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        pids = [rig.pid(worker) for worker in rig.targets()]
        assert all(runs(pid) for pid in pids)
        parent.kill()
    until(lambda: not any(runs(pid) for pid in pids), "the end of the workers")


def test_advice_is_carried_out_by_nobody() -> None:
    """The shadow target takes any decision, also for pools that nobody has."""
    Advisory().apply(asked(decode=1_000_000))
