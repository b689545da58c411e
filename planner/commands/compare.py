"""``planner compare``: several policies on the same traffic, in one table and one picture."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner import config
from planner.commands._options import given, settings_options
from planner.commands._progress import tally
from planner.config import CompareSettings, OutputSettings

if TYPE_CHECKING:
    from planner.arena.contest import Case
    from planner.simulation.report.standings import CaseFigures

    Held = Callable[[list[Case]], list[CaseFigures]]

BACKENDS = ("loky", "dask", "ray")
OF_A_CASE = ("traffic.source", "traffic.format", "traffic.lengths")
"""Settings that a suite has for each case of its own."""


@click.command("compare")
@click.argument("configuration", required=False, metavar="[CONFIG.yaml]")
@settings_options(CompareSettings)
@click.option("--suite", metavar="NAME|FILE",
              help="Many cases instead of one: default, quick, drawn, supply, ablations, sensitivity, constants, "
                   "or a file.")  # fmt: skip
@click.option("--traces", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR",
              help="A folder with traces for the suite, beside traces/ and $SLA_PLANNER_SHARED/traces.")  # fmt: skip
@click.option("--leave-one-out", is_flag=True,
              help="Choose among variants of the first policy without a trace, judge them on it.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Processes to run side by side.  [all cores]")
@click.option("--fresh", is_flag=True, help="Run everything anew instead of taking finished runs from the cache.")
@click.option("--backend", type=click.Choice(BACKENDS), default="loky", show_default=True,
              help="Who does the work: processes here, or a cluster of Dask or Ray.")  # fmt: skip
@click.option("--cluster", metavar="ADDRESS", help="A running cluster, as in tcp://scheduler:8786.")
def command(configuration: str | None, suite: str | None, traces: Path | None, leave_one_out: bool, jobs: int | None,
            fresh: bool, backend: str, cluster: str | None, **options: Any) -> None:  # fmt: skip
    """Run several policies on the same traffic: one table, one picture.

    Policies: slo and classic; static, the best fixed fleet in hindsight, and static-peak, sized for the highest
    minute; clairvoyant, the bound at the goal, and late, the same plan a start-up and an interval behind, which
    is what reaction alone can reach; and other projects' laws by name (peers: all of them). NAME:knob=value:…
    changes knobs, NAME:tuned searches a peer's own on the first half of the traffic.

    Every row has its ratio to the clairvoyant bound at the same attainment: the fleet that knows all arrivals
    and the true plant. Exit code 1 when the first policy ends below --min-attainment.
    """
    if cluster and backend == "loky":
        raise click.UsageError("--cluster needs --backend dask or ray")
    if leave_one_out and not suite:
        raise click.UsageError("--leave-one-out needs --suite")
    flags = given(CompareSettings, options)
    if suite:
        _suite(suite, configuration, traces, flags, leave_one_out,
               lambda cases: _held(cases, jobs, fresh, backend, cluster))  # fmt: skip
    else:
        _single(configuration, flags, lambda cases: _held(cases, jobs, fresh, backend, cluster))


def _single(configuration: str | None, flags: Mapping[str, Any], held: Held) -> None:
    """One case, from a configuration and flags."""
    from planner.arena import contenders
    from planner.arena.contest import Case
    from planner.simulation.report import write

    settings = config.load(CompareSettings, config.find(configuration) if configuration else None, flags)
    policies = contenders.expanded(settings.policies)
    problems = contenders.problems([name for name in policies if name in settings.policies], settings.mode)
    problems += contenders.problems(policies)
    if settings.further:
        problems.append("further pools: compare knows no bound for several kinds of GPU; planner mix compares them")
    if problems:
        raise config.ConfigError(list(dict.fromkeys(problems)))
    settings = settings.model_copy(update={"policies": policies})
    (figures,) = held([Case(settings.traffic.source, settings)])
    write.comparison(figures, settings.outputs, settings.model_dump(mode="json", by_alias=True, exclude_none=True))
    _judge([figures], settings.min_attainment)


def _suite(name: str, configuration: str | None, traces: Path | None, flags: dict[str, Any],
           leave_one_out: bool, held: Held) -> None:  # fmt: skip
    """Many cases; flags go over the settings of each."""
    from planner.arena import leave_one_out as choosing
    from planner.arena import suite
    from planner.config.suite import SuiteSettings
    from planner.simulation.report import write

    refused = [path for path in OF_A_CASE if path in flags]
    if configuration or refused:
        raise click.UsageError(f"--suite brings its own traffic: leave out {configuration or ', '.join(refused)}")
    file = config.find(name, "suites")
    described = config.load(SuiteSettings, file, {})
    outputs = OutputSettings.model_validate(
        {path.removeprefix("outputs."): flags.pop(path) for path in list(flags) if path.startswith("outputs.")}
    )
    started = time.perf_counter()
    found = suite.expand(described, file.parent, suite.folders(traces), flags)
    for line in found.skipped:
        click.echo(line, err=True)
    if not found.cases:
        raise config.ConfigError(["no case has its traffic here"])
    if leave_one_out:
        choosing.candidates(found.cases)  # what is wrong is told before anything runs
    cases = held(found.cases)
    about = {
        "suite": name,
        "description": described.description,
        "sampled": described.sampled,
        "skipped": found.skipped,
        "wall_seconds": time.perf_counter() - started,
    }
    chosen = choosing.leave_one_out(found.cases, cases) if leave_one_out else None
    write.suite(cases, outputs, about, chosen)
    _judge(cases, found.cases[0].settings.min_attainment)


def _judge(cases: Sequence[CaseFigures], floor: float | None) -> None:
    """Exit code 1 when the first policy of a case kept less than ``floor``.

    Raises:
        BoundBrokenError: a policy was cheaper than the clairvoyant bound: the bound is wrong.
    """
    from planner.simulation.clairvoyant import BoundBrokenError

    broken = [f"{case.title}: {words}" for case in cases for words in case.broken]
    if broken:
        raise BoundBrokenError("; ".join(broken))
    least = min(case.standings()[0].kept.value for case in cases)
    if floor is not None and least < floor:
        click.echo(f"attainment {least:.2%} is below --min-attainment {floor:.2%}", err=True)
        raise SystemExit(1)


def _held(cases: list[Case], jobs: int | None, fresh: bool, backend: str, cluster: str | None) -> list[CaseFigures]:
    """What came of the cases."""
    import joblib

    from planner.arena import store
    from planner.arena.contest import held
    from planner.arena.crew import Crew, hired

    kept = store.Store(None if fresh else store.folder())
    runs = sum(len(case.contenders) * case.settings.seeds for case in cases)
    opening = f"{runs} run{'s' * (runs != 1)} in {len(cases)} case{'s' * (len(cases) != 1)}"
    with _ended_by_sigterm(), hired(backend, cluster), tally(opening) as watcher:
        return held(cases, Crew(kept, jobs or (joblib.cpu_count() if backend == "loky" else -1), watcher))


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM is as Ctrl-C: joblib ends the processes that work beside this one, which would go on without it."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
