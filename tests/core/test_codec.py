"""Data that leaves as JSON comes back equal; what is wrong is named by its place."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.core.codec import CodecError, from_json, to_json
from planner.core.histogram import Histogram
from planner.core.state import PlannerState
from planner.core.types import Observation, PoolReading, Window

finite = st.floats(min_value=0, allow_infinity=False, allow_nan=False)
maybe = st.none() | finite
counts = st.lists(finite, min_size=2, max_size=2).map(tuple)
histograms = st.builds(Histogram, st.just((0.5, float("inf"))), counts, finite)
windows = st.builds(Window, finite, maybe, maybe, st.none() | histograms, st.none() | histograms, maybe)
readings = st.builds(
    PoolReading,
    st.integers(0, 99),
    st.integers(0, 99),
    starting_s=st.lists(finite, max_size=3).map(tuple),
    running=maybe,
    step_seconds=st.none() | histograms,
    request_itl=st.none() | histograms,
    worker_steps=st.lists(st.tuples(finite, finite), max_size=2).map(tuple),
    backlog=st.none() | st.lists(finite, max_size=2).map(tuple),
)
observations = st.builds(
    Observation, finite, st.dictionaries(st.text(max_size=5), readings, max_size=3), st.none() | windows
)


@given(observations)
def test_an_observation_survives_the_round_trip(seen: Observation) -> None:
    text = json.dumps(to_json(seen), allow_nan=False)

    assert from_json(Observation, json.loads(text)) == seen


@given(st.dictionaries(st.text(max_size=5), histograms, max_size=2))
def test_a_state_survives_the_round_trip_and_an_older_one_knows_no_request_itl(told: dict[str, Histogram]) -> None:
    state = PlannerState(at=5.0, budgets={"both": -3.0}, request_itl=told)

    assert from_json(PlannerState, json.loads(json.dumps(to_json(state), allow_nan=False))) == state
    assert from_json(PlannerState, {"budgets": {"both": -3.0}}).request_itl == {}


def test_zero_and_unknown_stay_apart() -> None:
    assert to_json(PoolReading(1, 1, waiting=0.0)) == {"requested": 1, "ready": 1, "waiting": 0.0}
    assert to_json(PoolReading(1, 1)) == {"requested": 1, "ready": 1}


def test_nan_is_refused() -> None:
    with pytest.raises(CodecError, match="NaN is no measurement"):
        to_json(PoolReading(1, 1, waiting=float("nan")))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"at": 1.0}, "pools missing in a Observation"),
        ({"at": 1.0, "pools": {}, "when": 2}, "unknown when in a Observation"),
        ({"at": True, "pools": {}}, "at: expected a number, got True"),
        ({"at": 1.0, "pools": {"decode": {"requested": "3", "ready": 1}}}, "pools.decode.requested: expected int"),
        (
            {"at": 1.0, "pools": {"a": {"requested": 1, "ready": 1, "worker_steps": [[1.0]]}}},
            r"pools.a.worker_steps\[0\]: expected 2 items, got 1",
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_place(data: object, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        from_json(Observation, data)
