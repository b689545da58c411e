"""What is kept is found again, and only while nothing that it depends on has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.arena import contest, store
from planner.arena.contenders import contender
from planner.arena.store import MISSING, Store


def test_what_was_put_is_got_and_nothing_else(tmp_path: Path):
    kept = Store(tmp_path)
    kept.put("run", "a", {"x": 1})

    assert kept.get("run", "a") == {"x": 1}
    assert kept.get("run", "b") is MISSING
    assert kept.get("other", "a") is MISSING
    assert Store(None).get("run", "a") is MISSING


def test_a_damaged_file_is_missing(tmp_path: Path):
    kept = Store(tmp_path)
    kept.put("run", "a", 1)
    for file in (tmp_path / "run").iterdir():
        file.write_bytes(b"\x80")

    assert kept.get("run", "a") is MISSING


def test_a_folder_that_takes_nothing_costs_no_run(tmp_path: Path):
    (tmp_path / "file").write_text("")
    Store(tmp_path / "file").put("run", "a", 1)


@pytest.fixture
def edited(monkeypatch: pytest.MonkeyPatch):
    """Digests as they are, and as they would be after an edit of one module."""

    def digests(module: str) -> dict[str, bool]:
        def all_of() -> dict[str, str]:
            store.sources.cache_clear()
            made = {name: contest._of(contender(name)) for name in ("slo", "classic", "hpa", "late")}
            return {**made, "bound": contest._of_the_bound()}

        before = all_of()
        whole = store._digest
        target = store._file(module)
        with monkeypatch.context() as patched:
            patched.setattr(store, "_digest", lambda files: whole(f for f in files if f != target))
            after = all_of()
        store.sources.cache_clear()
        return {name for name in before if before[name] != after[name]}

    return digests


def test_a_change_of_our_law_leaves_the_bound_and_peers_as_they_are(edited):
    assert edited("planner.core.law_slo") == {"slo", "classic"}


def test_a_change_of_a_peer_is_its_own(edited):
    assert edited("planner.simulation.peers.hpa") == {"hpa"}


def test_a_change_of_the_plant_makes_everything_new(edited):
    assert edited("planner.simulation.engine.kernel") == {"slo", "classic", "hpa", "late", "bound"}


def test_a_change_of_settings_makes_everything_new(edited):
    """A new default would change every world."""
    assert edited("planner.config.settings") == {"slo", "classic", "hpa", "late", "bound"}
