"""Which file, folder or shipped data set a name means, and what format it is in."""

from __future__ import annotations

from pathlib import Path

from planner import resources
from planner.simulation.traffic.columns import header_of
from planner.simulation.traffic.errors import TrafficError
from planner.simulation.traffic.files import first_line
from planner.simulation.traffic.generators import GENERATORS
from planner.simulation.traffic.rates import TIME_UNITS_S, is_rate_header
from planner.simulation.traffic.recorded import AZURE, BURSTGPT
from planner.simulation.traffic.servegen import CLIENTS, TOTALS

FORMATS = ("azure", "mooncake", "burstgpt", "servegen", "rates")


def locate(source: str | Path) -> Path:
    """The file or folder that a user means: a path first, then the name of shipped traffic.

    Raises:
        TrafficError: neither; the message lists what is shipped.
    """
    found = Path(source).expanduser()
    if found.exists():
        return found
    shipped = {bare_name(Path(name)): name for name in resources.names("traffic") if name.endswith((".gz", ".csv"))}
    wanted = shipped.get(bare_name(found))
    if wanted is not None and len(found.parts) == 1:
        return resources.path("traffic", wanted)
    raise TrafficError(
        f"no traffic {str(source)!r}: it is neither a file, nor shipped ({', '.join(shipped) or 'nothing is'}), "
        f"nor a generator ({', '.join(GENERATORS)})"
    )


def bare_name(path: Path) -> str:
    """A file's name without the endings of its format and compression."""
    name = path.name
    for ending in (".gz", ".zst", ".csv", ".jsonl"):
        name = name.removesuffix(ending)
    return name


def detect(path: Path) -> str:
    """The format of a trace, from its content alone.

    Raises:
        TrafficError: the first line is that of no known format.
    """
    if path.is_dir():
        return "servegen"
    line = first_line(path)
    if line.lstrip().startswith(b"{"):
        return "mooncake"
    names = header_of(line)
    for name, columns in (("azure", AZURE), ("burstgpt", BURSTGPT), ("servegen", CLIENTS), ("servegen", TOTALS)):
        if columns.keys() <= set(names):
            return name
    if is_rate_header(names):
        return "rates"
    raise TrafficError(f"{path}: the first line, {_shown(line)}, is that of no known format; {_known()}")


def has_totals_only(path: Path) -> bool:
    """Whether a ServeGen file is a totals table rather than a client table."""
    return not path.is_dir() and "client" not in header_of(first_line(path))


def _shown(line: bytes) -> str:
    text = line.decode("utf-8", "replace")
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _known() -> str:
    tables = {"azure": AZURE, "burstgpt": BURSTGPT, "servegen": CLIENTS}
    known = [f"{name} has the columns {', '.join(columns)}" for name, columns in tables.items()]
    times = "/".join(TIME_UNITS_S)
    return "; ".join([*known, "mooncake is one JSON object a line", f"rates has {times} and one column of requests"])
