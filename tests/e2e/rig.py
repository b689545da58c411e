"""A live planner beside the real local stack, driven by real HTTP load, with everything it saw kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from planner.adapters import profile_files
from planner.adapters.clocks import WallClock
from planner.config import LiveSettings
from planner.core.types import Decision, Observation
from planner.live.parts import connected
from planner.live.service import Parts, Service, service_of
from planner.local.client import Client, Replies
from planner.local.install import Tools
from planner.local.stack import MODEL, Mode, Shape, Stack
from planner.local.timing import LinearTiming
from planner.ports import Step
from planner.simulation.traffic.types import Traffic

TIMING = LinearTiming()
"""One worker prefills 400 tokens in 70 ms and holds 7 sequences of that context within an ITL of 25 ms."""
TTFT_S, ITL_S, GOAL = 0.5, 0.025, 0.95
TICK_S, INTERVAL_S = 2.0, 10.0
PATIENCE_S = 30.0


@dataclass
class Kept:
    """A sink that keeps every step."""

    steps: list[Step] = field(default_factory=list)

    def record(self, seen: Observation, decision: Decision, error: str = "") -> None:
        self.steps.append(Step(seen, decision, error))

    def since(self, at: float) -> list[Step]:
        return [step for step in self.steps if step.seen.at >= at]

    def wait(self, wanted: Callable[[Step], bool], patience_s: float = PATIENCE_S) -> Step:
        """The first step from now on that is wanted."""
        first, deadline = len(self.steps), time.monotonic() + patience_s
        while time.monotonic() < deadline:
            for step in self.steps[first:]:
                if wanted(step):
                    return step
            time.sleep(0.1)
        told = "\n".join(f"{s.seen.at:.0f} {s.decision.summary()} {s.error}" for s in self.steps[first:])
        raise AssertionError(f"not seen within {patience_s:g} s:\n{told}")


@dataclass
class Running:
    """A planner at work in a thread of its own."""

    service: Service
    clock: WallClock
    thread: threading.Thread
    failure: list[BaseException]

    def stop(self) -> None:
        """As SIGTERM does."""
        self.clock.stop()
        self.thread.join(20.0)
        assert not self.thread.is_alive(), "the planner did not stop within 20 s"
        if self.failure:
            raise self.failure[0]


@dataclass
class Rig:
    """Stack, planner and what was seen."""

    stack: Stack
    folder: Path
    mode: Mode
    kept: Kept = field(default_factory=Kept)
    running: Running | None = None
    prometheus_url: str = ""  # instead of the stack's own

    def settings(self, **changes: Any) -> LiveSettings:
        """Short intervals, so that a test sees a day's worth of decisions in minutes."""
        pools = {pool: {"pool": pool} for pool in self.stack.pools}
        given: dict[str, Any] = {
            "profile": str(self.folder / "profile.json"),
            "mode": self.mode,
            "sla": {"ttft": f"{TTFT_S}s", "itl": f"{ITL_S}s", "goal": GOAL},
            "interval": f"{INTERVAL_S}s",
            "tick": f"{TICK_S}s",
            "startup": "3s",
            "stabilization": "20s",
            "warmup": "0s",
            "max_replicas": dict.fromkeys(self.stack.pools, 12),
            "prometheus": {"url": self.prometheus_url or self.stack.prometheus_url, "pools": pools, "scrape": "1s",
                           "timeout": "1.5s", "labels": {"model": MODEL}},
            "server": {"listen": "127.0.0.1:0"},
            "state": str(self.folder / "state.json"),
            "decisions": str(self.folder / "decisions.jsonl"),
        }  # fmt: skip
        given["target"] = {"kind": "advisory"}
        return LiveSettings.model_validate({**given, **changes})

    def plan(self, **changes: Any) -> Running:
        """Start a planner that moves the stack's own workers."""
        settings, clock, failure = self.settings(**changes), WallClock(), []  # type: ignore[var-annotated]
        world = connected(settings, self.stack.fleet, self.stack.fleet.fleet)
        service = service_of(settings, Parts(world.source, world.target, world.history, world.fleet), clock)

        def run() -> None:
            try:
                service.run([self.kept])
            except BaseException as problem:  # shown by stop
                failure.append(problem)

        thread = threading.Thread(target=run, name="planner")
        self.running = Running(service, clock, thread, failure)
        thread.start()
        return self.running

    def replan(self) -> Running:
        """Stop the planner and start another, as a rollout does."""
        assert self.running is not None
        self.running.stop()
        return self.plan()


