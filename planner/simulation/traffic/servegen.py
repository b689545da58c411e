"""ServeGen: production traffic published as clients, each with its own rate and burstiness per ten minutes.

Three shapes are read:

- a **client table** ``client,t_sec,rate_rps,cv,pattern,shape,scale``; a totals table beside it (same name
  with ``clients`` replaced by ``total``) gives mean lengths over time;
- a **totals table** ``t_sec,rate_rps,isl_mean_6h,osl_mean_6h[,rate_share_with_lengths_6h]`` alone: the sum
  of all clients, without their burstiness;
- a **folder** of ServeGen's own ``chunk-N-trace.csv`` files (no header; the client is N).

A published rate is a count: what a client sent in ten minutes, divided by 600 s. So each row becomes
exactly that many requests (scaled, and rounded at random to keep the mean), spread over its ten minutes
by renewal: as many gaps are drawn from the row's Gamma or Weibull, stretched to fill the ten minutes as a
circle, and turned by a random angle, so that no moment of the row is special. The ``shape`` column is the
pattern's; for Gamma it is 1 / cv². A Gamma of shape 1 gives uniform moments, as a Poisson process has
given its count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.simulation.traffic.arrivals import RateCurve, Requests, Window, cut, gathered, refuse_floods, stream
from planner.simulation.traffic.columns import Kind, Rows, header_of, read_rows, refuse_strangers, refuse_unsorted
from planner.simulation.traffic.errors import TrafficError, at_line
from planner.simulation.traffic.files import first_line
from planner.simulation.traffic.lengths import DEFAULT_SPREAD, LengthModel, LogNormalLengths

CLIENTS = {
    "client": Kind.COUNT,
    "t_sec": Kind.NUMBER,
    "rate_rps": Kind.NUMBER,
    "cv": Kind.NUMBER,
    "pattern": Kind.TEXT,
    "shape": Kind.NUMBER,
    "scale": Kind.NUMBER,
}
TOTALS = {"t_sec": Kind.NUMBER, "rate_rps": Kind.NUMBER, "isl_mean_6h": Kind.NUMBER, "osl_mean_6h": Kind.NUMBER}
TOTALS_COLUMNS = (*TOTALS, "rate_share_with_lengths_6h")
CHUNK = {
    "t_sec": Kind.NUMBER,
    "rate_rps": Kind.NUMBER,
    "cv": Kind.NUMBER_OR_GAP,
    "pattern": Kind.TEXT,
    "shape": Kind.NUMBER_OR_GAP,
    "scale": Kind.NUMBER_OR_GAP,
}

PATTERNS = (b"Gamma", b"Weibull")

SLOT_S = 600.0
"""Length of a row: ServeGen counts in ten minutes."""

_LAST_MOMENT = 1.0 - 1e-9
"""Share of a row: its last request must not round into the next row."""


@dataclass(frozen=True, slots=True)
class Clients:
    """The rows of all clients, by time and then client."""

    t_s: NDArray[np.float64]  # start of the row; the first is 0
    rates: NDArray[np.float64]  # requests per second
    weibull: NDArray[np.bool_]  # Gamma otherwise
    shapes: NDArray[np.float64]
    epoch_s: float  # the first row on the table's own clock

    @property
    def end_s(self) -> float:
        """Where the last row ends."""
        return float(self.t_s[-1]) + SLOT_S


@dataclass(frozen=True, slots=True)
class Totals:
    """All clients together: their rate, and mean lengths over time."""

    curve: RateCurve
    lengths: LogNormalLengths
    epoch_s: float


def read_clients(path: Path) -> Clients:
    """A client table, or a folder of chunks.

    Raises:
        TrafficError: unknown columns or patterns, a client's rows not in order of time, overlapping rows,
            shapes that are not above 0, no rows with a rate.
    """
    parts = list(_chunks(path)) if path.is_dir() else list(_table(path))
    if not parts:
        raise TrafficError(f"{path} has a header but no rows")
    columns = {name: np.concatenate([part[name] for part in parts]) for name in CLIENTS}
    active = np.flatnonzero(columns["rate_rps"] > 0)
    if not active.size:
        raise TrafficError(f"{path} holds no requests: no client has a rate above 0")
    order = active[np.lexsort((columns["client"][active], columns["t_sec"][active]))]
    t_s = columns["t_sec"][order]
    return Clients(
        t_s - t_s[0],
        columns["rate_rps"][order],
        np.char.strip(columns["pattern"][order]) == b"Weibull",
        columns["shape"][order],
        float(t_s[0]),
    )


def read_totals(path: Path, spread: float = DEFAULT_SPREAD) -> Totals:
    """A totals table; lengths are log-normal around its means.

    Raises:
        TrafficError: unknown columns, rows not in order of time, no rate, or a mean length below 1 token.
    """
    refuse_strangers(path, header_of(first_line(path)), TOTALS_COLUMNS, "a ServeGen totals table")
    parts = []
    last: float | None = None
    for rows in read_rows(path, TOTALS):
        last = refuse_unsorted(rows, "t_sec", last)
        for mean in ("isl_mean_6h", "osl_mean_6h"):
            _refuse(rows, rows.columns[mean] < 1, f"{mean} is below 1 token")
        parts.append(rows.columns)
    if not parts:
        raise TrafficError(f"{path} has a header but no rows")
    columns = {name: np.concatenate([part[name] for part in parts]) for name in TOTALS}
    t_s = columns["t_sec"] - columns["t_sec"][0]
    lengths = LogNormalLengths(columns["isl_mean_6h"], columns["osl_mean_6h"], t_s, spread)
    return Totals(_curve(path, t_s, columns["rate_rps"]), lengths, float(columns["t_sec"][0]))


def totals_beside(path: Path) -> Path | None:
    """The totals table that belongs to a client table, if it lies in the same folder."""
    beside = path.with_name(path.name.replace("clients", "total"))
    return beside if beside != path and beside.is_file() else None


def _curve(path: Path, t_s: NDArray[np.float64], rates: NDArray[np.float64]) -> RateCurve:
    if not rates.max() > 0:
        raise TrafficError(f"{path} holds no requests: every rate_rps is 0")
    edges = np.unique(np.concatenate((t_s, t_s + SLOT_S)))
    row = np.searchsorted(t_s, edges[:-1], side="right") - 1
    return RateCurve(edges, np.where(edges[:-1] < t_s[row] + SLOT_S, rates[row], 0.0))


def _table(path: Path) -> Iterator[dict[str, NDArray[Any]]]:
    refuse_strangers(path, header_of(first_line(path)), tuple(CLIENTS), "a ServeGen client table")
    before = (-1.0, -np.inf)
    for rows in read_rows(path, CLIENTS):
        _check(rows)
        before = _in_order(rows, before)
        yield dict(rows.columns)


def _chunks(folder: Path) -> Iterator[dict[str, NDArray[Any]]]:
    files = sorted(folder.glob("chunk-*-trace.csv"))
    if not files:
        raise TrafficError(f"{folder} is a folder without chunk-N-trace.csv files: name a trace file")
    for file in files:
        number = file.name.removeprefix("chunk-").removesuffix("-trace.csv")
        if not number.isdecimal():
            raise TrafficError(f"{file}: the client's number is missing; chunks are named chunk-N-trace.csv")
        before = (-1.0, -np.inf)
        for rows in read_rows(file, CHUNK, header=tuple(CHUNK)):
            client = np.full(len(rows.columns["t_sec"]), int(number), dtype=np.int64)
            named = Rows(rows.path, rows.first_line, {**rows.columns, "client": client})
            _check(named)
            before = _in_order(named, before)
            yield dict(named.columns)


def _check(rows: Rows) -> None:
    active = rows.columns["rate_rps"] > 0  # a silent client has no pattern
    unknown = ~np.isin(np.char.strip(rows.columns["pattern"]), PATTERNS)
    _refuse(rows, active & unknown, "pattern must be Gamma or Weibull")
    _refuse(rows, active & ~(rows.columns["shape"] > 0), "shape must be above 0")


def _in_order(rows: Rows, before: tuple[float, float]) -> tuple[float, float]:
    """The last (client, time) of these rows, which must ascend by at least one slot within a client."""
    client = np.concatenate(([before[0]], rows.columns["client"]))
    t_s = np.concatenate(([before[1]], rows.columns["t_sec"]))
    same = client[1:] == client[:-1]
    _refuse(rows, client[1:] < client[:-1], "client is smaller than on the line before: sort by client, then t_sec")
    _refuse(rows, same & (t_s[1:] - t_s[:-1] < SLOT_S), "t_sec is less than 600 s after the client's row before")
    return float(client[-1]), float(t_s[-1])


def _refuse(rows: Rows, bad: NDArray[np.bool_], problem: str) -> None:
    if bad.any():
        raise at_line(rows.path, rows.line(int(np.argmax(bad))), problem)


def draw_clients(clients: Clients, lengths: LengthModel, window: Window, scale: float, seed: int) -> Requests:
    """All requests of the clients inside ``window``; rates multiplied by ``scale``.

    Every slot has its own random stream, a function of the seed and the slot's place in time.

    Raises:
        TrafficError: more requests are due than a run can hold.
    """
    touched = (clients.t_s + SLOT_S > window.from_s) & (clients.t_s < window.to_s)
    refuse_floods(float(clients.rates[touched].sum()) * SLOT_S * scale)
    parts = [Requests(np.empty(0), np.empty(0, np.int32), np.empty(0, np.int32))]
    for start in np.unique(clients.t_s[touched]):
        rows = slice(*(int(np.searchsorted(clients.t_s, start, side)) for side in ("left", "right")))
        index = round(float(start) * 1000)
        at = _slot(clients, rows, scale, stream(seed, "clients", index))
        parts.append(cut(Requests(at, *lengths.draw(at, stream(seed, "lengths", index))), window))
    return _in_time(gathered(parts))


def _in_time(requests: Requests) -> Requests:
    """In order of arrival: slots overlap where clients do not count from the same moments."""
    if (np.diff(requests.at_s) >= 0).all():
        return requests
    order = np.argsort(requests.at_s, kind="stable")
    return Requests(requests.at_s[order], requests.input_tokens[order], requests.output_tokens[order])


def _slot(clients: Clients, rows: slice, scale: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Moments of arrival of some rows, ascending."""
    due = clients.rates[rows] * SLOT_S * scale
    counts = np.floor(due + random.random(len(due))).astype(np.int64)
    turns = random.random(len(due))
    busy = counts > 0
    counts, row = counts[busy], np.flatnonzero(busy) + rows.start
    if not counts.size:
        return np.empty(0)
    each = np.repeat(row, counts)
    ends = np.cumsum(counts)
    logs = _log_gaps(clients.shapes[each], clients.weibull[each], random)
    # Relative to the longest gap of the row: gaps of small shapes span more than a float can hold.
    gaps = np.exp(logs - np.repeat(np.maximum.reduceat(logs, ends - counts), counts))
    around = np.cumsum(gaps / np.repeat(np.add.reduceat(gaps, ends - counts), counts))  # every row fills a circle
    around += np.repeat(turns[busy] - np.concatenate(([0.0], around[ends[:-1] - 1])), counts)
    return np.sort(clients.t_s[each] + SLOT_S * np.minimum(around % 1.0, _LAST_MOMENT))


def _log_gaps(
    shapes: NDArray[np.float64], weibull: NDArray[np.bool_], random: np.random.Generator
) -> NDArray[np.float64]:
    """Logarithms of gaps, up to a factor for each row.

    Weibull(k) = E^(1/k); Gamma(k) = Gamma(k + 1) · U^(1/k) (Marsaglia and Tsang 2000, section 6), -ln U = E.
    """
    exponential = np.maximum(random.standard_exponential(len(shapes)), np.finfo(float).tiny)
    gamma = np.log(random.standard_gamma(shapes + 1)) - exponential / shapes
    return np.where(weibull, np.log(exponential) / shapes, gamma)
