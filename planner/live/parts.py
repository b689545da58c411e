"""From settings to the world of a live planner: the source it reads, the target it moves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from planner.adapters.advisory import Advisory
from planner.adapters.processes import ProcessFleet, Worker
from planner.adapters.prometheus import Access, PrometheusSource, Server, SharedReader, Subject, history, subject
from planner.config.live import LiveSettings, PrometheusSettings, TargetSettings
from planner.live.service import Parts
from planner.loop import Fleet
from planner.ports import ScaleTarget


def server_of(settings: PrometheusSettings) -> Server:
    """The Prometheus server of the settings."""
    return Server(
        Access(
            url=settings.url,
            timeout_s=settings.timeout_s,
            retries=settings.retries,
            bearer_token_file=settings.bearer_token_file,
            username=settings.username,
            password_file=settings.password_file,
            ca_file=settings.ca_file,
            client_cert_file=settings.client_cert_file,
            client_key_file=settings.client_key_file,
            query=settings.query,
        )
    )


def subject_of(settings: LiveSettings) -> Subject:
    """Whose series are ours.

    Raises:
        ValueError: a dialect does not exist or is broken.
    """
    asked = settings.prometheus
    pools = {name: (role, asked.pools.get(name, {})) for name, role in settings.pools.items()}
    return subject(asked.dialect, pools, asked.labels, asked.engine, asked.scrape_s)


@contextmanager
def parts_of(settings: LiveSettings) -> Iterator[Parts]:
    """Source, target and history; what was started is ended when the context is left.

    Raises:
        ValueError: the settings make no sense together.
        TargetError: workers cannot be started.
    """
    if settings.target.kind == "advisory":
        yield connected(settings, Advisory())
        return
    fleet = process_fleet(settings.target)
    fleet.start(settings.initial or {pool: settings.min_replicas.get(pool, 1) for pool in settings.pools})
    try:
        yield connected(settings, fleet, fleet.fleet)
    finally:
        fleet.close(max(worker.drain_s for worker in settings.target.workers.values()))


def connected(settings: LiveSettings, target: ScaleTarget, fleet: Fleet | None = None) -> Parts:
    """Parts around a target that is there; ``fleet`` tells its replicas, or else the targets that are up do."""
    server, ours = server_of(settings.prometheus), subject_of(settings)
    source = PrometheusSource(SharedReader(server), ours, fleet)
    return Parts(source, target, partial(history, server, ours, step_s=settings.tick_s), fleet)


def process_fleet(settings: TargetSettings) -> ProcessFleet:
    """Worker processes as the settings describe them."""
    workers = {
        pool: Worker(w.command, w.env, w.ready_url, w.metrics, w.delay_s, w.patience_s, w.drain_s)
        for pool, w in settings.workers.items()
    }
    return ProcessFleet(workers, settings.discovery, settings.logs)
