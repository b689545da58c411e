"""``planner dashboard``: the page over a decision log, finished or still growing."""

from __future__ import annotations

import signal
import threading
from contextlib import closing
from pathlib import Path

import click


@click.command("dashboard")
@click.argument("log", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="LOG")
@click.option("--listen", default="127.0.0.1:0", show_default=True, metavar="HOST:PORT",
              help="Address and port of the page; port 0 takes a free one.")  # fmt: skip
@click.option("--token-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
              help="A token that visitors must show; needed for addresses other than loopback.")  # fmt: skip
def command(log: Path, listen: str, token_file: Path | None) -> None:
    """Show a decision log as a page: load, replicas, latency, promises, GPU-hours, faults, the last decision.

    LOG is what simulate --decisions or run --decisions writes; a log that still grows is followed. The page is
    read-only and needs no internet. Stop with Ctrl-C.
    """
    from planner.dashboard.app import app
    from planner.dashboard.feed import LogFeed
    from planner.dashboard.server import serve

    token = None if token_file is None else token_file.read_text(encoding="utf-8").strip()
    stopped = threading.Event()
    with closing(LogFeed(log)) as feed:
        feed.look(lambda series: None)  # a file that is no decision log is told here
        with closing(serve(app(feed), listen, token)) as running:
            for name in (signal.SIGINT, signal.SIGTERM):
                signal.signal(name, lambda *_: stopped.set())
            click.echo(f"page of {log}: {running.address}")
            more = True
            while not stopped.wait(0.01 if more else 1.0):  # read ahead of the browser
                _, more = feed.look(lambda series: None)
