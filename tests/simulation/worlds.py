"""Small worlds for tests of the simulation around the plant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from planner.core.types import Decision, Observation, Reason
from planner.simulation.run import Promise
from planner.simulation.simulate import World
from planner.simulation.supply import Startup
from planner.simulation.traffic.types import Traffic
from tests.simulation.engine.rigs import SPLIT, engine_like

PROMISE = Promise(0.5, 0.025)
MINUTE = 60.0


def traffic(rates: Sequence[float], seed: int = 1, isl: int = 1200, osl: int = 40) -> Traffic:
    """Poisson arrivals at ``rates`` requests per second, a minute each; all requests alike."""
    rng = np.random.default_rng(seed)
    arrivals = np.concatenate(
        [MINUTE * (k + np.sort(rng.random(rng.poisson(rate * MINUTE)))) for k, rate in enumerate(rates)]
    )
    lengths = np.ones(len(arrivals), np.int32)
    return Traffic("small", arrivals, isl * lengths, osl * lengths, MINUTE * len(rates))


def world(rates: Sequence[float], pools: Sequence[str] = SPLIT, startup_s: float = MINUTE, **more: object) -> World:
    """A fleet like an 8B model's on ``rates`` (one a minute); 1,200 tokens take about 40 ms of prefill."""
    given: dict[str, object] = {
        "traffic": traffic(rates),
        "promise": PROMISE,
        "plant": engine_like(),
        "pools": pools,
        "gpus_per_replica": dict.fromkeys(pools, 1),
        "startup": Startup(startup_s),
        **more,
    }
    return World(**given)  # type: ignore[arg-type]


class Script:
    """A planner that reads its fleets from a list of (from second, fleet)."""

    def __init__(self, *acts: tuple[float, Mapping[str, int]]) -> None:
        self._acts = acts
        self.seen: list[Observation] = []

    def step(self, seen: Observation) -> Decision:
        self.seen.append(seen)
        fleet = [dict(fleet) for at, fleet in self._acts if at <= seen.at][-1]
        return Decision(seen.at, fleet, fleet, Reason.FIXED)
