"""Runs of several stretches as one run on a clock that leaves out what lies between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from planner.ports import Step
from planner.simulation.run import Run, WorkerSpan


def joined(runs: Sequence[Run]) -> Run:
    """One run whose window is the sum of the windows.

    Every worker of a stretch ends with it; the same fleet goes on in the next. The clock is that of the first run.
    """
    first = runs[0]
    if len(runs) == 1:
        return first
    starts = np.concatenate(([0.0], np.cumsum([run.traffic.duration_s for run in runs])))
    traffic = replace(
        first.traffic,
        arrivals_s=np.concatenate([run.traffic.arrivals_s + at for run, at in zip(runs, starts, strict=False)]),
        input_tokens=np.concatenate([run.traffic.input_tokens for run in runs]),
        output_tokens=np.concatenate([run.traffic.output_tokens for run in runs]),
        duration_s=float(starts[-1]),
    )
    return replace(
        first,
        traffic=traffic,
        ttft_s=np.concatenate([run.ttft_s for run in runs]),
        itl_s=np.concatenate([run.itl_s for run in runs]),
        spans=[span for run, at in zip(runs, starts, strict=False) for span in _spans(run, float(at))],
        steps=[step for run, at in zip(runs, starts, strict=False) for step in _steps(run, first, float(at))],
        wall_seconds=sum(run.wall_seconds for run in runs),
        plant_seconds=sum(run.plant_seconds for run in runs),
        notes=tuple(dict.fromkeys(note for run in runs for note in run.notes)),
    )


def _spans(run: Run, at: float) -> list[WorkerSpan]:
    end = run.traffic.duration_s
    lived = [span for span in run.spans if span.asked_s < end]

    def moved(moment: float | None) -> float | None:
        return None if moment is None or moment > end else moment + at

    return [
        WorkerSpan(
            span.pool,
            span.asked_s + at,
            moved(span.ready_s),
            moved(span.draining_s),
            at + (end if span.ended_s is None else min(end, span.ended_s)),
        )
        for span in lived
    ]


def _steps(run: Run, first: Run, at: float) -> list[Step]:
    shift = first.traffic.epoch_s + at - run.traffic.epoch_s
    return [
        Step(
            replace(step.seen, at=step.seen.at + shift), replace(step.decision, at=step.decision.at + shift), step.error
        )
        for step in run.steps
    ]


def serving_hours(run: Run) -> float:
    """GPU-hours of workers that served: from ready until they drain, start-up left out."""
    end = run.traffic.duration_s
    seconds = 0.0
    for span in run.spans:
        if span.ready_s is not None:
            ended = min(t for t in (span.draining_s, span.ended_s, end) if t is not None)
            seconds += max(0.0, min(ended, end) - span.ready_s) * run.gpus_per_replica[span.pool]
    return seconds / 3600.0
