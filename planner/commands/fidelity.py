"""``planner fidelity``: the simulated fleet beside Dynamo's own parts, on the same ten minutes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.answers import told
from planner.commands._progress import bar, spinner

if TYPE_CHECKING:
    from rich.table import Table

    from planner.local.fidelity import Comparison, Trial

AGREED = 0.1
"""Every figure of the plant is within this share of the real one."""


@click.command("fidelity")
@click.option("--minutes", type=click.FloatRange(1.0, 58.0), default=10.0, show_default=True,
              help="Length of the trial; the real stack takes as long.")  # fmt: skip
@click.option("--disaggregated", is_flag=True, help="Prefill and decode apart, instead of aggregated workers.")
@click.option("--offline", is_flag=True,
              help="Against Dynamo's own replay on virtual time, with a fixed fleet: seconds.")  # fmt: skip
@click.option("--router", type=click.Choice(["kv", "round-robin"]), default="kv", show_default=True,
              help="How requests are given to workers, in both.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the traffic.")
@click.option("--prometheus-binary", type=click.Path(path_type=Path), default=None,
              help="A Prometheus that is not on the PATH.")  # fmt: skip
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path, allow_dash=True), metavar="FILE",
              help="Figures as one JSON object, to a file or - for standard output.")  # fmt: skip
def command(minutes: float, disaggregated: bool, offline: bool, router: str, seed: int,
            prometheus_binary: Path | None, json_file: Path | None) -> None:  # fmt: skip
    """Run the same trace through the simulated fleet and through the real stack on this machine, side by side.

    The real stack is NVIDIA Dynamo's frontend, KV router and simulated workers under real HTTP load, in real
    time: leave the machine alone meanwhile. Both get the same profile, trace and planned changes of the fleet;
    a stretch of the trace is above its capacity. Exit code 1 when a figure differs by more than 10 %.
    """
    from planner.local import fidelity

    trial = fidelity.trial("disaggregated" if disaggregated else "aggregated", minutes, seed, router, fixed=offline)
    found = _compared(trial, offline, prometheus_binary)
    with told(found.to_json(), json_file) as console:
        console.print(_table(found))
    if found.worst() > AGREED:
        click.echo(f"a figure differs by {found.worst():.1%}, more than {AGREED:.0%}", err=True)
        raise SystemExit(1)


def _compared(trial: Trial, offline: bool, prometheus: Path | None) -> Comparison:
    """Both runs; what the real parts write goes when they have ended."""
    from planner.local import fidelity, install

    with spinner("looking for the parts of the stack"):
        install.install(install.home())
        tools = install.tools(install.home(), prometheus)
    with tempfile.TemporaryDirectory(prefix="sla-planner-") as folder:
        with spinner("through the plant"):
            plant = fidelity.through_plant(trial)
        if offline:
            with spinner("through Dynamo's replay"):
                real = fidelity.through_replay(trial, tools.python, Path(folder))
        else:
            with bar("through the real stack") as progress:
                real = fidelity.through_stack(trial, tools, Path(folder), progress)
    return fidelity.Comparison("Dynamo's offline replay" if offline else "the real stack", trial, plant, real)


def _table(found: Comparison) -> Table:
    from rich.table import Table

    trial = found.trial
    traffic, promise = trial.traffic, trial.promise
    speed = traffic.output_tokens.sum() / traffic.duration_s
    title = (
        f"{traffic.requests:,} requests in {traffic.duration_s / 60:g} minutes, {speed:,.0f} tokens/s, "
        f"{trial.shape.mode}; promise TTFT ≤ {promise.ttft_s:g} s and ITL ≤ {promise.itl_s * 1e3:g} ms"
    )
    table = Table(title=title, caption=f"ratio: the plant over {found.against}")
    for name in ("figure", "plant", found.against, "ratio"):
        table.add_column(name, justify="left" if name == "figure" else "right", no_wrap=True)
    for name, ours, theirs, ratio in found.rows():
        label, show = _LABELS[name]
        table.add_row(label, show(ours), show(theirs), "" if ratio is None else f"{ratio:.3f}")
    return table


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f} ms"


_LABELS = {
    "ttft_mean_s": ("TTFT mean", _ms),
    "ttft_p95_s": ("TTFT p95", _ms),
    "itl_mean_s": ("ITL mean", _ms),
    "itl_p95_s": ("ITL p95", _ms),
    "attainment": ("kept both", lambda share: f"{share:.2%}"),
    "replica_minutes": ("replica-minutes", lambda minutes: f"{minutes:.2f}"),
}
