"""The same ten minutes through the plant and through Dynamo's own parts, beside each other.

Both get one profile, one trace, one plan of replicas; what differs is what the plant gets wrong.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner import wiring
from planner.adapters.processes import Event, What
from planner.core.buckets import DYNAMO_BUCKETS
from planner.core.types import Decision, Reason
from planner.local.client import Client
from planner.local.install import Tools
from planner.local.replay import replay
from planner.local.stack import MODEL, Mode, Shape, Stack
from planner.local.timing import LinearTiming
from planner.simulation.cluster import SimulatedCluster
from planner.simulation.engine import Plant, PlantParameters
from planner.simulation.run import Promise
from planner.simulation.supply import Startup
from planner.simulation.traffic.load import TrafficSpec, load
from planner.simulation.traffic.types import Traffic

Replicas = Mapping[str, int]
Plan = tuple[tuple[float, Replicas], ...]
"""What is asked for when, in seconds of the traffic's clock, after the fleet at the start."""
SCHEMA = "sla-planner/fidelity.v1"
TIMING = LinearTiming(prefill_s=0.010, prefill_s_per_token=50e-6, step_s=0.010, step_s_per_kv_token=0.3e-6,
                      kv_tokens=524_288, longest_prompt=16_384)  # fmt: skip
"""Fast enough for a real trace, slow enough that two cores carry it in real time."""
DELAY_S, BOOT_S = 10.0, 0.8
"""Wait before a worker's process is started; and what the process takes until it serves, on two idle cores."""
_WARM_UP = 8


@dataclass(frozen=True, slots=True)
class Trial:
    """What both run."""

    shape: Shape
    traffic: Traffic
    promise: Promise
    plan: Plan = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one of them made of it; NaN for a request that was lost. ITL is 0 where an answer has one token."""

    ttft_s: NDArray[np.float64]
    itl_s: NDArray[np.float64]
    replica_minutes: float  # from asking to ending, inside the window

    def figures(self, promise: Promise) -> dict[str, float]:
        """The figures that are compared, by name; seconds, shares and minutes."""
        ttft, itl = self.ttft_s[np.isfinite(self.ttft_s)], self.itl_s[self.itl_s > 0]
        kept = (self.ttft_s <= promise.ttft_s) & (self.itl_s <= promise.itl_s)
        return {
            "ttft_mean_s": float(ttft.mean()),
            "ttft_p95_s": float(np.percentile(ttft, 95)),
            "itl_mean_s": float(itl.mean()),
            "itl_p95_s": float(np.percentile(itl, 95)),
            "attainment": float(kept.mean()),
            "replica_minutes": self.replica_minutes,
        }


@dataclass(frozen=True, slots=True)
class Design:
    """What a trial of one mode looks like."""

    few: Replicas  # the fleet for the quiet stretches
    many: Replicas  # the fleet for the loud one
    quiet: float  # rates, in terms of the recorded one
    loud: float


DESIGNS: dict[Mode, Design] = {
    "aggregated": Design({"aggregated": 2}, {"aggregated": 3}, 1.2, 1.85),
    "disaggregated": Design({"prefill": 1, "decode": 1}, {"prefill": 2, "decode": 2}, 0.8, 1.4),
}
"""About a tenth more than the few can carry, for a quarter of the time; at most 2,600 tokens a second then."""


def trial(mode: Mode, minutes: float = 10.0, seed: int = 1, router: str = "kv", fixed: bool = False) -> Trial:
    """The shipped trial: a real trace with a stretch above the fleet's capacity, and a fleet that follows late.

    ``fixed``: a fleet that does not follow.
    """
    seconds, design = 60.0 * minutes, DESIGNS[mode]
    start, end, late = 0.4 * seconds, 0.65 * seconds, 0.1 * seconds
    profile = TIMING.profile("fidelity")
    shape = Shape(mode, design.few, profile, delay_s=DELAY_S, router=router, max_sequences=64)
    plan = () if fixed else ((start + late, design.many), (end + late, design.few))
    return Trial(shape, burst(design, seconds, start, end, seed), Promise(1.0, 0.040, 0.99), plan)


def burst(design: Design, seconds: float, start_s: float, end_s: float, seed: int) -> Traffic:
    """Recorded conversations (Azure, 2023) at the quiet rate, and between start and end at the loud one."""
    loud = load(TrafficSpec("azure2023_conv", scale=design.loud, to_s=seconds, seed=seed))
    inside = (loud.arrivals_s >= start_s) & (loud.arrivals_s < end_s)
    kept = inside | (np.random.default_rng(seed).random(loud.requests) < design.quiet / design.loud)
    return replace(
        loud,
        arrivals_s=loud.arrivals_s[kept],
        input_tokens=loud.input_tokens[kept],
        output_tokens=loud.output_tokens[kept],
    )


def plant_parameters(shape: Shape) -> PlantParameters:
    """The plant that is meant to behave like the stack's workers.

    They schedule as vLLM does, a prompt's KV is there at once, and nothing is lost with a worker.
    """
    profile = shape.profile
    points = sorted((p.isl, p.ttft_s) for p in profile.prefill_points)
    return PlantParameters(
        prefill_isl=tuple(isl for isl, _ in points),
        prefill_s=tuple(s for _, s in points),
        step=wiring.step_of(profile),
        kv_capacity_tokens=profile.max_kv_tokens,
        max_sequences=shape.max_sequences,
        chunk_tokens=shape.chunk_tokens,
        prompts_together=True,
        transfer_base_s=0.0,
        transfer_per_token_s=0.0,
        router=shape.router,
        migrate=True,
    )


def through_plant(trial: Trial) -> Outcome:
    """The trial through the plant."""
    traffic, shape = trial.traffic, trial.shape
    parameters = replace(plant_parameters(shape), block_tokens=traffic.block_tokens)
    plant = Plant(traffic.arrivals_s, traffic.input_tokens, traffic.output_tokens, parameters, tuple(shape.initial),
                  DYNAMO_BUCKETS, traffic.block_ids, traffic.block_starts)  # fmt: skip
    cluster = SimulatedCluster(plant, shape.initial, Startup(shape.delay_s + BOOT_S))
    for at, replicas in trial.plan:
        cluster.finish(at)
        cluster.apply(_asking(at, replicas))
    cluster.finish(traffic.duration_s + 600.0)
    ttft, itl = plant.outcomes()
    spans = [(span.asked_s, span.ended_s) for span in cluster.spans]
    return Outcome(ttft.astype(float), itl.astype(float), _minutes(spans, traffic.duration_s))


def through_replay(trial: Trial, python: Path, folder: Path) -> Outcome:
    """The trial through Dynamo's offline replay, with the fleet at the start: it follows no plan."""
    if trial.plan:
        raise ValueError(f"the offline replay has a fixed fleet, but the trial plans {len(trial.plan)} changes of it")
    ttft, itl = replay(trial.shape, trial.traffic, python, folder)
    workers = sum(trial.shape.initial.values())
    return Outcome(ttft, itl, workers * trial.traffic.duration_s / 60.0)


