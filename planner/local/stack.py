"""The real routed stack on this machine: Envoy → frontend with KV router → workers, and Prometheus beside them.

    with Stack(Shape("aggregated", {"aggregated": 2}, profile), tools, folder) as stack:
        ...  # stack.url takes requests, stack.fleet takes decisions, stack.prometheus_url knows all of it

Everything listens on 127.0.0.1, on free ports, and ends with us, also when we are killed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from types import TracebackType
from typing import Literal, Self

from planner import resources
from planner.adapters.children import Ports
from planner.adapters.processes import Event, ProcessFleet, Worker
from planner.core.profiles import Profile
from planner.local import model, timing
from planner.local.client import Client, Replies, models_served, targets_up
from planner.local.errors import StackError
from planner.local.install import Tools
from planner.local.parts import Part
from planner.simulation.traffic.types import Traffic

MODEL = "tiny"
Mode = Literal["aggregated", "disaggregated"]
_ROLES = {"aggregated": {"aggregated": "agg"}, "disaggregated": {"prefill": "prefill", "decode": "decode"}}
"""By mode, its pools and what Dynamo calls what their workers do."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What is started."""

    mode: Mode
    initial: Mapping[str, int]  # workers by pool: aggregated, or prefill and decode
    profile: Profile  # how fast a worker is, and how much KV it holds
    delay_s: float = 0.0  # between asking for a worker and starting its process, in place of loading a model
    patience_s: float = 60.0  # a worker not ready by then is given up
    drain_s: float = 120.0
    scrape_s: int = 1
    router: str = "kv"
    migration_limit: int = 3  # requests of a worker that dies go on elsewhere, so often at most
    block_tokens: int = 64
    max_sequences: int = 256  # in one step of a worker
    chunk_tokens: int = 2048  # prompt tokens in one step
    prefix_cache: bool = True
    worker_options: tuple[str, ...] = ()  # for the mocker, beyond these
    extra: Mapping[str, str] = field(default_factory=dict)  # environment for frontend and workers


