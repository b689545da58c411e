"""One Prometheus for all tests of a process; targets are handed out, so tests do not meet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.adapters.prometheus.stand import Stand, stand


@pytest.fixture
def prometheus_stand(one_prometheus: Stand) -> Iterator[Stand]:
    """Groups of targets for one test."""
    yield one_prometheus
    one_prometheus.release()


@pytest.fixture(scope="session")
def one_prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A real server, scraping every 0.3 s; skipped where none is installed."""
    with stand(tmp_path_factory.mktemp("prometheus")) as running:
        yield running