@contextmanager
def rig(mode: Mode, initial: Mapping[str, int], tools: Tools, folder: Path, delay_s: float = 2.0,
        **shape: Any) -> Iterator[Rig]:  # fmt: skip
    """A stack with its planner not yet started; everything is ended on the way out."""
    folder.mkdir(parents=True, exist_ok=True)
    profile = TIMING.profile("small")
    profile_files.save(profile, folder / "profile.json")
    with Stack(Shape(mode, initial, profile, delay_s=delay_s, **shape), tools, folder / "stack") as stack:
        found = Rig(stack, folder, mode)
        try:
            yield found
        finally:
            if found.running is not None and found.running.thread.is_alive():
                found.running.stop()


@dataclass
class Load:
    """Real requests in a thread of their own."""

    client: Client
    thread: threading.Thread
    replies: list[Replies]

    def wait(self) -> Replies:
        """All replies, once everything is answered."""
        self.thread.join()
        return self.replies[0]


def send(stack: Stack, traffic: Traffic) -> Load:
    """Begin to send ``traffic``."""
    client, replies = Client(stack.url, MODEL, traffic), []  # type: ignore[var-annotated]
    thread = threading.Thread(target=lambda: replies.append(client.run()), name="load")
    thread.start()
    return Load(client, thread, replies)


def phases(*parts: tuple[float, float], isl: int = 400, osl: int = 60, seed: int = 1) -> Traffic:
    """Poisson arrivals at (requests per second, seconds) one after the other; lengths log-normal around the means."""
    source = np.random.default_rng(seed)
    arrivals, start = [], 0.0
    for rate, seconds in parts:
        if rate > 0:
            times = start + np.cumsum(source.exponential(1.0 / rate, int(rate * seconds * 2) + 20))
            arrivals.append(times[times < start + seconds])
        start += seconds
    times = np.concatenate(arrivals)
    lengths = [
        np.maximum(8, mean * np.exp(0.3 * source.standard_normal(len(times)) - 0.045)).astype(np.int32)
        for mean in (isl, osl)
    ]
    return Traffic("phases", times, lengths[0], lengths[1], start)


def totals(steps: Sequence[Step]) -> dict[str, float]:
    """What the planner saw, added up over all windows: requests and means."""
    windows = [step.seen.window for step in steps if step.seen.window is not None]

    def mean(signal: str) -> float:
        parts = [part for w in windows if (part := getattr(w, signal)) is not None]
        return sum(p.total for p in parts) / sum(p.count for p in parts)

    return {
        "requests": sum(w.started or 0.0 for w in windows),
        "isl": mean("input_tokens"),
        "osl": mean("output_tokens"),
        "ttft": mean("ttft"),
        "itl": mean("itl"),
    }


def measured(replies: Replies) -> dict[str, float]:
    """The same figures as the client measured them; ITL weighted by tokens, as the histogram is."""
    gaps = np.maximum(replies.output_tokens - 1, 0)
    return {
        "requests": float(len(replies.errors)),
        "isl": float(replies.input_tokens.mean()),
        "osl": float(replies.output_tokens.mean()),
        "ttft": float(np.nanmean(replies.ttft_s)),
        "itl": float(np.nansum(replies.itl_s * gaps) / gaps.sum()),
    }
