"""What Prometheus can tell: whether it answers, how often it looks, every metric, what its buckets let be seen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from planner.adapters.prometheus import Server, Subject
from planner.adapters.prometheus.subject import UP
from planner.adapters.prometheus.survey import Finding as Signal
from planner.adapters.prometheus.survey import survey
from planner.commands._checkup.finding import Finding, fine, problem, warning
from planner.config.live import LiveSettings
from planner.core.types import Role
from planner.units import show_duration

LOOKED_AT_S = 600
"""The scrape interval is measured over ten minutes."""


def signals(server: Server, subject: Subject, now: float) -> list[Signal]:
    """Every signal, found or missing.

    Raises:
        SourceError: Prometheus cannot be read.
    """
    return survey(server, subject, now)


def scrapes(server: Server, settings: LiveSettings, seen: Sequence[Signal], now: float) -> Iterator[Finding]:
    """How often Prometheus looks, against what the settings say of it."""
    told, tick = settings.prometheus.scrape_s, settings.tick_s
    metric = next((s.metric for s in seen if s.found and s.signal == "started"), None)
    real = None if metric is None else scrape_interval_s(server, metric.split(" + ")[0], settings, now)
    if real is None:
        yield warning("prometheus", "prometheus.scrape", "the scrape interval could not be measured: too few scrapes")
        return
    if real > 1.5 * told:
        yield problem(
            "prometheus",
            "prometheus.scrape",
            f"is set to {show_duration(told)}, but Prometheus scrapes every {show_duration(real)}: good series would "
            f"pass for stale; write scrape: {real:.0f}s",
        )
    elif real < 0.6 * told:
        yield warning(
            "prometheus",
            "prometheus.scrape",
            f"is set to {show_duration(told)}, but Prometheus scrapes every {show_duration(real)}: a dead target is "
            f"noticed late; write scrape: {real:.0f}s",
        )
    else:
        yield fine("prometheus", "prometheus.scrape", f"Prometheus scrapes every {show_duration(real)}")
    if real > 1.2 * tick:
        yield warning(
            "prometheus",
            "tick",
            f"looks every {show_duration(tick)}, but there is something new every {show_duration(real)} only: "
            f"overloads are noticed that late; scrape more often, or write tick: {real:.0f}s",
        )


def scrape_interval_s(server: Server, metric: str, settings: LiveSettings, now: float) -> float | None:
    """Median seconds between samples of a metric's series, over the last ten minutes; ``None``: too few."""
    labels = ",".join(f'{name}="{value}"' for name, value in settings.prometheus.labels.items())
    times = f"timestamp({metric}{{{labels}}})[{LOOKED_AT_S}s:1s]"
    found = server.value(f"(max_over_time({times}) - min_over_time({times})) / changes({times})", now)
    gaps = sorted(one.value for one in found if math.isfinite(one.value) and one.value > 0)
    return gaps[len(gaps) // 2] if gaps else None


def memory(server: Server, settings: LiveSettings, now: float) -> Iterator[Finding]:
    """Whether there is history to start from."""
    if settings.warmup_s <= 0:
        return
    back = show_duration(settings.warmup_s)
    if server.value(f"count({UP} offset {int(settings.warmup_s)}s)", now):
        yield fine("prometheus", "warmup", f"Prometheus remembers {back} back")
    else:
        yield warning("prometheus", "warmup", f"Prometheus remembers nothing from {back} ago: a start learns from less")


NOT_OF_PREFILL = ("steps", "kv_usage")
"""Signals that say nothing of a worker that makes no tokens."""
WELCOME = ("request_itl",)
"""Signals that many engines do not tell; the planner does without."""


def found(settings: LiveSettings, seen: Sequence[Signal]) -> Iterator[Finding]:
    """Every signal: under which metric it is found, with which label values, or that it is missing."""
    for one in seen:
        subject = f"{one.place}: {one.signal}"
        if settings.pools.get(one.place) is Role.PREFILL and one.signal in NOT_OF_PREFILL:
            continue
        if one.signal in WELCOME and not one.found:
            yield fine(
                "metrics", subject, "absent, and not needed: the error budget may raise the price of a miss only"
            )
        elif one.problem or not one.found:
            why = one.problem or f"absent: no series of {one.metric}"
            yield (problem if one.needed else warning)("metrics", subject, why)
        else:
            labels = "; ".join(f"{name}={'|'.join(values)}" for name, values in one.labels.items())
            count = f"{one.series} series" + (f" ({labels})" if labels else "")
            note = f"; {one.note}" if one.note else ""
            yield fine("metrics", subject, f"{one.metric}, {count}{note}")


def buckets(settings: LiveSettings, seen: Sequence[Signal]) -> Iterator[Finding]:
    """Which targets the buckets let be seen; a mean is a sum over a count, and needs none."""
    told = {one.signal: one for one in reversed(seen) if one.found and one.edges}
    for name, target in (("ttft", settings.sla.ttft), ("itl", settings.sla.itl)):
        one = told.get(f"request_{name}", told.get(name))  # the former counts, where it is told
        if one is not None and not target.is_mean:
            yield _seen(name, target.seconds, one)


def _seen(name: str, target_s: float, one: Signal) -> Finding:
    subject = f"sla.{name}"
    below, above = one.nearest(target_s)
    if below is not None and below == above:
        return fine("buckets", subject, f"{show_duration(target_s)} is an edge of {one.metric}: seen exactly")
    if above is None:
        last = "none at all" if below is None else f"the last is {show_duration(below)}"
        beyond = f"{show_duration(target_s)} lies beyond the edges of {one.metric} ({last})"
        return problem("buckets", subject, f"{beyond}: misses cannot be seen there")
    low = "0" if below is None else show_duration(below)
    choices = " or ".join(show_duration(edge) for edge in (below, above) if edge is not None)
    return warning(
        "buckets",
        subject,
        f"{show_duration(target_s)} lies between the edges {low} and {show_duration(above)} of {one.metric}: the share "
        f"that keeps it is seen as a bracket; {choices} would be seen exactly",
    )
