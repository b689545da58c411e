"""A real Prometheus on a free port, scraping expositions that a test writes and knows."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
import urllib.parse
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from planner.adapters import children
from planner.adapters.prometheus import Access, PrometheusSource, Server, SharedReader, Subject
from planner.adapters.prometheus.source import Fleet
from planner.core.types import Observation

GROUPS = 36
REST_S = 12.0  # until what a test left behind is out of every question's sight
SCRAPE_S = 0.3  # of the Prometheus; what a subject is told is a test's own affair
PATIENCE_S = 30.0


@dataclass
class Target:
    """One scraped process: whatever ``text`` is, or an HTTP error."""

    job: str
    instance: str
    text: str = ""
    status: int = 404  # until a test takes it
    served: int = 0
    listed: bool = True
    lock: threading.Lock = field(default_factory=threading.Lock)

    def show(self, text: str | Callable[[], str]) -> None:
        """Expose this from the next scrape on."""
        with self.lock:
            self.text, self.status = text if isinstance(text, str) else text(), 200

    def fail(self, status: int = 500) -> None:
        """Answer scrapes with an error."""
        with self.lock:
            self.status = status


@dataclass
class Group:
    """A job of two instances."""

    job: str
    targets: tuple[Target, ...]


class PatientServer(ThreadingHTTPServer):
    """A server whose clients may hang up: printing that parses source in a thread, which Python 3.11 may mix up."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """No news."""


class _Expositions(PatientServer):
    def __init__(self, targets: Mapping[str, Target]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.targets = targets


class _Handler(BaseHTTPRequestHandler):
    server: _Expositions
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        target = self.server.targets[self.path.lstrip("/")]
        with target.lock:
            status, body = target.status, target.text.encode()
            target.served += 1
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Stand:
    """The Prometheus, and groups of targets that tests take."""

    def __init__(self, url: str, groups: list[Group], rewrite: Callable[[], None]) -> None:
        self.url, self._rewrite = url, rewrite
        self._free = deque((0.0, group) for group in groups)
        self._taken: list[Group] = []

    def group(self) -> Group:
        """A job that no other test uses."""
        rested_at, group = self._free.popleft()
        time.sleep(max(0.0, rested_at - time.monotonic()))
        self._taken.append(group)
        return group

    def release(self) -> None:
        """Take back the groups that a test had."""
        for target in (target for group in self._taken for target in group.targets):
            target.fail(404)
            target.listed = True
        self._rewrite()
        self._free += [(time.monotonic() + REST_S, group) for group in self._taken]
        self._taken = []

    def forget(self, *gone: Target) -> None:
        """Take targets off Prometheus' list, as a scaled-down worker is."""
        for target in gone:
            target.listed = False
        self._rewrite()

    def source(self, subject: Subject, fleet: Fleet | None = None) -> PrometheusSource:
        """A source of its own that reads this Prometheus."""
        return PrometheusSource(SharedReader(Server(Access(self.url, timeout_s=20))), subject, fleet)

    def seen(self, source: PrometheusSource, *targets: Target) -> Observation:
        """What a source sees once all that the targets show now has been scraped."""
        self.settle(*targets)
        return source.observe(time.time())

    def settle(self, *targets: Target) -> None:
        """Wait until what the targets show now has been scraped and stored."""
        seen = {id(t): t.served for t in targets}
        wait_for(lambda: all(t.served >= seen[id(t)] + 2 for t in targets))

    def query(self, promql: str) -> list[dict[str, object]]:
        """An instant query, by other means than the code under test."""
        address = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': promql})}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            found: list[dict[str, object]] = json.load(answer)["data"]["result"]
        return found


def wait_for(true: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Wait until something holds; a test fails when it never does."""
    until = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def prometheus(folder: Path, config: str, *arguments: str, ready: str | None = None) -> Iterator[str]:
    """A running server; its address. It ends with us, whatever ends us."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("needs a Prometheus server: apt-get install prometheus")
    port = free_port()
    (folder / "prometheus.yml").write_text(config)
    command = [program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
               f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn", *arguments]  # fmt: skip
    process = children.spawn(command, os.environ, folder / "log", folder)
    try:
        wait_for(lambda: _listens(port) or process.poll() is not None)
        assert process.poll() is None, (folder / "log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        children.end(process, 20.0)


@contextmanager
def stand(folder: Path) -> Iterator[Stand]:
    """A Prometheus with groups of targets nobody uses yet."""
    groups = [
        Group(f"job-{g:02d}", tuple(Target(f"job-{g:02d}", f"{letter}-{g:02d}") for letter in "ab"))
        for g in range(GROUPS)
    ]
    by_path = {t.instance: t for group in groups for t in group.targets}
    expositions = _Expositions(by_path)
    address = f"127.0.0.1:{expositions.server_port}"
    discovery = folder / "targets.json"
    all_targets = list(by_path.values())

    def rewrite() -> None:
        listed = [
            {
                "targets": [address],
                "labels": {"job": t.job, "instance": t.instance, "__metrics_path__": f"/{t.instance}"},
            }
            for t in all_targets
            if t.listed
        ]
        discovery.with_suffix(".new").write_text(json.dumps(listed))
        discovery.with_suffix(".new").replace(discovery)

    rewrite()
    config = (
        f"global: {{scrape_interval: {int(SCRAPE_S * 1000)}ms, scrape_timeout: {int(SCRAPE_S * 1000)}ms}}\n"
        "scrape_configs:\n- job_name: any\n  honor_labels: true\n"
        f"  file_sd_configs: [{{files: ['{discovery}'], refresh_interval: 1s}}]\n"
    )
    serving = threading.Thread(target=expositions.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    serving.start()
    try:
        with prometheus(folder, config) as url:
            yield Stand(url, groups, rewrite)
    finally:
        expositions.shutdown()
        expositions.server_close()
        serving.join()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
