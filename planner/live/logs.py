"""Structured logs of a live planner: a line when something is decided or goes wrong, not one a tick."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from planner.core.types import Decision, Observation, Reason


def configure(as_json: bool | None = None) -> None:
    """Log to standard error: as JSON where a program reads (no terminal), in colours where a person does."""
    as_json = not sys.stderr.isatty() if as_json is None else as_json
    last: Any = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


class StepLogger:
    """A ``DecisionSink`` that tells a change, a trouble and its end once each."""

    def __init__(self) -> None:
        self._log = structlog.get_logger()
        self._trouble = ""
        self._asked: dict[str, int] = {}

    def record(self, seen: Observation, decision: Decision, error: str = "") -> None:
        """Log what is worth a line."""
        trouble = error or ("; ".join(seen.problems) if seen.window is None else "")
        if trouble and trouble != self._trouble:
            self._log.warning("trouble", at=seen.at, problem=trouble, held=dict(decision.replicas))
        elif self._trouble and not trouble:
            self._log.info("recovered", at=seen.at)
        self._trouble = trouble
        replicas = dict(decision.replicas)
        if replicas != self._asked:
            self._log.info("scale", at=seen.at, replicas=replicas, wanted=dict(decision.wanted),
                           reason=decision.reason.value, before=self._asked, said=decision.summary())  # fmt: skip
        elif decision.reason not in (Reason.HELD_BETWEEN, Reason.HELD_BLIND):
            self._log.info("decided", at=seen.at, said=decision.summary())
        self._asked = replicas
