"""A contest as its users meet it: rows beside the bound, repeatable, resumed, over processes."""

from __future__ import annotations

import pytest

from planner.arena import contest, jobs
from planner.arena.contest import Case, held
from planner.arena.crew import Crew
from planner.arena.store import Store
from planner.config import CompareSettings, load


def settings(policies, **more):
    return load(CompareSettings, None, {
        "traffic.source": "step:low=10/s,high=30/s,at=2m,duration=4m",
        "traffic.lengths": "azure2023_conv",
        "profile": "h200-llama31-8b-fp8-tp1",
        "sla.ttft": "500ms",
        "sla.itl": "25ms",
        "startup": "60s",
        "policies": policies,
        **more,
    })  # fmt: skip


def figures(case):
    return [(r.summary.policy, r.summary.seed, r.summary.attainment, r.summary.gpu_hours, r.ratio) for r in case.rows]


@pytest.fixture
def crew(tmp_path):
    return Crew(Store(tmp_path / "cache"))


def test_every_policy_has_its_ratio_at_its_own_share(crew):
    names = "slo,slo:correction_gain=0,classic,static,static-peak,late,clairvoyant,hpa"
    (case,) = held([Case("step", settings(names))], crew)
    rows = {row.summary.policy: row for row in case.rows}

    assert list(rows) == names.split(",")
    assert rows["clairvoyant"].ratio == 1.0
    assert all(row.ratio is not None and row.at_attainment is not None for row in rows.values())
    assert rows["static"].summary.attainment.both >= 0.99
    assert case.attainable >= rows["static"].summary.attainment.both
    assert rows["static-peak"].summary.changes_per_hour == 0


def test_a_peer_is_tuned_on_the_first_half_only(crew, monkeypatch):
    """A tuned peer must not have seen what it is judged on."""
    seen = []
    whole = jobs.runs.run

    def watched(asked, profile, world, name, *rest):
        seen.append((name, world.traffic.duration_s, rest[2]))
        return whole(asked, profile, world, name, *rest)

    monkeypatch.setattr(jobs.runs, "run", watched)
    (case,) = held([Case("step", settings("kpa:tuned"))], crew)
    tried = [knobs for _, duration_s, knobs in seen if duration_s == 120.0]
    judged = [(name, knobs) for name, duration_s, knobs in seen if duration_s == 240.0]

    assert len(tried) > 1
    assert judged == [("kpa:tuned", case.rows[0].chosen)]
    assert case.rows[0].chosen in tried


def test_a_sweep_that_was_stopped_goes_on_where_it_was(crew, monkeypatch):
    first = held([Case("step", settings("slo,static"))], crew)
    monkeypatch.setattr(jobs, "_world", lambda asked: pytest.fail("run again"))

    assert figures(held([Case("step", settings("slo,static"))], crew)[0]) == figures(first[0])


def test_other_traffic_is_not_taken_for_what_was_run(tmp_path, crew):
    """The name of the file is the same, its content is not."""
    file = tmp_path / "rates.csv"
    hours = []
    for rate in (600, 6000):
        file.write_text(f"minute,requests\n0,{rate}\n1,{rate}\n2,{rate}\n")
        (case,) = held([Case("file", settings("static", **{"traffic.source": str(file)}))], crew)
        hours.append(case.rows[0].summary.gpu_hours)

    assert hours[0] < hours[1]


def test_start_ups_share_the_tables_of_the_bound(crew, monkeypatch):
    """They are the costly part, and no start-up changes them."""
    made = []
    whole = jobs.clairvoyant.tables_of
    monkeypatch.setattr(jobs.clairvoyant, "tables_of", lambda *a: made.append(a[1:]) or whole(*a))
    held([Case("a", settings("static")), Case("b", settings("static", startup="0s"))], crew)

    assert made == [(0, 4)]


def test_two_processes_find_what_one_finds():
    case = Case("step", settings("classic", seeds="2"))
    alone, together = (held([case], Crew(Store(None), jobs))[0] for jobs in (1, 2))

    assert figures(alone) == figures(together)
    assert alone.seeds == (1, 2)


def test_a_policy_that_fails_is_named(crew, monkeypatch):
    def fails(*_):
        raise KeyError("x")

    monkeypatch.setattr(jobs.runs, "run", fails)
    with pytest.raises(KeyError) as problem:
        held([Case("step", settings("hpa"))], crew)

    assert problem.value.__notes__ == ["policy hpa on step:low=10/s,high=30/s,at=2m,duration=4m, seed 1"]


def test_a_run_cheaper_than_the_bound_is_told(crew, monkeypatch):
    monkeypatch.setattr(contest.clairvoyant, "broken", lambda summary, ideal: f"{summary.policy} is too cheap")
    (case,) = held([Case("step", settings("static"))], crew)

    assert case.broken == ("static is too cheap",)
