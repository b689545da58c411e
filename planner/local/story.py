"""What happens, as it happens, in short lines for the person who watches; and how it went in the end."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from planner import words
from planner.adapters.processes import Event, What
from planner.core.policy import Sla
from planner.core.types import Decision, Observation
from planner.local.client import Replies, Reply

LINE_S = 15.0
"""Between lines on how things stand."""
_SIGNS = {What.ASKED: "+", What.READY: "✓", What.DRAINING: "−", What.CANCELLED: "−", What.DIED: "✗",
          What.GIVEN_UP: "✗", What.REFUSED: "✗", What.KILLED: "✗", What.ENDED: "·"}  # fmt: skip
_WORDS = {What.READY: "serves", What.DRAINING: "drains: it finishes what it has", What.ENDED: "has ended"}


@dataclass(slots=True)
class Story:
    """Listens to the fleet, the planner and the client. Safe to call from their threads."""

    say: Callable[[str], None]
    sla: Sla
    sent: int = 0  # answered or lost
    kept: int = 0
    lost: int = 0
    events: Counter[What] = field(default_factory=Counter)
    sizes: list[tuple[float, Mapping[str, int]]] = field(default_factory=list)  # time and replicas asked for
    _began: float | None = None
    _told: float = 0.0
    _recent: int = 0
    _asked: Mapping[str, int] = field(default_factory=dict)
    _trouble: str = ""
    _quiet: bool = True
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def begin(self, initial: Mapping[str, int]) -> None:
        """From here on time counts, and workers are told about."""
        self._began = self._told = time.time()
        self._asked = dict(initial)
        self._quiet = False

    def end(self) -> None:
        """What happens from here on is clearing up."""
        self._quiet = True

    def happened(self, event: Event) -> None:
        """Something happened to a worker."""
        if self._quiet or event.what is What.STARTED:
            return
        self.events[event.what] += 1
        told = _WORDS.get(event.what, str(event.what.value))
        detail = f" ({event.detail})" if event.detail else ""
        self._line(f"  {_SIGNS[event.what]} {event.worker} {told}{detail}")

    def answered(self, reply: Reply) -> None:
        """A request was answered, or lost."""
        with self._lock:
            self.sent += 1
            self._recent += 1
            self.kept += reply.kept(self.sla.ttft_s, self.sla.itl_s)
            if reply.error:
                self.lost += 1
                self._line(f"  ✗ a request was lost: {reply.error}")

    def announce(self, decision: Decision) -> None:
        """The planner asks for these workers: a line when they are others than before."""
        if decision.replicas and dict(decision.replicas) != self._asked:
            self._line(f"planner: {words.changes(decision.replicas, self._asked)} ({self._why(decision)})")
            self._asked = dict(decision.replicas)

    def record(self, seen: Observation, decision: Decision, error: str = "") -> None:
        """A step is over: a line when something is wrong, and now and then on how things stand."""
        self.sizes.append((seen.at, dict(decision.replicas)))
        if error and error != self._trouble:
            self._line(f"  ! {error}")
        self._trouble = error
        if time.time() >= self._told + LINE_S:
            self._stand(seen)

    def _why(self, decision: Decision) -> str:
        seen = decision.forecast
        load = f"; {seen.rate:.0f} requests/s, up to {seen.rate_high:.0f} within {seen.horizon_s:.0f} s" if seen else ""
        rules = "".join(f", {rule.reason.value}" for rule in decision.adjustments)
        return f"{decision.reason.value}{load}{rules}"

    def _stand(self, seen: Observation) -> None:
        with self._lock:
            now = time.time()
            rate, self._recent = self._recent / (now - self._told), 0
            self._told = now
            fleet = ", ".join(f"{pool} {reading.ready} of {reading.requested}" for pool, reading in seen.pools.items())
            kept = f"{self.kept / self.sent:.1%}" if self.sent else "–"
            self._line(f"{rate:.1f} requests/s · ready: {fleet} · kept {kept} · lost {self.lost}")

    def _line(self, text: str) -> None:
        passed = 0 if self._began is None else int(time.time() - self._began)
        self.say(f"{passed // 60:2d}:{passed % 60:02d}  {text}")


def summary(story: Story, replies: Replies, ended_at: float) -> list[str]:
    """How it went, in a few lines."""
    if not len(replies.errors):
        return ["no request was sent"]
    kept = replies.kept(story.sla.ttft_s, story.sla.itl_s)
    mean, most = sizes(story.sizes, ended_at)
    fleet = ", ".join(f"{pool} {mean[pool]:.1f} on average, {most[pool]} at most" for pool in mean)
    saved = 1.0 - sum(mean.values()) / max(1, sum(most.values()))
    return [
        f"requests  {len(kept):,}, lost {replies.lost}",
        f"promise   kept for {kept.mean():.1%} (goal {story.sla.goal:.0%}: TTFT ≤ {story.sla.ttft_s * 1e3:.0f} ms and "
        f"mean ITL ≤ {story.sla.itl_s * 1e3:.0f} ms)",
        f"TTFT      {_spread(replies.ttft_s)}",
        f"ITL       {_spread(replies.itl_s)}",
        f"workers   {fleet}; {saved:.0%} less than the peak fleet all the time",
        f"changes   {story.events[What.READY]} workers added, {story.events[What.DRAINING]} drained, "
        f"{story.events[What.CANCELLED]} cancelled while starting, {story.events[What.DIED]} died",
    ]


def _spread(seconds: NDArray[np.float64]) -> str:
    known = seconds[~np.isnan(seconds)] * 1e3
    return f"mean {known.mean():.1f} ms, p95 {np.quantile(known, 0.95):.1f} ms" if known.size else "not measured"


def sizes(asked: list[tuple[float, Mapping[str, int]]], until: float) -> tuple[dict[str, float], dict[str, int]]:
    """Mean over time and most replicas that were asked for, by pool."""
    known = [(at, replicas) for at, replicas in asked if replicas]
    mean: dict[str, float] = {}
    most: dict[str, int] = {}
    if not known:
        return mean, most
    ends = [at for at, _ in known[1:]] + [until]
    for (at, replicas), end in zip(known, ends, strict=True):
        for pool, count in replicas.items():
            mean[pool] = mean.get(pool, 0.0) + count * max(0.0, end - at)
            most[pool] = max(most.get(pool, 0), count)
    total = until - known[0][0]
    return {pool: value / total for pool, value in mean.items()}, most
