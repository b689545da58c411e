"""What tests of the peers share: a site, and readings of its pools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from planner.adapters import profile_files
from planner.core.histogram import Histogram
from planner.core.policy import Pool, Sla
from planner.core.types import Decision, Observation, PoolReading, Role, Window, WorkerReading
from planner.simulation.peers.api import Peer, Site
from planner.simulation.run import Run
from planner.simulation.simulate import simulate
from tests.simulation import worlds

PROFILE = profile_files.load("h200-llama31-8b-fp8-tp1")
SLA = Sla(0.5, 0.025)
ROLES = {"prefill": Role.PREFILL, "decode": Role.DECODE, "aggregated": Role.AGGREGATED}


def site(*names: str, budget: int | None = None, most: int = 1000) -> Site:
    """Pools of one GPU a replica, at least one replica each."""
    pools = tuple(Pool(name, ROLES[name], PROFILE, max_replicas=most) for name in names or ("prefill", "decode"))
    return Site(pools, SLA, budget)


def worker(name: str, kv: float = 0.0, waiting: float = 0.0, tokens: float = 0.0, running: float = 0.0,
           prompt: float = 0.0) -> WorkerReading:  # fmt: skip
    """One replica: share of its KV cache in use, requests and tokens that wait, requests and prompt in work."""
    return WorkerReading(name, running, waiting, tokens, kv, 0.0, 0.0, prompt)


def reading(*workers: WorkerReading, starting: int = 0) -> PoolReading:
    """A pool of these, and some that start."""
    return PoolReading(len(workers) + starting, len(workers), (1.0,) * starting, workers=workers)


def lengths(isl: float, osl: float, seconds: float = 15.0, started: float = 10.0) -> Window:
    """A window in which every request was alike."""
    inf = float("inf")
    return Window(
        seconds,
        started=started,
        input_tokens=Histogram((isl, inf), (started, 0.0), started * isl),
        output_tokens=Histogram((osl, inf), (started, 0.0), started * osl),
    )


def seen(at: float, pools: Mapping[str, PoolReading], window: Window | None = None) -> Observation:
    """One look."""
    return Observation(at, pools, window)


def over_and_idle(peer: Peer, pools: Sequence[str] = ("prefill", "decode"), high: float = 50.0,
                  knobs: Mapping[str, float] | None = None, minutes: tuple[int, int] = (4, 26)) -> Run:  # fmt: skip
    """A real, short simulation: too much for one replica each, then nearly nothing."""
    rates = [high] * minutes[0] + [0.5] * minutes[1]
    world = worlds.world(rates, pools, startup_s=30.0, scrape_s=peer.tick_s)
    made = peer.decider(site(*pools, most=16), knobs)
    return simulate(world, peer.name, made, dict.fromkeys(pools, 1))


def fleets(run: Run, pool: str) -> list[int]:
    """What was asked for, step by step."""
    return [step.decision.replicas[pool] for step in run.steps]


def fleet(decision: Decision) -> tuple[int, ...]:
    """Replicas in the order of the pools."""
    return tuple(decision.replicas.values())
