"""Settings that are right one by one and wrong together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from planner.config.backtest import BacktestSettings
from planner.config.fleet import FleetSettings
from planner.config.live import LiveSettings
from planner.config.problems import did_you_mean
from planner.config.settings import (
    POOLS,
    CompareSettings,
    ControlSettings,
    DeploymentSettings,
    OutputSettings,
    Settings,
    SimulateSettings,
    SizeSettings,
)
from planner.units import show_duration

Finding = tuple[tuple[str, ...], str]
"""Paths that contradict each other (the first is where to say it), and what is wrong."""


def contradictions(settings: Settings) -> Iterator[Finding]:
    """Everything that does not fit together."""
    if isinstance(settings, FleetSettings):
        yield from _models(settings)
    if isinstance(settings, DeploymentSettings):
        yield from _deployment(settings)


def _models(settings: FleetSettings) -> Iterator[Finding]:
    if (settings.budget_gpus is None) == (settings.budget_cost is None):
        yield ("budget", "cost_budget"), "write what all models share: either budget (GPUs) or cost_budget (per hour)"
    if len(settings.models) < 2:
        yield ("models",), "one model has its budget for itself: use planner simulate"
    yield from unwritable({"outputs.json": settings.outputs.json_file})


def _deployment(settings: DeploymentSettings) -> Iterator[Finding]:
    yield from _bounds(settings)
    yield from _budget(settings)
    yield from _pool_names("min_replicas", settings, settings.min_replicas)
    yield from _pool_names("max_replicas", settings, settings.max_replicas)
    yield from _pool_names("gpus_per_replica", settings, settings.gpus_per_replica)
    yield from _pool_names("cost", settings, settings.cost)
    yield from _further(settings)
    if isinstance(settings, SizeSettings):
        yield from _pool_names("correction", settings, settings.correction)
        yield from unwritable({"outputs.json": settings.outputs.json_file})
    if isinstance(settings, ControlSettings):
        yield from _control(settings)
    if isinstance(settings, SimulateSettings):
        yield from _simulation(settings)
    if isinstance(settings, LiveSettings):
        yield from _live(settings)
    if isinstance(settings, BacktestSettings):
        yield from _backtest(settings)


def _further(settings: DeploymentSettings) -> Iterator[Finding]:
    """Pools of other GPUs: only the slo law knows what to make of them, and nothing searches fleets of them."""
    roles = POOLS[settings.mode]
    for name, pool in settings.further.items():
        if name in roles:
            yield (f"further.{name}", "mode"), f"mode {settings.mode} has a pool {name} already"
        if pool.role not in roles.values():
            yield (f"further.{name}.role", "mode"), f"mode {settings.mode} has no workers that do {pool.role.value}"
    if settings.further and settings.law == "classic":
        yield ("law", "further"), "classic sizes one pool of a role; use slo"
    if isinstance(settings, SizeSettings) and settings.further:
        yield ("further",), "size knows one kind of GPU; use planner mix"
    if isinstance(settings, CompareSettings) and settings.further:
        yield ("further",), "compare searches fleets of one kind of GPU; use planner mix"
    if isinstance(settings, SimulateSettings) and settings.further and not settings.initial:
        yield ("initial", "further"), "write the fleet at the start, by pool: none is searched among several kinds"


def _control(settings: ControlSettings) -> Iterator[Finding]:
    yield from _fleet("replicas", settings, settings.replicas)
    if settings.replicas and settings.law != "static" and not isinstance(settings, CompareSettings):
        yield (
            ("replicas", "law"),
            f"is the fixed fleet of law static, and law is {settings.law}: write initial for the fleet at the start",
        )


def _live(settings: LiveSettings) -> Iterator[Finding]:
    yield from _fleet("initial", settings, settings.initial)
    if settings.law == "static" and not settings.replicas:
        yield ("replicas", "law"), "law static needs its fleet: write replicas"
    if settings.tick_s > settings.decision_interval_s:
        both = f"({show_duration(settings.tick_s)}) exceeds interval ({show_duration(settings.decision_interval_s)})"
        yield ("tick", "interval", "law"), f"tick {both}: every decision needs a new look"
    if settings.tick_s < settings.prometheus.scrape_s:
        both = f"({show_duration(settings.tick_s)}) is below Prometheus' scrape interval"
        yield (
            ("tick", "prometheus.scrape"),
            f"tick {both} ({show_duration(settings.prometheus.scrape_s)}): most looks would see nothing new",
        )
    yield from _pool_names("prometheus.pools", settings, settings.prometheus.pools)
    yield from _pool_names("target.workers", settings, settings.target.workers)
    if settings.target.kind == "processes":
        missing = [pool for pool in settings.pools if pool not in settings.target.workers]
        if missing:
            yield ("target.workers", "mode"), f"no command for workers of {', '.join(missing)}"
    yield from _access(settings)


def _access(settings: LiveSettings) -> Iterator[Finding]:
    """Ways of showing who we are that do not go together, and files that are not there."""
    access = settings.prometheus
    if (access.username is None) != (access.password_file is None):
        yield (
            ("prometheus.username", "prometheus.password_file"),
            "username and password_file belong together: only one of them is set",
        )
    if access.bearer_token_file and access.username:
        yield (
            ("prometheus.bearer_token_file", "prometheus.username"),
            "is one way to show who we are and username another: only one fits into a request",
        )
    if access.client_key_file and not access.client_cert_file:
        yield ("prometheus.client_key_file", "prometheus.client_cert_file"), "is the key to no certificate"
    files = {
        f"prometheus.{name}": getattr(access, name)
        for name in ("bearer_token_file", "password_file", "ca_file", "client_cert_file", "client_key_file")
    }
    for path, file in {**files, "server.token_file": settings.server.token_file}.items():
        if file is not None and not file.is_file():
            yield (path,), f"there is no file {file}"


def _simulation(settings: SimulateSettings) -> Iterator[Finding]:
    yield from _fleet("initial", settings, settings.initial)
    if settings.traffic.to_s is not None and settings.traffic.from_s >= settings.traffic.to_s:
        ends = (
            f"from ({show_duration(settings.traffic.from_s)}) is not before to ({show_duration(settings.traffic.to_s)})"
        )
        yield ("traffic.from", "traffic.to"), ends
    if settings.scrape_s > settings.decision_interval_s:
        both = f"({show_duration(settings.scrape_s)}) exceeds interval ({show_duration(settings.decision_interval_s)})"
        yield ("scrape", "interval", "law"), f"scrape {both}: every decision needs a new look"
    if settings.plant.retries and settings.plant.timeout_s is None:
        yield ("plant.retries", "plant.timeout"), "clients only retry after a timeout, and plant.timeout is not set"
    yield from _results(settings.outputs)


def _backtest(settings: BacktestSettings) -> Iterator[Finding]:
    if settings.from_ is not None and settings.last_s is not None:
        yield ("last", "from"), "from and last both say where the period begins: only one of them can"
    if settings.from_ is None and settings.last_s is None:
        yield ("last", "from"), "which period? write last, like 7d, or from"
    if settings.plant.retries and settings.plant.timeout_s is None:
        yield ("plant.retries", "plant.timeout"), "clients only retry after a timeout, and plant.timeout is not set"
    yield from _results(settings.outputs)


def _results(files: OutputSettings) -> Iterator[Finding]:
    yield from unwritable(
        {
            "outputs.json": files.json_file,
            "outputs.report": files.report,
            "outputs.decisions": files.decisions,
        }
    )
    if files.plots is not None and files.plots.is_file():
        yield ("outputs.plots",), f"{files.plots} is a file; a folder is needed"


def _bounds(settings: DeploymentSettings) -> Iterator[Finding]:
    for pool, most in settings.max_replicas.items():
        least = settings.min_replicas.get(pool, 1)
        if least > most:
            yield (
                ("min_replicas", "max_replicas"),
                f"min_replicas ({least}) exceeds max_replicas ({most}) of pool {pool}",
            )


def _budget(settings: DeploymentSettings) -> Iterator[Finding]:
    """GPUs of the profile are not known here: the wired policy checks them again."""
    budget, gpus = settings.budget_gpus, settings.gpus_per_replica
    least = {pool: max(1, settings.min_replicas.get(pool, 1)) for pool in settings.pools}
    needed = sum(n * gpus.get(pool, 1) for pool, n in least.items())
    if budget is not None and needed > budget:
        fleet = ", ".join(f"{n} × {gpus.get(pool, 1)} in {pool}" for pool, n in least.items())
        yield (
            ("budget", "min_replicas", "gpus_per_replica", "mode"),
            f"budget ({budget} GPUs) is below the smallest fleet ({needed} GPUs: {fleet})",
        )


def _fleet(name: str, settings: DeploymentSettings, fleet: Mapping[str, int]) -> Iterator[Finding]:
    """A fleet given by the user must be one the bounds allow."""
    yield from _pool_names(name, settings, fleet)
    for pool, count in fleet.items():
        most = settings.max_replicas.get(pool)
        if most is not None and count > most:
            yield (name, "max_replicas"), f"{count} replicas in {pool} exceed max_replicas ({most})"
    missing = [pool for pool in settings.pools if fleet and pool not in fleet]
    if missing:
        yield (name, "mode"), f"{', '.join(missing)} missing: a fleet names every pool of mode {settings.mode}"
    total = sum(count * settings.gpus_per_replica.get(pool, 1) for pool, count in fleet.items())
    if settings.budget_gpus is not None and total > settings.budget_gpus:
        yield (name, "budget", "gpus_per_replica"), f"{total} GPUs exceed budget ({settings.budget_gpus} GPUs)"


def _pool_names(name: str, settings: DeploymentSettings, numbers: Mapping[str, object]) -> Iterator[Finding]:
    for pool in numbers:
        if pool not in settings.pools:
            hint = did_you_mean(pool, settings.pools)
            yield (name, "mode"), f"mode {settings.mode} has no pool {pool!r}{hint}"


def unwritable(files: Mapping[str, object]) -> Iterator[Finding]:
    """What is wrong with files to write, by setting: a run of minutes must not end at a folder that is not there."""
    from pathlib import Path

    given = {path: Path(str(file)) for path, file in files.items() if file is not None and str(file) != "-"}
    for path, file in given.items():
        if file.is_dir():
            yield (path,), f"{file} is a folder; a file is needed"
        elif not file.parent.is_dir():
            yield (path,), f"there is no folder {file.parent} to write {file.name} into"
    for path, file in given.items():
        same = [other for other in given if other < path and given[other] == file]
        if same:
            yield (path, same[0]), f"{file} is already the file of {same[0]}"
