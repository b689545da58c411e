"""A warm start: the past is learnt through the same planner, and asks for nothing."""

from __future__ import annotations

from planner.adapters.fits import FitsBeside
from planner.core.planner import Planner
from planner.core.types import Reason
from planner.live.memory import learn
from tests.core.worlds import policy, seen

BUSY = {"prefill": 9, "decode": 8}


def test_a_warm_start_forecasts_from_the_first_interval_on() -> None:
    """Without history the first interval only learns; with it the burstiness and the mix are known at once."""
    cold, warm = Planner(policy()), Planner(policy())
    learn(warm, FitsBeside(warm), (seen(5.0 * i, 150.0) for i in range(720)))
    now = 3600.0
    for planner in (cold, warm):
        planner.step(seen(now, 150.0, BUSY))

    assert warm.state.memory.mix.input_tokens is not None
    assert len(warm.state.memory.ticks) > 100 > len(cold.state.memory.ticks)


def test_a_warm_start_keeps_the_fleet_that_it_finds() -> None:
    """What the planner would have asked for in the past is not what anybody asked for."""
    planner = Planner(policy())
    learn(planner, FitsBeside(planner), (seen(5.0 * i, 3.0) for i in range(720)))
    decisions = [planner.step(seen(3600.0 + 5.0 * i, 3.0, BUSY)) for i in range(30)]

    assert all(dict(d.replicas) == BUSY for d in decisions)
    assert any(d.reason is Reason.SIZED for d in decisions)


def test_gaps_in_history_are_gaps() -> None:
    planner = Planner(policy())
    history = (seen(5.0 * i, None if 200 <= i < 400 else 80.0) for i in range(720))

    assert learn(planner, FitsBeside(planner), history) == 520
