"""``planner backtest``: what the planner would have done on your last week."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner import config
from planner.answers import Files, reader
from planner.commands._options import given, settings_options
from planner.config.backtest import BacktestSettings
from planner.config.settings import SimulateSettings

if TYPE_CHECKING:
    from rich.console import RenderableType

    from planner.core.profiles import Profile
    from planner.replay.backtest import Recorded
    from planner.replay.demand import Demand
    from planner.simulation.report.figures import Summary
    from planner.simulation.run import Run

SCHEMA = "sla-planner/backtest.v1"
NO_USE = ("--listen", "--token-file", "--state", "--target", "--warmup", "--migrate", "--backoff", "--retries")
"""Flags of the live planner and of rare plants that a backtest leaves to the configuration."""


@click.command("backtest")
@click.argument("configuration", required=False, metavar="[CONFIG.yaml]")
@settings_options(BacktestSettings, without=NO_USE)
def command(configuration: str | None, **options: Any) -> None:
    """What would the planner have done on your last week?

    CONFIG.yaml is that of planner run; flags go over it. Prometheus tells what arrived (--last 7d, or --from and
    --to); the same requests are then served by the plant under the planner, as in simulate, beside what really ran.
    Exit code 1 when attainment ends below --min-attainment.
    """
    file = config.find(configuration) if configuration else None
    overrides = given(BacktestSettings, options)
    settings = config.load(BacktestSettings, file, overrides)
    start, end = period(settings, time.time())
    asked = simulated(settings, keep_initial="initial" in overrides)

    from rich.text import Text

    from planner import wiring
    from planner.commands._runs import refuse_below
    from planner.replay.backtest import gap_notes, recorded_of
    from planner.simulation.report import figures, write

    profile = wiring.profile_of(asked)
    policy = wiring.policy_of(asked, profile)
    demand = _demand(settings, start, end)
    files = Files()
    run = _run(asked, profile, demand, settings.outputs.decisions, files)
    summary = figures.summarise(run)
    recorded = recorded_of(demand.past, {pool.name: pool.gpus for pool in policy.pools}, policy.sla)
    notes = (*gap_notes(demand.past), *summary.notes)
    answer = _answer(demand, recorded, run, summary, notes)
    secret = {"prometheus": {"query", "username"}}  # who we are to Prometheus stays out of the page
    said = settings.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=secret)
    console = reader(settings.outputs.json_file)
    console.print(_table(demand, recorded, run, summary))
    for note in notes:
        console.print(Text(f"note: {note}", style="dim"))
    files.json(answer, settings.outputs.json_file)
    write.drawn(run, summary, settings.outputs, said, files)
    write.finish(files, console)
    refuse_below(settings.min_attainment, summary)


def period(settings: BacktestSettings, now: float) -> tuple[float, float]:
    """Start and end in seconds since the epoch, on the grid of bins, whole bins of the past only.

    Raises:
        ConfigError: a moment cannot be read, or the period is empty.
    """
    from planner.replay.moments import shown

    asked = now if settings.to is None else _moment("--to", settings.to)
    end = min(now, asked)
    start = end - settings.last_s if settings.last_s is not None else _moment("--from", settings.from_ or "")
    if start >= asked:
        raise config.ConfigError([f"--from: from ({shown(start)}) is not before to ({shown(asked)})"])
    if start >= now:
        raise config.ConfigError([f"--from: {shown(start)} is yet to come: a backtest is of the past"])
    step = settings.bin_s
    end = end // step * step
    start = -(-start // step) * step
    if end - start < step:
        raise config.ConfigError([f"the period from {shown(start)} to {shown(end)} holds no whole bin of {step:g} s"])
    return start, end


def _moment(flag: str, text: str) -> float:
    from planner.replay.moments import moment

    try:
        return moment(text)
    except ValueError as problem:
        raise config.ConfigError([f"{flag}: {problem}"]) from None


def simulated(settings: BacktestSettings, keep_initial: bool) -> SimulateSettings:
    """The same deployment, promise and plant as ``planner simulate`` has them; its looks are the live planner's."""
    from planner.commands._recorded import as_written

    dumped = settings.model_dump(mode="json", by_alias=True, exclude_none=True)
    written = as_written(SimulateSettings, {name: value for name, value in dumped.items() if name != "outputs"})
    if not keep_initial:
        written.pop("initial", None)  # where nothing runs yet; the past begins in the middle of things
    return config.load(
        SimulateSettings, None, {**written, "traffic.source": "prometheus", "scrape": f"{settings.tick_s:f}s"}
    )


