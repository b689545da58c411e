"""The same sweep on a cluster: Dask's scheduler and a worker process, found by address."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from planner.arena.crew import Crew, Piece, hired
from planner.arena.store import Store
from planner.cli import main

distributed = pytest.importorskip("distributed", reason="needs the extra sweep: pip install 'sla-planner[sweep]'")
CASE = ("--traffic", "poisson:rate=20/s,duration=3m", "--lengths", "azure2023_conv", "--ttft", "500ms", "--itl", "25ms",
        "--profile", "h200-llama31-8b-fp8-tp1", "--policies", "classic,static", "--fresh", "--json", "-")  # fmt: skip


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    ) as running:
        yield running.scheduler_address


def compared(*options: str) -> list[dict[str, object]]:
    found = CliRunner().invoke(main, ["compare", *CASE, *options], catch_exceptions=False)
    return [
        {key: value for key, value in row.items() if key not in ("wall_seconds", "requests_per_second")}
        for row in json.loads(found.stdout)["rows"]
    ]


def worker_name() -> str:
    return str(distributed.get_worker().name)


def test_a_cluster_finds_what_one_process_finds(cluster):
    assert compared("--backend", "dask", "--cluster", cluster) == compared("--jobs", "1")


def test_the_work_is_done_by_the_cluster(cluster):
    with hired("dask", cluster):
        names = Crew(Store(None), -1).do("where", [Piece(worker_name, ())] * 2)

    assert set(names) <= {"0", "1"}


def test_a_cluster_without_a_backend_is_refused():
    found = CliRunner().invoke(main, ["compare", *CASE, "--cluster", "tcp://localhost:1"])

    assert found.exit_code == 2
    assert "--cluster needs --backend dask or ray" in found.stderr
