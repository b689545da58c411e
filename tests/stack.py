"""The real local stack for tests: skipped, with how to get it, where it is not installed.

from tests.stack import stack_tools, steady, TIMING  # a fixture, a helper, the workers' speed

@pytest.mark.e2e
def test_something(stack_tools, tmp_path):
    with Stack(Shape("aggregated", {"aggregated": 2}, TIMING.profile("test")), stack_tools, tmp_path) as stack:
        replies = Client(stack.url, MODEL, steady(rate=5.0, seconds=20.0, isl=300, osl=40)).run()
"""

from __future__ import annotations

import numpy as np
import pytest

from planner.local import install
from planner.local.errors import StackError
from planner.local.install import Tools
from planner.local.timing import LinearTiming
from planner.simulation.traffic.types import Traffic

TIMING = LinearTiming()


@pytest.fixture(scope="session")
def stack_tools() -> Tools:
    """The programs of the stack."""
    try:
        return install.tools(install.home())
    except StackError as problem:
        pytest.skip(f"{problem}; `make stack` installs the wheels")


def steady(rate: float, seconds: float, isl: int, osl: int, seed: int = 1) -> Traffic:
    """Poisson arrivals of equal requests."""
    arrivals = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, int(rate * seconds * 2)))
    arrivals = arrivals[arrivals < seconds]
    lengths = [np.full(len(arrivals), tokens, np.int32) for tokens in (isl, osl)]
    return Traffic("steady", arrivals, lengths[0], lengths[1], seconds)


__all__ = ["TIMING", "stack_tools", "steady"]
