"""``planner demo``: a real routed stack on this machine, with the planner at its side."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.commands._options import DURATION
from planner.commands._progress import bar

if TYPE_CHECKING:
    from planner.local.demo import Show
    from planner.local.install import Tools

TRACE = "azure2024_conv_1min_recon"
FROM_S, LASTS_S = 2 * 86_400.0 + 3 * 3_600.0, 21 * 3_600.0
"""Of that trace: from three in the morning of the third day until midnight."""


@click.command("demo")
@click.option("--disaggregated", is_flag=True, help="Prefill and decode in workers of their own.")
@click.option("--minutes", type=click.FloatRange(0.2, 240), default=6.0, show_default=True, help="Length of the load.")
@click.option("--trace", default=TRACE, show_default=True, help="A file, shipped traffic, or a generator.")
@click.option(
    "--from", "from_s", type=DURATION, help="Where in the trace to begin.  [2d3h of the default trace, else 0s]"
)
@click.option("--speed", type=click.FloatRange(0.01, 10_000),
              help="Seconds of the trace that pass in one second.  [default trace: 21 hours in all]")  # fmt: skip
@click.option("--startup", "startup_s", type=DURATION, default="8s", show_default=True,
              help="Wait before a new worker's process is started, in place of loading a model.")  # fmt: skip
@click.option(
    "--listen", default="127.0.0.1:0", show_default=True, help="Address of the page; port 0 takes a free one."
)
@click.option("--keep-open", is_flag=True, help="Stay until Ctrl-C when the load is over.")
@click.option("--decisions", type=click.Path(dir_okay=False, path_type=Path),
              default=Path("demo-out/live-decisions.jsonl"), show_default=True, help="The decision log.")  # fmt: skip
@click.option("--prometheus-binary", type=click.Path(path_type=Path), help="Prometheus, where it is not on the PATH.")
def command(disaggregated: bool, minutes: float, trace: str, from_s: float | None, speed: float | None,
            startup_s: float, listen: str, keep_open: bool, decisions: Path,
            prometheus_binary: Path | None) -> None:  # fmt: skip
    """Watch the planner add and remove real worker processes under real HTTP load, on this machine, without a GPU.

    Envoy, NVIDIA Dynamo's frontend with KV router and simulated workers, Prometheus, a client that replays a real
    trace, the planner and its page. What is missing is installed first, into an environment of its own. Exit code 1
    when a request was lost.
    """
    tools = _installed(prometheus_binary)

    from planner.local.demo import Demo, Show
    from planner.local.segment import Segment
    from planner.local.settings import Control

    begin, pace = (FROM_S, LASTS_S / (60.0 * minutes)) if trace == TRACE else (0.0, 1.0)
    segment = Segment(trace, minutes, speed or pace, begin if from_s is None else from_s)
    decisions.parent.mkdir(parents=True, exist_ok=True)
    decisions.unlink(missing_ok=True)
    demo = Demo(segment, "disaggregated" if disaggregated else "aggregated", startup_s, Control(listen=listen),
                keep_open, decisions.absolute())  # fmt: skip
    folder = Path(tempfile.mkdtemp(prefix="planner-demo-"))
    show = Show(demo, tools, folder, lambda line: _say(line, show.stop))
    _log_to(folder / "planner.log")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: _interrupt(show))
    lost = show.run()
    shutil.rmtree(folder, ignore_errors=True)  # kept when something failed: its logs say why
    click.echo(f"look at it again: planner dashboard {decisions}; why a number: planner explain {decisions}")
    raise SystemExit(1 if lost else 0)


def _installed(prometheus: Path | None) -> Tools:
    """The programs of the stack, installed when they are not there yet."""
    from planner.local import install

    home = install.home()
    if not install.is_installed(home):
        click.echo(f"installing the parts of the stack into {home} (about 150 MB to download, once)")
        with bar("installing") as progress:
            install.install(home, lambda what, share: progress(share))
    return install.tools(home, prometheus)


def _interrupt(show: Show) -> None:
    """The first signal ends the load, so that no request is lost; one before the load or a second one ends at once."""
    if show.client is None or show.stopped:
        raise KeyboardInterrupt
    show.stop()


def _say(line: str, stop: Callable[[], None]) -> None:
    """Print a line of the story; when nobody reads any more (`planner demo | head`), that is the end."""
    try:
        click.echo(line)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the end of the process
        stop()


def _log_to(path: Path) -> None:
    """Structured logs go to a file: here people read the story."""
    import structlog

    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True),
                    structlog.processors.JSONRenderer()],
        logger_factory=structlog.WriteLoggerFactory(path.open("a", buffering=1)),
    )  # fmt: skip
