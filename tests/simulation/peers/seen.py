"""What a peer that reads totals of a pool is shown, look by look."""

from __future__ import annotations

from planner.core.policy import Pool
from planner.core.types import PoolReading, Reason
from planner.simulation.peers.objects import Answer, Look, Scaler
from tests.simulation.peers import rigs


def pool(name: str = "decode", least: int = 1, most: int = 1000) -> Pool:
    """One pool of one GPU a replica."""
    return Pool(name, rigs.ROLES[name], rigs.PROFILE, min_replicas=least, max_replicas=most)


def gauges(ready: int, starting: int = 0, waiting: float | None = 0.0, running: float | None = 0.0,
           kv: float | None = 0.0, tokens: float | None = 0.0) -> PoolReading:  # fmt: skip
    """A pool's gauges; requests and tokens are of all replicas together, ``kv`` is the mean share."""
    return PoolReading(ready + starting, ready, (1.0,) * starting, running=running, waiting=waiting,
                       pending_tokens=tokens, kv_usage=kv)  # fmt: skip


NOTHING = {"waiting": None, "running": None, "kv": None, "tokens": None}
"""Gauges of a source that is down."""


class Fleet:
    """One pool whose replicas are whatever its object asks for, ready at once unless ``ready`` says otherwise."""

    def __init__(self, scaler: Scaler, replicas: int, every_s: float, start: float = 1000.0) -> None:
        self.scaler, self.replicas, self.every_s, self.at = scaler, replicas, every_s, start

    def look(self, ready: int | None = None, **shown: float | None) -> int:
        """Replicas asked for at this look."""
        return self.answer(ready, **shown).replicas

    def answer(self, ready: int | None = None, **shown: float | None) -> Answer:
        """The whole answer; time moves on to the next look."""
        serving = self.replicas if ready is None else ready
        reading = gauges(serving, self.replicas - serving, **shown)
        answer = self.scaler.look(Look(self.at, self.replicas, reading, None))
        if answer.reason is Reason.HELD_BLIND:
            assert answer.replicas == self.replicas
        self.replicas, self.at = answer.replicas, self.at + self.every_s
        return answer

    def looks(self, count: int, **shown: float | None) -> list[int]:
        """The same gauges ``count`` times."""
        return [self.look(**shown) for _ in range(count)]