def _demand(settings: BacktestSettings, start: float, end: float) -> Demand:
    """What arrived, from Prometheus."""
    from planner.adapters.prometheus import history
    from planner.commands._progress import bar
    from planner.live.parts import server_of, subject_of
    from planner.replay.backtest import read_past

    subject = subject_of(settings)
    server = server_of(settings.prometheus)
    try:
        with bar(f"reading {settings.prometheus.url}") as progress:
            look = partial(history, server, subject)
            return read_past(look, start, end, settings.bin_s, subject.scrape_s, settings.gaps, progress)
    finally:
        server.close()


def _run(asked: SimulateSettings, profile: Profile, demand: Demand, log: Path | None, files: Files) -> Run:
    """One planner through all stretches; between two it remembers, as a live one would."""
    from planner import wiring
    from planner.commands._decisions import decisions
    from planner.commands._progress import bar
    from planner.commands._recorded import about_again
    from planner.commands._runs import start_of
    from planner.replay.joined import joined
    from planner.simulation.simulate import simulate

    policy = wiring.policy_of(asked, profile)
    planner = wiring.planner_of(policy)
    runs: list[Run] = []
    with decisions(log, about_again(policy, asked, "the past in Prometheus"), files) as sinks:
        for i, stretch in enumerate(demand.past.stretches):
            world = wiring.world_of(asked, profile, demand.traffic(stretch, asked.seed))
            fleet = dict(policy.fixed) or (
                dict(runs[-1].steps[-1].decision.replicas) if runs else start_of(asked, world)
            )
            title = f"{asked.law}: {world.traffic.requests:,} requests"
            with bar(title if len(demand.past.stretches) == 1 else f"{title}, stretch {i + 1}") as progress:
                runs.append(simulate(world, asked.law, planner, fleet, sinks, progress))
    return joined(runs)


def _answer(demand: Demand, recorded: Recorded, run: Run, summary: Summary, notes: Sequence[str]) -> dict[str, Any]:
    from planner.replay.joined import serving_hours

    rates = [one.requests / (one.end - one.start) for one in demand.past.bins]
    return {
        "schema": SCHEMA,
        "period": demand.past.to_json(),
        "traffic": {
            "requests": sum(one.requests for one in demand.past.bins),
            "rate_per_second": {"mean": demand.rate, "max": max(rates)},
            "input_tokens": float(run.traffic.input_tokens.mean()),
            "output_tokens": float(run.traffic.output_tokens.mean()),
            "dispersion": demand.dispersion,
        },
        "recorded": recorded.to_json(),
        "simulated": {**summary.to_json(), "gpu_hours_serving": serving_hours(run)},
        "notes": list(notes),
    }


def _table(demand: Demand, recorded: Recorded, run: Run, summary: Summary) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from planner.replay.joined import serving_hours
    from planner.replay.moments import shown
    from planner.simulation.report.table import ms, share, verdict

    past = demand.past
    good = summary.kept
    head = f"{shown(past.start)} to {shown(past.end)}: {summary.requests:,} requests, {demand.rate:,.3g} per second"
    table = Table()
    table.add_column("")
    table.add_column("really ran", justify="right")
    table.add_column(f"{summary.policy}, simulated", justify="right")
    hours = "–" if recorded.gpu_hours is None else f"{recorded.gpu_hours:,.2f}"
    table.add_row("GPU-hours serving", hours, f"{serving_hours(run):,.2f}")
    table.add_row("GPU-hours paid (start-up and draining too)", "–", f"{summary.gpu_hours:,.2f}")
    for pool, replicas in summary.pools.items():
        ran = recorded.mean_replicas.get(pool)
        now = f"{replicas.mean:.1f} ({replicas.min} to {replicas.max})"
        table.add_row(f"{pool} replicas, mean", "–" if ran is None else f"{ran:.1f}", now)
    table.add_row("TTFT mean", ms(recorded.ttft_s), ms(summary.ttft.mean))
    table.add_row(f"TTFT ≤ {ms(summary.promise.ttft_s)}", _bracket(recorded.ttft_kept), share(summary.attainment.ttft))
    table.add_row("ITL mean", ms(recorded.itl_s), ms(summary.itl.mean))
    table.add_row(f"ITL ≤ {ms(summary.promise.itl_s)}", f"{_bracket(recorded.itl_kept)} of gaps",
                  f"{share(summary.attainment.itl)} of requests")  # fmt: skip
    table.add_row("kept both", "–", share(summary.attainment.both))
    table.add_row("worst hour", "–", share(summary.attainment.worst_hour))
    table.add_row("changes per hour", "–", f"{summary.changes_per_hour:.1f}")
    return Group(head, table, Text(verdict(summary), style="bold green" if good else "bold red"))


def _bracket(kept: tuple[float, float] | None) -> str:
    if kept is None:
        return "–"
    low, high = kept
    return f"{100 * low:.2f} %" if high - low < 5e-5 else f"{100 * low:.1f} to {100 * high:.1f} %"
