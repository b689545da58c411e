"""``planner run``: memory recovered, the one loop on a wall clock, everything ended in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata
from typing import Protocol

import structlog

from planner import loop, wiring
from planner.adapters import state_file
from planner.adapters.clocks import WallClock
from planner.adapters.decision_log import About, DecisionLog, about_of
from planner.adapters.exporter import Exporter
from planner.adapters.fits import FitsBeside
from planner.adapters.state_file import StateKeeper
from planner.config.live import LiveSettings
from planner.core.planner import Planner
from planner.core.policy import Policy
from planner.core.state import PlannerState
from planner.core.types import Decision, Observation
from planner.dashboard import feed, server
from planner.dashboard.app import app
from planner.live.health import Health
from planner.live.logs import StepLogger
from planner.live.memory import learn
from planner.live.routes import routes
from planner.live.troubles import Troubles, Unbroken
from planner.loop import Fleet
from planner.ports import DecisionSink, MetricsSource, ScaleTarget, SourceError
from planner.units import show_duration


class History(Protocol):
    """Where the past can be read again."""

    def __call__(self, start: float, end: float) -> Iterable[Observation]:
        """Observations from ``start`` to ``end``; ``SourceError`` if they cannot be read."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The world of one live planner. ``fleet`` tells the replicas when the source cannot."""

    source: MetricsSource
    target: ScaleTarget
    history: History | None = None
    fleet: Fleet | None = None


class Service:
    """A live planner with its page and its memory; ``run`` returns when its clock is stopped."""

    def __init__(self, settings: LiveSettings, policy: Policy, parts: Parts, clock: WallClock) -> None:
        self.settings, self.policy, self.parts, self.clock = settings, policy, parts, clock
        self.address = ""  # of the page, once it is served
        self.planner = Planner(policy)
        self._log = structlog.get_logger()

    def run(self, sinks: Sequence[DecisionSink] = ()) -> None:
        """Recover, serve, loop; then save and close.

        Raises:
            OSError: a file or the address cannot be used.
        """
        with ExitStack() as stack:
            steps = FitsBeside(self.planner)
            stack.callback(steps.close)
            exporter = Exporter(self.policy, metadata.version("sla-planner"))
            health = Health(self.settings.tick_s, self.clock.now)
            own = self._sinks(stack, exporter, health, steps)
            with health.learning():
                self._remember(steps)
            loop.run(
                self.parts.source,
                exporter.timed(steps),
                self.parts.target,
                self.clock,
                self.settings.tick_s,
                [*own, *sinks],
                self.parts.fleet,
            )
            self._log.info("stopped", at=self.clock.now())

    def _sinks(self, stack: ExitStack, exporter: Exporter, health: Health, steps: FitsBeside) -> list[DecisionSink]:
        """Everyone who takes note of every step, opened; closed by ``stack``."""
        about = self.about()
        recent = feed.RecentFeed()
        sinks: list[DecisionSink] = [exporter, _Learnt(exporter, self.planner), recent, health, StepLogger()]
        fallible: list[Unbroken | StateKeeper] = []
        if self.settings.decisions is not None:
            log = stack.enter_context(DecisionLog(self.settings.decisions, about, append=True))
            fallible.append(Unbroken(log, f"decision log {self.settings.decisions}"))
        if self.settings.state is not None:
            keeper = StateKeeper(self.settings.state, self.planner)
            stack.callback(keeper.save)
            fallible.append(keeper)
        if self.settings.server.listen:
            file = self.settings.server.token_file
            token = file.read_text(encoding="utf-8").strip() if file is not None else None
            page = app(recent, about, routes=routes(health, exporter.text))
            running = server.serve(page, self.settings.server.listen, token)
            stack.callback(running.close)
            self.address = running.address
            self._log.info("page", address=running.address)
        own = Troubles(lambda: [*(one.problem for one in fallible), *steps.problems.values()], exporter.troubled)
        return [*sinks, *fallible, own]

    def _remember(self, steps: FitsBeside) -> None:
        """Saved state first, history from Prometheus else; without either the fleet is kept while learning."""
        if self.settings.state is not None:
            found = state_file.read(self.settings.state, self.policy, self.clock.now())
            self._log.info("memory", said=found.said)
            if found.state is not None:
                self.planner.state = found.state
                return
        if self.parts.history is None or self.settings.warmup_s <= 0:
            return
        now = self.clock.now()
        try:
            seen = learn(self.planner, steps, self._in_time(self.parts.history(now - self.settings.warmup_s, now)))
            self._log.info("memory", said=f"learnt from {seen} observations of Prometheus' history")
        except SourceError as problem:
            self._log.warning("no history to learn from", problem=str(problem))
        if self.clock.stopped:
            self.planner.state = PlannerState()  # half a history is no memory to save and go on from

    def _in_time(self, history: Iterable[Observation]) -> Iterator[Observation]:
        """History until the run is to end, or it has taken too long; looked at before each stretch that is read."""
        limit_s = self.settings.warmup_timeout_s
        last = self.clock.now() + limit_s
        for observation in history:
            if self.clock.stopped:
                return
            yield observation
            if self.clock.now() > last:
                told = f"not read whole within warmup_timeout ({show_duration(limit_s)})"
                self._log.warning("history", problem=told)
                return

    def about(self) -> About:
        """What the decision log and the page are of; nothing that could hold a secret."""
        settings = self.settings
        return about_of(
            self.policy,
            name=settings.description or settings.prometheus.url,
            profile=settings.profile,
            mode=settings.mode,
            settings=settings.model_dump(
                mode="json",
                by_alias=True,
                exclude_none=True,
                exclude={"state": True, "decisions": True, "server": True, "target": True, "prometheus": {"query"}},
            ),
        )


@dataclass(frozen=True, slots=True)
class _Learnt:
    """Shows what the planner has in memory after each step."""

    exporter: Exporter
    planner: Planner

    def record(self, seen: Observation, decision: Decision, error: str = "") -> None:
        self.exporter.learnt(self.planner)


def service_of(settings: LiveSettings, parts: Parts, clock: WallClock | None = None) -> Service:
    """A service for the settings over given parts.

    Raises:
        ValueError: the profile or the policy makes no sense.
    """
    profile = wiring.profile_of(settings)
    return Service(settings, wiring.policy_of(settings, profile), parts, clock or WallClock())


__all__ = ["History", "Parts", "Service", "service_of"]
