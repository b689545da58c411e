"""The planner's memory survives a restart, and nothing half-written or foreign is ever gone on from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from planner.adapters import state_file
from planner.adapters.profile_files import load as load_profile
from planner.adapters.state_file import StateKeeper
from planner.core.planner import Planner
from planner.core.policy import Policy, Pool
from planner.core.types import Role
from tests.core.worlds import SLA, seen

NOW = 200.0  # when ``taught`` has learnt


def real_policy(**changes: object) -> Policy:
    profile = load_profile("h200-llama31-8b-fp8-tp1")
    pools = (Pool("prefill", Role.PREFILL, profile), Pool("decode", Role.DECODE, profile))
    return replace(Policy("slo", SLA, pools, predictor="constant"), **changes)  # type: ignore[arg-type]


def taught() -> Planner:
    planner = Planner(real_policy())
    for tick in range(40):
        planner.step(seen(5.0 * tick, 80.0))
    return planner


def test_a_restarted_planner_decides_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    planner = taught()
    state_file.write(tmp_path / "state.json", planner.policy, planner.state)
    found = state_file.read(tmp_path / "state.json", planner.policy, NOW)
    again = Planner(planner.policy, found.state)

    assert [planner.step(seen(200.0 + 5.0 * i, 120.0)) for i in range(30)] == [
        again.step(seen(200.0 + 5.0 * i, 120.0)) for i in range(30)
    ]


def test_a_state_of_another_policy_is_not_gone_on_from(tmp_path: Path) -> None:
    planner = taught()
    state_file.write(tmp_path / "state.json", planner.policy, planner.state)
    found = state_file.read(tmp_path / "state.json", real_policy(interval_s=30.0), NOW)

    assert found.state is None
    assert "another policy" in found.said
    assert (tmp_path / "state.json").exists()


@pytest.mark.parametrize(("now", "taken"), [(NOW - 60.0, True), (NOW - 86_400.0, False)])
def test_a_state_from_the_future_is_not_gone_on_from(tmp_path: Path, now: float, taken: bool) -> None:
    """A clock that was set back a day: nothing would be decided until it is tomorrow again."""
    planner = taught()
    state_file.write(tmp_path / "state.json", planner.policy, planner.state)
    found = state_file.read(tmp_path / "state.json", planner.policy, now)

    assert (found.state is not None) == taken
    assert taken or "is of 24 h from now: the clock was set back" in found.said


def test_nothing_seen_is_no_memory_to_save(tmp_path: Path) -> None:
    """The next start would go on from it, and learn nothing from history."""
    StateKeeper(tmp_path / "state.json", Planner(real_policy())).save()

    assert not (tmp_path / "state.json").exists()


def test_a_broken_file_is_kept_aside_for_whoever_wants_to_look(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_text('{"schema": "sla-planner/state.v1", "po')
    found = state_file.read(file, real_policy(), NOW)

    assert found.state is None
    assert not file.exists()
    assert (tmp_path / "state.json.broken").read_text().startswith('{"schema"')


def test_a_full_disk_is_told_and_scaling_goes_on(tmp_path: Path) -> None:
    keeper = StateKeeper(tmp_path / "gone" / "state.json", taught())
    keeper.save()

    assert "not saved" in keeper.problem


def test_nothing_but_the_state_is_left_behind(tmp_path: Path) -> None:
    keeper = StateKeeper(tmp_path / "state.json", taught())
    keeper.save()
    keeper.save()

    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]
    assert keeper.problem == ""
