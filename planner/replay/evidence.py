"""What a decision went by: the windows since the decision before it, as figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.core.histogram import mean_of
from planner.core.memory import merged
from planner.core.policy import Sla
from planner.core.tuning import SHORT_TERM_S
from planner.core.types import Decision, PoolReading, Reason, Window
from planner.ports import Step
from planner.replay.recording import HELD, Recording


@dataclass(frozen=True, slots=True)
class Seen:
    """Figures of the time before a decision; ``None`` is not measured."""

    seconds: float  # observed
    requests: float | None
    rate_per_s: float | None
    input_tokens: float | None  # mean of a prompt
    output_tokens: float | None  # mean of an answer
    cached_share: float | None  # of prompt tokens
    ttft_s: float | None  # mean
    ttft_kept: tuple[float, float] | None  # bracket of the share within the target
    itl_s: float | None  # mean gap between tokens
    pools: Mapping[str, PoolReading]  # at the moment of the decision
    blind_steps: int  # steps of that time at which nothing could be read
    problems: tuple[str, ...]  # named conditions, and what went wrong outside

    def to_json(self) -> dict[str, Any]:
        """The figures as the JSON output has them."""
        return {
            "seconds": self.seconds,
            "requests": self.requests,
            "rate_per_second": self.rate_per_s,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cached_share": self.cached_share,
            "ttft_seconds": self.ttft_s,
            "ttft_kept": None if self.ttft_kept is None else list(self.ttft_kept),
            "itl_seconds": self.itl_s,
            "pools": {name: _reading(reading) for name, reading in self.pools.items()},
            "blind_steps": self.blind_steps,
            "problems": list(self.problems),
        }


def seen_before(recording: Recording, index: int, sla: Sla | None) -> Seen:
    """What the decision at ``index`` went by.

    Everything since the full decision before; the last seconds, where it is a fast look or holds.
    """
    steps = recording.steps[_first(recording, index) : index + 1]
    window = _whole(steps)
    ttft = window.ttft if window else None
    prompts = window.input_tokens if window else None
    cached = window.cached_tokens if window else None
    return Seen(
        seconds=window.seconds if window else 0.0,
        requests=window.started if window else None,
        rate_per_s=window.started / window.seconds if window and window.started is not None else None,
        input_tokens=mean_of(prompts),
        output_tokens=mean_of(window.output_tokens if window else None),
        cached_share=cached / prompts.total if cached is not None and prompts and prompts.total > 0 else None,
        ttft_s=mean_of(ttft),
        ttft_kept=ttft.share_at_most(sla.ttft_s) if ttft and sla else None,
        itl_s=mean_of(window.itl if window else None),
        pools=steps[-1].seen.pools,
        blind_steps=sum(step.seen.window is None for step in steps),
        problems=_problems(steps),
    )


def _first(recording: Recording, index: int) -> int:
    """Index of the first step that the decision at ``index`` went by."""
    steps, at = recording.steps, recording.steps[index].seen.at
    reason = steps[index].decision.reason
    brief = reason in HELD or reason is Reason.FAST_PATH
    for i in range(index - 1, -1, -1):
        if i + 1 in recording.set_back:
            return i + 1
        if steps[i].seen.at <= at - SHORT_TERM_S if brief else is_full(steps[i].decision):
            return i + 1
    return 0


def is_full(decision: Decision) -> bool:
    """Whether this was a full decision, as far as a log shows: fast looks and holds are none."""
    hurried = decision.reason is Reason.INFEASIBLE and decision.forecast is None
    return decision.reason not in HELD and decision.reason is not Reason.FAST_PATH and not hurried


def _whole(steps: Sequence[Step]) -> Window | None:
    whole: Window | None = None
    for step in steps:
        if step.seen.window is not None:
            whole = step.seen.window if whole is None else merged(whole, step.seen.window)
    return whole


def _problems(steps: Sequence[Step]) -> tuple[str, ...]:
    """Each condition once, in the order in which they came up."""
    told = [text for step in steps for text in (*step.seen.problems, step.error) if text]
    return tuple(dict.fromkeys(told))


def _reading(reading: PoolReading) -> dict[str, Any]:
    return {
        "requested": reading.requested if reading.requested_known else None,
        "ready": reading.ready,
        "starting": len(reading.starting_s),
        "running": reading.running,
        "waiting": reading.waiting,
        "kv_usage": reading.kv_usage,
    }
