"""What is on this machine: programs of workers, folders, the page's address, state and decisions."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from planner.commands._checkup.finding import Finding, fine, problem, warning
from planner.config.live import LiveSettings, WorkerSettings
from planner.core.policy import Policy
from planner.units import show_duration


def target(settings: LiveSettings) -> Iterator[Finding]:
    """Whether decisions can be carried out."""
    if settings.target.kind == "advisory":
        yield fine("target", "target.kind", "advisory: says what it would do and moves nothing, so it needs nothing")
        return
    for pool, worker in settings.target.workers.items():
        yield _program(pool, worker)
        if worker.patience_s <= settings.startup_s + worker.delay_s:
            yield problem(
                "target",
                f"target.workers.{pool}.patience",
                f"{show_duration(worker.patience_s)} is over before a worker is expected to serve (startup "
                f"{show_duration(settings.startup_s)}): it would be given up and started anew for ever",
            )
    if settings.target.discovery is not None:
        yield _writable_file("target", "target.discovery", settings.target.discovery)
    else:
        yield warning("target", "target.discovery", "not set: Prometheus does not learn of workers that are started")
    if settings.target.logs is not None:
        yield _writable_folder("target", "target.logs", settings.target.logs)


def _program(pool: str, worker: WorkerSettings) -> Finding:
    subject, name = f"target.workers.{pool}.command", worker.command[0]
    found = shutil.which(name, path=worker.env.get("PATH"))
    if found is not None:
        return fine("target", subject, f"{name} is {found}")
    there = Path(name)
    if there.is_file():
        return problem("target", subject, f"{name} is a file that may not be executed: chmod +x {name}")
    return problem("target", subject, f"there is no program {name}, neither as a file nor on the PATH")


def page(settings: LiveSettings) -> Iterator[Finding]:
    """Whether the page, /metrics and /healthz can be served: it is tried."""
    from starlette.applications import Starlette

    from planner.dashboard.server import serve

    listen, file = settings.server.listen, settings.server.token_file
    if not listen:
        yield warning("page", "server.listen", "empty: no page, no /metrics, no /healthz")
        return
    try:
        token = file.read_text(encoding="utf-8").strip() if file is not None else None
        serve(Starlette(), listen, token).close()
    except ValueError as wrong:
        yield problem("page", "server.listen", str(wrong))
    except OSError as wrong:
        yield warning("page", "server.listen", f"{listen} cannot be used now ({wrong}): is a planner running already?")
    else:
        yield fine("page", "server.listen", f"{listen} is free" + ("" if token is None else ", behind a token"))


def files(settings: LiveSettings, policy: Policy | None, now: float) -> Iterator[Finding]:
    """Whether memory and decisions can be kept."""
    if settings.decisions is not None:
        yield _writable_file("files", "decisions", settings.decisions)
    else:
        yield warning("files", "decisions", "not set: nothing can be explained or replayed afterwards")
    if settings.state is None:
        yield warning("files", "state", "not set: after a restart the planner learns from Prometheus' history again")
        return
    yield _writable_file("files", "state", settings.state)
    if policy is not None and settings.state.is_file():
        yield _memory(settings.state, policy, now)


def _memory(path: Path, policy: Policy, now: float) -> Finding:
    """Whether what was saved can be gone on from; the file is only looked at."""
    from planner.core.saving import restored

    try:
        state = restored(policy, json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, AttributeError, KeyError, OSError) as wrong:
        return warning("files", "state", f"{path} cannot be used ({wrong}): it will be set aside")
    if state is None:
        return warning("files", "state", f"{path} was learnt under another policy: the planner starts from history")
    if state.at is not None and state.at > now + policy.interval_s:
        return warning("files", "state", f"{path} is of {show_duration(state.at - now)} from now: it will not be used")
    return fine("files", "state", f"{path} can be gone on from")


def _writable_file(area: str, subject: str, path: Path) -> Finding:
    if path.is_dir():
        return problem(area, subject, f"{path} is a folder; a file is needed")
    if not path.parent.is_dir():
        return problem(area, subject, f"there is no folder {path.parent} to write {path.name} into")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        return problem(area, subject, f"{path} may not be written by this user")
    return fine(area, subject, f"{path} can be written")


def _writable_folder(area: str, subject: str, path: Path) -> Finding:
    if path.exists() and not path.is_dir():
        return problem(area, subject, f"{path} is a file; a folder is needed")
    there = path if path.is_dir() else path.parent
    if not there.is_dir():
        return problem(area, subject, f"there is no folder {there} to make {path.name} in")
    if not os.access(there, os.W_OK):
        return problem(area, subject, f"{there} may not be written by this user")
    return fine(area, subject, f"{path} can be written")
