"""Write docs/reference from the program itself; with ``--check`` only say whether it is up to date."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
from pydantic import BaseModel

from planner import resources
from planner.adapters.prometheus import dialect_files
from planner.adapters.prometheus.dialect import BY_WORKER, Alternatives, Dialect
from planner.cli import COMMANDS, main
from planner.commands._options import written_default
from planner.config import CompareSettings, LiveSettings, SimulateSettings, SizeSettings, find, load
from planner.config.backtest import BacktestSettings
from planner.config.flags import Setting, settings
from planner.config.fleet import FleetSettings
from profiler.cli import main as profiler

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
MADE = "<!-- made by scripts/gen_reference.py (make docs); edit the code instead -->\n"


def pages() -> dict[str, str]:
    """Every page by file name."""
    return {
        "cli.md": MADE + "\n".join(_commands()),
        "settings.md": MADE + "\n".join(_settings()),
        "data.md": MADE + "\n".join(_shipped()),
        "dialects.md": MADE + "\n".join(_dialects()),
    }


def _commands() -> Iterator[str]:
    yield "# Command line\n\n```text"
    context = click.Context(main, info_name="planner", terminal_width=110)
    yield main.get_help(context) + "\n```\n"
    for name in COMMANDS:
        command = main.get_command(context, name)
        if command is not None:
            yield from _command(command, click.Context(command, info_name=name, parent=context), 2)
    yield from _command(profiler, click.Context(profiler, info_name="profiler", terminal_width=110), 2)
    yield EXIT_CODES


def _command(command: click.Command, context: click.Context, depth: int) -> Iterator[str]:
    yield f"{'#' * depth} {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from _command(inner, click.Context(inner, info_name=name, parent=context), depth + 1)


EXIT_CODES = """## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | the answer falls short (`--min-attainment` missed, no fleet keeps it, `check` found a problem), complete |
| 2 | bad input: the message names the thing, the value and what would be right |
| 3 | a part outside failed: Prometheus, a download, a disk, a library that is not installed |
| 130 | stopped from the keyboard, `compare` by SIGTERM too |

## Environment and completion

Every option can come from the environment: `PLANNER_SIMULATE_TTFT=500ms` is `--ttft 500ms` of `simulate`.

Completion in the shell, for this session or in its start-up file:

    eval "$(_PLANNER_COMPLETE=bash_source planner)"     # zsh_source, fish_source
"""


def _settings() -> Iterator[str]:
    yield """# Settings

Configurations are YAML. A flag wins over the file; a key that is not listed here is refused. Durations carry their
unit (`500ms`, `1.5s`, `2m`, `1h`, `3d`), rates too (`12/s`, `720/min`). Profiles and traffic are looked for beside the
configuration first. Numbers by pool are written `{prefill: 13, decode: 5}`, as a flag `prefill=13,decode=5`.
"""
    yield "## `planner simulate`\n"
    yield from _table(SimulateSettings)
    yield "## `planner compare`\n\nAll settings of `simulate`, and:\n"
    yield from _table(CompareSettings, {one.path for one in settings(SimulateSettings)})
    yield "## `planner fleet`\n"
    yield from _table(FleetSettings)
    yield "## `planner size`\n"
    yield from _table(SizeSettings, {"cost"})
    yield "## `planner run`, `planner check`\n"
    yield from _table(LiveSettings)
    yield "## `planner backtest`\n\nAll settings of `run`, and:\n"
    yield from _table(BacktestSettings, {one.path for one in settings(LiveSettings)})


def _table(model: type[BaseModel], known: set[str] | frozenset[str] = frozenset()) -> Iterator[str]:
    yield "| key | flag | value | default | meaning |\n|---|---|---|---|---|"
    yield from (_row(one) for one in settings(model) if one.path not in known)
    yield ""


def _row(one: Setting) -> str:
    default = "**needed**" if one.needed else f"`{written_default(one)}`" if written_default(one) else ""
    flag = f"`{one.flag}`" if one.flag else ""
    return f"| `{one.path}` | {flag} | {one.form.name} | {default} | {one.description} |"


def _dialects() -> Iterator[str]:
    yield "# Metric dialects\n\nWhere each signal is read, by project. [Metrics](../metrics.md) says what they mean.\n"
    for dialect in map(dialect_files.load, dialect_files.names()):
        yield from _dialect(dialect)


def _dialect(dialect: Dialect) -> Iterator[str]:
    origin = dialect.origin
    behind = f"workers are read as `{dialect.engine}` unless told otherwise" if dialect.engine else "an engine's"
    yield f"## {dialect.name}\n\n{dialect.title}; {behind}."
    yield f"After {origin.project}, {origin.file}; {origin.version}, {origin.date}.\n"
    yield "| signal | metric | form | told at bucket edges, and what to know |\n|---|---|---|---|"
    rows = [*dialect.signals.items(), *((signal, dialect.ways(signal)) for signal in BY_WORKER)]
    rows += [
        (f"{signal} before {role}", ways) for role, queues in dialect.pools.items() for signal, ways in queues.items()
    ]
    for signal, ways in rows:
        yield from _ways(signal, ways)
    for signal, why in dialect.cannot.items():
        yield f"| {signal} | – | – | {why} |"
    yield ""


def _ways(signal: str, ways: Alternatives) -> Iterator[str]:
    for i, way in enumerate(ways):
        edges = ", ".join(f"{edge:g}" for edge in way.edges)
        only = [f"{key}={value}" for key, value in way.where.items()]
        said = [edges, *only, "streamed answers only" if way.streaming_only else "", way.note,
                "one value a request" if way.weight == "request" else ""]  # fmt: skip
        name = " + ".join(f"`{part}`" for part in way.names) + (f" / `{way.count}`" if way.count else "")
        yield f"| {signal if i == 0 else 'or'} | {name} | {way.form} | {'; '.join(filter(None, said))} |"


def _shipped() -> Iterator[str]:
    yield "# Shipped by name\n\nFound wherever the package is installed; see `data/SOURCES.md` for where it is from.\n"
    yield "## Profiles\n\nFor `--profile`; `profiler show NAME` tells where its figures are from.\n"
    yield from (f"- `{_name(file)}`" for file in resources.names("profiles"))
    yield "\n## Scenarios\n\nFor `planner simulate NAME` and `planner compare NAME`.\n"
    yield from (f"- `{_name(file)}`: {_described(_name(file))}" for file in resources.names("scenarios"))
    yield "\n## Fleets\n\nFor `planner fleet NAME`.\n"
    yield from (
        f"- `{_name(file)}`: {load(FleetSettings, find(_name(file), 'fleets'), {}).description}"
        for file in resources.names("fleets")
    )
    yield "\n## Traffic\n\nFor `--traffic` and `--lengths`; `planner data list` has more to fetch.\n"
    yield from (f"- `{_name(file)}`" for file in resources.names("traffic"))
    yield ""


def _name(file: str) -> str:
    return file.partition(".")[0]


def _described(scenario: str) -> str:
    return load(SimulateSettings, find(scenario), {}).description


def drifted() -> list[str]:
    """Names of the pages that are not what the program would write now."""
    return [
        name
        for name, text in pages().items()
        if not (FOLDER / name).exists() or (FOLDER / name).read_text(encoding="utf-8") != text
    ]


if __name__ == "__main__":
    if "--check" in sys.argv:
        if stale := drifted():
            sys.exit(f"docs/reference/{', '.join(stale)}: no longer what the program says; run `make docs`")
    else:
        for name, text in pages().items():
            (FOLDER / name).write_text(text, encoding="utf-8")
