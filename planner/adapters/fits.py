"""Slow fits beside a live planner: one process of its own runs them, the last good model answers meanwhile."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from typing import Any

from planner.core.planner import Planner
from planner.core.types import Decision, Observation
from predictors.api import FitRequest
from predictors.fits import run_fit


class FitsBeside:
    """A planner whose predictors' wishes for a fit are granted outside the step.

    A fit that fails is dropped and wished for again at the predictor's next turn; what failed is in ``problems``.
    """

    def __init__(self, planner: Planner, executor: Executor | None = None) -> None:
        self.planner = planner
        self.problems: dict[str, str] = {}  # by series, of the last fit
        self._executor = executor
        self._running: dict[str, Future[Mapping[str, Any]]] = {}

    def step(self, seen: Observation) -> Decision:
        """Adopt what is done, decide, hand over new wishes."""
        for series in [name for name, fit in self._running.items() if fit.done()]:
            self._adopt(series, self._running.pop(series))
        decision = self.planner.step(seen)
        for series, request in self.planner.wishes().items():
            if series not in self._running:
                self._running[series] = self._submit(request)
        return decision

    def running(self) -> list[Future[Mapping[str, Any]]]:
        """Fits that have not been taken in yet."""
        return list(self._running.values())

    def close(self) -> None:
        """Give up what is still running."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)

    def _adopt(self, series: str, fit: Future[Mapping[str, Any]]) -> None:
        failure = fit.exception()
        if failure is None:
            self.planner.adopt(series, fit.result())
            self.problems.pop(series, None)
        else:
            self.problems[series] = f"fit of {series} failed: {failure}"

    def _submit(self, request: FitRequest) -> Future[Mapping[str, Any]]:
        if self._executor is None:
            self._executor = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        try:
            return self._executor.submit(run_fit, request)
        except BrokenExecutor:  # its process was killed, at work or idle: another takes its place
            self._executor = None
            return self._submit(request)
