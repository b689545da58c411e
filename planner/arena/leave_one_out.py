"""Constants chosen on all traces but one, judged on that one: whether a result hinges on having been tuned to it.

The candidates are the first policy and its variants. What a candidate costs in a case is its *price*: GPU-hours, times
the misses over those that the goal allows where there are more. Twice the misses weigh like twice the bill, and keeping
more than the goal earns nothing. The candidate with the least geometric mean of prices is chosen: over the cases of a
trace, then over traces, so that neither a long case nor a trace with several counts for more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from planner.arena.contenders import contender
from planner.arena.contest import Case
from planner.config import ConfigError
from planner.simulation.report.left_out import LeaveOneOut, LeftOut
from planner.simulation.report.standings import CaseFigures, Standing, geometric
from planner.simulation.traffic.generators import is_generator


def candidates(cases: Sequence[Case]) -> tuple[str, ...]:
    """Names of the first policy and of its variants that stand in every case.

    Raises:
        ConfigError: there is nothing to choose among, or no other trace to choose on.
    """
    first = contender(cases[0].settings.policies[0])
    in_all = [one for one in cases[0].contenders if all(one in case.contenders for case in cases)]
    names = [one.name for one in in_all if (one.law, one.predictor, one.tuned) == (first.law, first.predictor, False)]
    wrong = []
    if names[:1] != [first.name] or len(names) < 2:
        wrong.append(f"--leave-one-out needs {first.name} and a variant of it in every case")
    if len({trace_of(case) for case in cases}) < 2:
        wrong.append("--leave-one-out needs cases from two traces or more")
    if wrong:
        raise ConfigError(wrong)
    return tuple(names)


def trace_of(case: Case) -> str:
    """Where its arrivals are from: cases of one file are left out together."""
    source = case.settings.traffic.source
    return source if is_generator(source) else Path(source).name


def price(gpu_hours: float, kept: float, goal: float, attainable: float) -> float:
    """GPU-hours × max(1, misses / misses allowed); shares of all requests, misses counted from ``attainable``."""
    return gpu_hours * max(1.0, (attainable - kept) / (attainable - goal))


def choose(prices: Mapping[str, Mapping[str, float]], traces: Mapping[str, str], without: str | None = None) -> str:
    """The candidate with the least mean price; the first of several.

    Args:
        prices: by candidate and case.
        traces: by case.
        without: the trace that is left out; ``None``: none is.
    """
    used = dict.fromkeys(trace for trace in traces.values() if trace != without)

    def mean(by_case: Mapping[str, float]) -> float:
        return geometric(geometric(by_case[case] for case in traces if traces[case] == trace) for trace in used)

    return min(prices, key=lambda name: mean(prices[name]))


def leave_one_out(cases: Sequence[Case], figures: Sequence[CaseFigures]) -> LeaveOneOut:
    """For every case, the candidate chosen on all traces but its own, beside the first.

    Raises:
        ConfigError: as :func:`candidates`.
    """
    names = candidates(cases)
    stood = {one.title: {standing.policy: standing for standing in one.standings()} for one in figures}
    prices = {name: {one.title: _price(one, stood[one.title][name]) for one in figures} for name in names}
    traces = {one.title: trace_of(case) for case, one in zip(cases, figures, strict=True)}
    rows = (
        LeftOut(title, trace, stood[title][choose(prices, traces, without=trace)], stood[title][names[0]])
        for title, trace in traces.items()
    )
    return LeaveOneOut(choose(prices, traces), prices, tuple(rows))


def _price(case: CaseFigures, standing: Standing) -> float:
    return price(standing.gpu_hours.value, standing.kept.value, case.goal, case.attainable)