class Stack:
    """One stack in a folder of its own; a context manager.

    It must be entered by a thread that lives as long as it does: the leash of its processes holds to that thread.
    """

    def __init__(
        self, shape: Shape, tools: Tools, folder: Path, tell: Callable[[Event], None] = lambda event: None
    ) -> None:
        self.shape, self.tools, self.folder = shape, tools, folder.absolute()
        self._open = ExitStack()
        ports = Ports()
        self._ports = {name: ports.take() for name in ("frontend", "envoy", "admin", "prometheus")}
        self.frontend = self._part(
            "frontend", self._frontend_command(), os.environ | self._env(), "frontend", "/health"
        )
        self.prometheus = self._part(
            "prometheus", self._prometheus_command(), dict(os.environ), "prometheus", "/-/ready"
        )
        self.envoy = self._part("envoy", self._envoy_command(), dict(os.environ), "admin", "/ready")
        self.workers = {pool: self._worker(role) for pool, role in _ROLES[shape.mode].items()}
        self.fleet = ProcessFleet(self.workers, self.folder / "workers.json", self.folder / "logs", tell)

    @property
    def url(self) -> str:
        """Where clients send requests: Envoy."""
        return f"http://127.0.0.1:{self._ports['envoy']}"

    @property
    def frontend_url(self) -> str:
        """The frontend itself, without Envoy in between."""
        return f"http://127.0.0.1:{self._ports['frontend']}"

    @property
    def prometheus_url(self) -> str:
        """The Prometheus server."""
        return f"http://127.0.0.1:{self._ports['prometheus']}"

    @property
    def pools(self) -> tuple[str, ...]:
        """Names of the pools."""
        return tuple(_ROLES[self.shape.mode])

    def __enter__(self) -> Self:
        """Start everything and wait until a request would be served.

        Raises:
            StackError: a part of the stack fails.
            TargetError: a worker fails.
        """
        try:
            self._start()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _start(self) -> None:
        self._write_files()
        for part in (self.frontend, self.prometheus, self.envoy):
            self._open.callback(part.end)
            part.start()
        self._open.callback(self.fleet.close)
        self.fleet.start(self.shape.initial)
        for part in (self.frontend, self.prometheus, self.envoy):
            part.wait_ready()
        self.fleet.wait_ready(60.0)
        if sum(self.shape.initial.values()):
            self._wait_model(30.0)

    def _wait_model(self, timeout_s: float) -> None:
        """Wait until the frontend has heard of the workers, which it does a moment after they are ready."""
        deadline = time.monotonic() + timeout_s
        while MODEL not in models_served(self.url):
            if time.monotonic() > deadline:
                raise StackError(f"the frontend knows no worker after {timeout_s:g} s (log: {self.frontend.log})")
            time.sleep(0.02)

    def serve(self, requests: Traffic) -> Replies:
        """Send requests through Envoy and wait for their answers.

        Raises:
            StackError: one is not served.
        """
        replies = Client(self.url, MODEL, requests, seed=0).run()  # words that no load will find in a cache
        for error in filter(None, replies.errors):
            raise StackError(f"the stack does not serve: {error} (logs: {self.folder}/logs)")
        return replies

    def wait_scraped(self, timeout_s: float = 30.0) -> None:
        """Wait until Prometheus has a sample of everything that serves; a new target takes it about five seconds.

        Raises:
            StackError: it has not after ``timeout_s``.
        """
        deadline = time.monotonic() + timeout_s
        wanted = 1 + sum(reading.ready for reading in self.fleet.fleet().values())
        while targets_up(self.prometheus_url) < wanted:
            if time.monotonic() > deadline:
                raise StackError(f"Prometheus does not see all {wanted} targets after {timeout_s:g} s")
            time.sleep(0.1)

    def _write_files(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "registry").mkdir(exist_ok=True)
        model.write(self.folder / "model")
        timing.write_table(self.shape.profile, self.folder / "timing.npz")
        self._fill("envoy.yaml", port=self._ports["envoy"], admin_port=self._ports["admin"],
                   frontend_port=self._ports["frontend"])  # fmt: skip
        self._fill("prometheus.yml", scrape=f"{self.shape.scrape_s}s", workers=self.folder / "workers.json",
                   frontend=f"127.0.0.1:{self._ports['frontend']}")  # fmt: skip

    def _fill(self, name: str, **values: object) -> None:
        template = Template(resources.path("local", name).read_text())
        (self.folder / name).write_text(template.substitute(values))

    def _part(self, name: str, command: tuple[str, ...], env: Mapping[str, str], port: str, path: str) -> Part:
        return Part(name, command, env, f"http://127.0.0.1:{self._ports[port]}{path}", self.folder)

    def _env(self) -> dict[str, str]:
        """What frontend and workers get on top of our environment.

        Discovery by files and events by ZeroMQ need no daemon; everything stays on this machine.
        """
        local = dict.fromkeys(("DYN_TCP_RPC_HOST", "DYN_TCP_RESPONSE_STREAM_HOST", "DYN_EVENT_PLANE_HOST",
                               "DYN_SYSTEM_HOST", "DYN_HTTP_RPC_HOST"), "127.0.0.1")  # fmt: skip
        return local | {
            "DYN_DISCOVERY_BACKEND": "file",
            "DYN_FILE_KV": str(self.folder / "registry"),
            "DYN_EVENT_PLANE": "zmq",
            "DYN_NAMESPACE": "dynamo",
            "DYN_LOG": "warn,tower_http=off",  # each probe of a worker that is not ready yet would be an error
            "DYN_SDK_DISABLE_ANSI_LOGGING": "1",
            "HF_HUB_OFFLINE": "1",
        } | dict(self.shape.extra)  # fmt: skip

    @property
    def _python(self) -> tuple[str, ...]:
        return (str(self.tools.python), "-E", "-W", "ignore", "-m")  # -E: our PYTHONPATH is not theirs

    def _frontend_command(self) -> tuple[str, ...]:
        return (*self._python, "dynamo.frontend", "--http-host", "127.0.0.1",
                "--http-port", str(self._ports["frontend"]), "--router-mode", self.shape.router,
                "--migration-limit", str(self.shape.migration_limit))  # fmt: skip

    def _prometheus_command(self) -> tuple[str, ...]:
        return (str(self.tools.prometheus), f"--config.file={self.folder}/prometheus.yml",
                f"--storage.tsdb.path={self.folder}/tsdb", "--log.level=warn",
                f"--web.listen-address=127.0.0.1:{self._ports['prometheus']}")  # fmt: skip

    def _envoy_command(self) -> tuple[str, ...]:
        return (str(self.tools.envoy), "--config-path", f"{self.folder}/envoy.yaml", "--log-level", "warning",
                "--disable-hot-restart", "--concurrency", "1")  # fmt: skip

    def _worker(self, role: str) -> Worker:
        """How one worker is started; one a process: several in one share a single endpoint for metrics."""
        shape = self.shape
        blocks = int(shape.profile.max_kv_tokens // shape.block_tokens)
        command = (*self._python, "dynamo.mocker", "--model-path", f"{self.folder}/model",
                   "--model-name", MODEL, "--disaggregation-mode", role,
                   "--planner-profile-data", f"{self.folder}/timing.npz",
                   "--block-size", str(shape.block_tokens), "--num-gpu-blocks-override", str(blocks),
                   "--max-num-seqs", str(shape.max_sequences), "--max-num-batched-tokens", str(shape.chunk_tokens),
                   "--enable-prefix-caching" if shape.prefix_cache else "--no-enable-prefix-caching",
                   *shape.worker_options)  # fmt: skip
        env = self._env() | {"DYN_SYSTEM_PORT": "{port}", "DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS": '["generate"]'}
        return Worker(command, env, delay_s=shape.delay_s, patience_s=shape.patience_s, drain_s=shape.drain_s)