def through_stack(
    trial: Trial, tools: Tools, folder: Path, tell: Callable[[float], None] = lambda share: None
) -> Outcome:
    """The trial through the real stack, in real time; ``tell`` hears the share of it that is over.

    Raises:
        StackError: a part of the stack fails.
    """
    events: list[Event] = []
    with Stack(trial.shape, tools, folder, events.append) as stack:
        Client(stack.url, MODEL, _first(trial.traffic, _WARM_UP)).run()
        client = Client(stack.url, MODEL, trial.traffic)
        stop = threading.Event()
        planned = threading.Thread(target=_follow, args=(trial, stack, stop, tell), name="plan")
        planned.start()
        try:
            replies = client.run()
        finally:
            stop.set()
            planned.join()
        assert client.started_at is not None
        ended = client.started_at + trial.traffic.duration_s
        spans = _spans(events, client.started_at)
    lost = np.array([bool(error) for error in replies.errors])
    itl = np.where(replies.output_tokens > 1, replies.itl_s, 0.0)
    return Outcome(np.where(lost, np.nan, replies.ttft_s), np.where(lost, np.nan, itl),
                   _minutes(spans, ended - client.started_at))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Comparison:
    """The figures of the plant beside those of the real parts."""

    against: str
    trial: Trial
    plant: Outcome
    real: Outcome

    def rows(self) -> list[tuple[str, float, float, float | None]]:
        """By figure: name, plant, real, and their ratio; ``None`` where there is nothing to divide by."""
        ours, theirs = self.plant.figures(self.trial.promise), self.real.figures(self.trial.promise)
        return [(name, ours[name], theirs[name], ours[name] / theirs[name] if theirs[name] else None) for name in ours]

    def worst(self) -> float:
        """The largest deviation of a ratio from 1."""
        return max(abs(ratio - 1.0) for _, _, _, ratio in self.rows() if ratio is not None)

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        traffic = self.trial.traffic
        return {
            "schema": SCHEMA,
            "against": self.against,
            "mode": self.trial.shape.mode,
            "requests": traffic.requests,
            "minutes": traffic.duration_s / 60.0,
            "tokens_per_s": float(traffic.output_tokens.sum()) / traffic.duration_s,
            "promise": {"ttft_s": self.trial.promise.ttft_s, "itl_s": self.trial.promise.itl_s},
            "lost": int(np.isnan(self.real.ttft_s).sum()),
            "figures": {
                name: {"plant": ours, "real": theirs, "ratio": ratio} for name, ours, theirs, ratio in self.rows()
            },
            "worst_deviation": self.worst(),
        }


def _asking(at: float, replicas: Replicas) -> Decision:
    return Decision(at, replicas, replicas, Reason.SIZED)


def _first(traffic: Traffic, count: int) -> Traffic:
    """The first few requests, to wake every part up."""
    return replace(
        traffic,
        arrivals_s=np.linspace(0.0, 0.25 * (count - 1), count),
        input_tokens=traffic.input_tokens[:count],
        output_tokens=np.minimum(traffic.output_tokens[:count], 20),
        duration_s=0.25 * count,
        block_ids=None,
        block_starts=None,
    )


def _follow(trial: Trial, stack: Stack, stop: threading.Event, tell: Callable[[float], None]) -> None:
    """Ask for what the plan says when it says so, until everything is asked for and the window is over."""
    began, left = time.monotonic(), list(trial.plan)
    while not stop.wait(0.2):
        now = time.monotonic() - began
        while left and left[0][0] <= now:
            stack.fleet.apply(_asking(*left.pop(0)))
        tell(min(1.0, now / trial.traffic.duration_s))


def _spans(events: list[Event], start: float) -> list[tuple[float, float | None]]:
    """When every worker was asked for and ended, in seconds of the traffic's clock."""
    over = (What.CANCELLED, What.ENDED, What.KILLED, What.DIED, What.GIVEN_UP, What.REFUSED)
    asked = {event.worker: event.at - start for event in events if event.what is What.ASKED}
    ended = {event.worker: event.at - start for event in events if event.what in over}
    return [(at, ended.get(worker)) for worker, at in asked.items()]


def _minutes(spans: list[tuple[float, float | None]], duration_s: float) -> float:
    """Replica-minutes inside the window."""
    seconds = (min(duration_s if end is None else end, duration_s) - max(0.0, begin) for begin, end in spans)
    return sum(max(0.0, each) for each in seconds) / 60.0
