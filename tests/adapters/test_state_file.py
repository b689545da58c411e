"""The planner's memory survives a restart, and nothing half-written or foreign is ever gone on from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from planner.adapters import state_file
from planner.adapters.profile_files import load as load_profile
from planner.adapters.state_file import StateKeeper
from planner.core.planner import Planner
from planner.core.policy import Policy, Pool
from planner.core.types import Role
from tests.core.worlds import SLA, seen


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
    found = state_file.read(tmp_path / "state.json", planner.policy)
    again = Planner(planner.policy, found.state)

    assert [planner.step(seen(200.0 + 5.0 * i, 120.0)) for i in range(30)] == [
        again.step(seen(200.0 + 5.0 * i, 120.0)) for i in range(30)
    ]


def test_a_state_of_another_policy_is_not_gone_on_from(tmp_path: Path) -> None:
    planner = taught()
    state_file.write(tmp_path / "state.json", planner.policy, planner.state)
    found = state_file.read(tmp_path / "state.json", real_policy(interval_s=30.0))

    assert found.state is None
    assert "another policy" in found.said
    assert (tmp_path / "state.json").exists()


def test_a_broken_file_is_kept_aside_for_whoever_wants_to_look(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_text('{"schema": "sla-planner/state.v1", "po')
    found = state_file.read(file, real_policy())

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
