"""The whole way on one machine: stack, load, planner and page started, told about, and ended together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from planner.adapters import profile_files
from planner.adapters.clocks import WallClock
from planner.config import POOLS
from planner.core.load import Lengths, load_of
from planner.core.policy import Pool, Sla
from planner.core.profiles import Profile
from planner.core.sizing import slo
from planner.core.types import Decision, Observation
from planner.live.parts import connected
from planner.live.service import Service, service_of
from planner.local.client import Client, Replies, arrays
from planner.local.install import Tools
from planner.local.segment import Segment, traffic
from planner.local.settings import Control, live_settings
from planner.local.stack import MODEL, Mode, Shape, Stack
from planner.local.story import Story, summary
from planner.local.timing import LinearTiming
from planner.ports import ScaleTarget
from planner.simulation.traffic.types import Traffic

TIMING = LinearTiming(prefill_s=0.020, prefill_s_per_token=100e-6, step_s=0.010, step_s_per_kv_token=5e-6)
"""A slow engine, so that a few requests per second need several workers."""
FIRST_S = 30.0
"""The fleet at the beginning is the smallest for the load of this first stretch."""
WARM_UP = 3
"""Requests before the load: a series that is born within the planner's first window would not be counted."""


@dataclass(frozen=True, slots=True)
class Demo:
    """What is shown."""

    segment: Segment
    mode: Mode = "aggregated"
    startup_s: float = 8.0  # between asking for a worker and starting its process
    control: Control = field(default_factory=Control)
    keep_open: bool = False  # stay until stopped, after the load is over
    decisions: Path | None = None


@dataclass(slots=True)
class Show:
    """A demo under way. ``stop`` may be called from a signal handler."""

    demo: Demo
    tools: Tools
    folder: Path
    say: Callable[[str], None]
    clock: WallClock = field(default_factory=WallClock)
    client: Client | None = None
    stopped: bool = False

    def stop(self) -> None:
        """Send no more requests, have those answered that were sent, and end."""
        self.stopped = True
        if self.client is not None:
            self.client.stop()
        self.clock.stop()

    def run(self) -> int:
        """Everything, from the first process to the summary; how many requests were lost.

        Raises:
            OSError: a part of the stack fails (``StackError``), or a file or address cannot be used.
            TargetError: the first workers fail.
        """
        began, control = time.monotonic(), self.demo.control
        load, profile = traffic(self.demo.segment), TIMING.profile("local-stack")
        story = Story(self.say, Sla(control.ttft_s, control.itl_s, control.goal))
        initial = first_fleet(self.demo.mode, profile, story.sla, load)
        shape = Shape(self.demo.mode, initial, profile, delay_s=self.demo.startup_s)
        with Stack(shape, self.tools, self.folder, story.happened) as stack:
            _warm_up(stack, load)
            self.say(f"a request was served after {time.monotonic() - began:.1f} s: Envoy {stack.url} → "
                     f"frontend with KV router → {_listed(initial)}")  # fmt: skip
            stack.wait_scraped()
            self.say(f"Prometheus {stack.prometheus_url} sees all of it after {time.monotonic() - began:.1f} s")
            replies = self._play(stack, profile, load, story)
        for line in summary(story, replies, self.clock.now()):
            self.say(line)
        return replies.lost

    def _play(self, stack: Stack, profile: Profile, load: Traffic, story: Story) -> Replies:
        """Load and planner side by side, until the load is over or someone stops them."""
        path = self.folder / "profile.json"
        profile_files.save(profile, path)
        settings = live_settings(stack, path, self.demo.control, self.demo.decisions)
        service = service_of(
            settings, connected(settings, _Announced(stack.fleet, story), stack.fleet.fleet), self.clock
        )
        self.client = client = Client(stack.url, MODEL, load, story.answered)
        sender = threading.Thread(target=self._send, args=(client,), name="client", daemon=True)
        story.begin(stack.shape.initial)
        sender.start()
        if self.stopped:
            self.stop()
        service.run([_Page(service, self.say), story])
        client.stop()  # the planner may have been stopped first
        sender.join()
        story.end()
        return arrays(client.replies)

    def _send(self, client: Client) -> None:
        client.run()
        if self.demo.keep_open and not self.stopped:
            self.say("the load is over; everything stays until Ctrl-C")
        else:
            self.clock.stop()


@dataclass(frozen=True, slots=True)
class _Announced:
    """A target whose decisions are told before they are carried out."""

    target: ScaleTarget
    story: Story

    def apply(self, decision: Decision) -> None:
        self.story.announce(decision)
        self.target.apply(decision)


@dataclass(slots=True)
class _Page:
    """Tells once where the page is."""

    service: Service
    say: Callable[[str], None]
    told: bool = False

    def record(self, seen: Observation, decision: Decision, error: str = "") -> None:
        if not self.told and self.service.address:
            self.say(f"the planner's page: {self.service.address}")
        self.told = True


def first_fleet(mode: Mode, profile: Profile, sla: Sla, load: Traffic) -> dict[str, int]:
    """The smallest fleet that keeps the promise for the first stretch of the load."""
    pools = tuple(Pool(name, role, profile) for name, role in POOLS[mode].items())
    rate = float(np.count_nonzero(load.arrivals_s < FIRST_S)) / min(FIRST_S, load.duration_s)
    prompts, answers = _lengths(load.input_tokens), _lengths(load.output_tokens)
    offered = load_of((max(rate, 0.1),), prompts, 1.0, answers)
    return dict(slo.size(pools, sla, offered).replicas)


def _lengths(tokens: NDArray[np.int32]) -> Lengths:
    """Ten equally likely lengths."""
    tenths = np.quantile(tokens, np.arange(0.05, 1.0, 0.1))
    return Lengths(tuple(map(float, tenths)), (0.1,) * len(tenths))


def _warm_up(stack: Stack, load: Traffic) -> None:
    """A few requests of the load, one after the other.

    Raises:
        StackError: one is not served.
    """
    for number in range(min(WARM_UP, load.requests)):
        one = Traffic("warm-up", np.zeros(1), load.input_tokens[[number]], load.output_tokens[[number]], 1.0)
        stack.serve(one)


def _listed(replicas: dict[str, int]) -> str:
    return " and ".join(f"{count} {pool} worker{'s' * (count != 1)}" for pool, count in replicas.items())
