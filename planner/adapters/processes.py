"""Worker processes on this machine as a scale target: started, watched, replaced, drained.

One supervising thread keeps each pool at the number that was last asked for. It starts every process, and the leash
of a process holds to the thread that started it: whatever ends us ends the workers.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from planner.adapters.children import Ports
from planner.adapters.worker_process import Event, Member, Premises, Stage, What, Worker
from planner.core.types import Decision, PoolReading
from planner.ports import TargetError

LOOK_S = 0.05
"""Between looks at the workers: what a measured start-up may be too long by."""
STEADY_S = 10.0
"""A worker that dies earlier than this after its start may do so again and again: its successor waits."""
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
"""Wait after an early death; doubled with each in a row."""
_FAULTS = (What.REFUSED, What.GIVEN_UP, What.DIED)


class _Pool:
    """The workers of one pool, and how many there should be."""

    def __init__(self, name: str, worker: Worker) -> None:
        self.name, self.worker = name, worker
        self.asked = 0
        self.created = 0
        self.first = 0  # of those created, how many stand for what was there before
        self.members: list[Member] = []
        self.startups_s: list[float] = []
        self._early_deaths = 0
        self._resumes = 0.0

    def create(self, now: float, delay_s: float, premises: Premises) -> Member:
        """One more worker; after early deaths not before their wait is over."""
        self.created += 1
        member = Member(self.worker, self.name, self.created, max(now, self._resumes), delay_s, premises)
        self.members.append(member)
        return member

    def surplus(self) -> list[Member]:
        """Whom to let go first: what is not ready yet, then the newest."""
        serving = [member for member in self.members if member.stage in (Stage.WAITING, Stage.STARTING, Stage.READY)]
        serving.sort(key=lambda member: (member.stage is Stage.READY, -member.number))
        return serving[: max(0, len(serving) - self.asked)]

    def missing(self) -> int:
        """How many to create."""
        gone = (Stage.DRAINING, Stage.GONE)
        return max(0, self.asked - sum(member.stage not in gone for member in self.members))

    def note_fault(self, member: Member, now: float) -> None:
        """Make successors wait when a worker died early; those that die in the same wait count once."""
        if member.lived_s(now) >= STEADY_S:
            self._early_deaths = 0
        elif now >= self._resumes:
            self._resumes = now + min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**self._early_deaths)
            self._early_deaths += 1

    def reading(self, now: float) -> PoolReading:
        """The pool as the planner sees it; start-ups are told once."""
        stages = [member.stage for member in self.members]
        waiting = (Stage.WAITING, Stage.STARTING)
        ages = tuple(max(0.0, now - member.begins) for member in self.members if member.stage in waiting)
        startups, self.startups_s = tuple(self.startups_s), []
        return PoolReading(self.asked, stages.count(Stage.READY), ages, startups)


class ProcessFleet:
    """Pools of worker processes; a ``ScaleTarget``.

    ``discovery`` lists the workers that serve for Prometheus (file_sd), with the labels ``pool`` and ``worker``;
    ``logs`` is a folder for what they print. ``tell`` is called for everything that happens, from our own thread.
    """

    def __init__(
        self,
        workers: Mapping[str, Worker],
        discovery: Path | None = None,
        logs: Path | None = None,
        tell: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self._pools = {name: _Pool(name, worker) for name, worker in workers.items()}
        self._discovery, self._tell = discovery, tell
        self._premises = Premises(logs, ThreadPoolExecutor(8, "readiness"), Ports())
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._troubles: dict[str, None] = {}  # sentences in order, each once
        self._untold: list[Event] = []
        self._written: list[dict[str, object]] | None = None
        self._thread = threading.Thread(target=self._supervise, name="workers", daemon=True)

    def start(self, initial: Mapping[str, int]) -> None:
        """Begin with these workers, started without the delay: they stand for what has been there before.

        Raises:
            TargetError: a pool is not ours, or a folder cannot be made.
        """
        self._check_names(initial)
        try:
            for folder in filter(None, (self._premises.logs, self._discovery and self._discovery.parent)):
                folder.mkdir(parents=True, exist_ok=True)
            self._write_discovery()
        except OSError as problem:
            raise TargetError(f"the fleet cannot be started: {problem}") from None
        for name, count in initial.items():
            pool = self._pools[name]
            pool.asked = pool.first = count
            for _ in range(count):
                self._note(pool.create(time.monotonic(), 0.0, self._premises), (What.ASKED, "to begin with"))
        self._thread.start()

    def wait_ready(self, timeout_s: float) -> None:
        """Wait until every pool has the ready workers that were asked for.

        Raises:
            TargetError: one died, could not be started, or ``timeout_s`` is over.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            with self._lock:
                lacking = [p for p in self._pools.values() if p.asked > sum(m.stage is Stage.READY for m in p.members)]
                trouble = next(iter(self._troubles), "")
            if not lacking:
                return
            if trouble or time.monotonic() > deadline:
                names = ", ".join(pool.name for pool in lacking)
                raise TargetError(trouble or f"not ready after {timeout_s:g} s: workers of {names}")
            time.sleep(LOOK_S)

    def apply(self, decision: Decision) -> None:
        """Ask for the decided replicas.

        Raises:
            TargetError: a pool is not ours, or a worker failed since the last call; it is being replaced.
        """
        self._check_names(decision.replicas)
        if not self._thread.is_alive():
            raise TargetError("the fleet of worker processes is not running")
        with self._lock:
            for name, count in decision.replicas.items():
                self._pools[name].asked = count
            troubles, self._troubles = self._troubles, {}
        self._wake.set()
        if troubles:
            raise TargetError("; ".join(troubles))

    def fleet(self) -> Mapping[str, PoolReading]:
        """Replicas of every pool; start-ups that were measured since the last call."""
        with self._lock:
            now = time.monotonic()
            return {name: pool.reading(now) for name, pool in self._pools.items()}

    def processes(self) -> Mapping[str, int]:
        """Process ids of the workers that have one, by name; those that drain too."""
        with self._lock:
            members = [member for pool in self._pools.values() for member in pool.members]
            return {member.name: member.pid for member in members if member.pid is not None}

    def close(self, patience_s: float = 10.0) -> None:
        """Let all workers finish, for at most ``patience_s``; kill those that have not."""
        self._closing = True
        with self._lock:
            for pool in self._pools.values():
                pool.asked = 0
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(patience_s)
        with self._lock:
            for pool in self._pools.values():
                for member in pool.members:
                    member.kill()
        if self._thread.is_alive():
            self._thread.join()
        self._premises.prober.shutdown(wait=False, cancel_futures=True)

    def _check_names(self, replicas: Mapping[str, int]) -> None:
        unknown = sorted(set(replicas) - set(self._pools))
        if unknown:
            raise TargetError(f"no worker command is configured for {', '.join(unknown)}; "
                              f"there are commands for {', '.join(self._pools) or 'no pool'}")  # fmt: skip

    def _supervise(self) -> None:
        while True:
            with self._lock:
                self._look()
                told, self._untold = self._untold, []
            for event in told:
                self._tell(event)
            if self._closing and not any(pool.members for pool in self._pools.values()):
                return
            self._wake.wait(LOOK_S)
            self._wake.clear()

    def _look(self) -> None:
        """Move every worker on, then make their number what was asked for."""
        now = time.monotonic()
        for pool in self._pools.values():
            for member in list(pool.members):
                self._step(pool, member, now)
            for member in pool.surplus():
                self._note(member, member.stop(now))
            for _ in range(pool.missing()):
                member = pool.create(now, pool.worker.delay_s, self._premises)
                self._note(member, (What.ASKED, f"starts in {member.begins + pool.worker.delay_s - now:.1f} s"))
            pool.members = [member for member in pool.members if member.stage is not Stage.GONE]
        try:
            self._write_discovery()
        except OSError as problem:
            self._troubles[f"the list of workers for Prometheus cannot be written: {problem}"] = None

    def _step(self, pool: _Pool, member: Member, now: float) -> None:
        happened = member.step(now)
        if happened is None:
            return
        self._note(member, happened)
        if happened[0] in _FAULTS:
            self._troubles[f"{member.name} {happened[0]}: {happened[1]}"] = None
            pool.note_fault(member, now)
        elif happened[0] is What.READY and member.number > pool.first:
            pool.startups_s.append(now - member.begins)

    def _note(self, member: Member, happened: tuple[What, str]) -> None:
        self._untold.append(Event(time.time(), member.pool, member.name, *happened))

    def _write_discovery(self) -> None:
        """List who serves, atomically; only when it has changed. A worker that drains is no target any more."""
        serving = [member for pool in self._pools.values() for member in pool.members if member.stage is Stage.READY]
        groups: list[dict[str, object]] = [
            {"targets": [member.address], "labels": {"pool": member.pool, "worker": member.name}} for member in serving
        ]
        if self._discovery is None or groups == self._written:
            return
        new = self._discovery.with_name(f".{self._discovery.name}.new")
        new.write_text(json.dumps(groups, indent=1) + "\n")
        os.replace(new, self._discovery)
        self._written = groups


__all__ = ["Event", "ProcessFleet", "What", "Worker"]
