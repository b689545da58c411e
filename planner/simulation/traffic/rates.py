"""Traffic known only by its rate: tables of requests per bin, and generators."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from planner.simulation.traffic.files import TrafficError, ascending, number, table, timestamp
from planner.units import duration_s, rate_per_s

UNIT_S = {"seconds": 1.0, "second": 1.0, "t_sec": 1.0, "minute": 60.0, "minutes": 60.0, "t_min": 60.0, "hour": 3600.0}


@dataclass(frozen=True, slots=True)
class RateTable:
    """A rate that is constant within bins. ``what`` is ``requests`` or ``tokens`` per second."""

    name: str
    bin_s: float
    per_s: NDArray[np.float64]
    what: str = "requests"
    epoch_s: float = 0.0
    input_mean: NDArray[np.float64] | None = None  # tokens by bin, where the table says
    output_mean: NDArray[np.float64] | None = None

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.bin_s * len(self.per_s)

    def window(self, from_s: float, to_s: float | None) -> RateTable:
        """The bins between two moments (counted from the table's start)."""
        first, last = int(from_s // self.bin_s), int(np.ceil((to_s or self.duration_s) / self.bin_s - 1e-9))

        def cut(values: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
            return None if values is None else values[first:last]

        return RateTable(
            self.name, self.bin_s, self.per_s[first:last], self.what, self.epoch_s + first * self.bin_s,
            cut(self.input_mean), cut(self.output_mean),
        )  # fmt: skip


def read(path: Path) -> RateTable:
    """A CSV with a time column that names its unit and one column of what came.

    Time: ``seconds``, ``t_sec``, ``minute``, ``t_min``, ``hour`` or ``timestamp`` (ISO). Value: ``*_rps`` and
    ``*per_s`` are rates, ``*per_min`` counts per minute, ``requests``, ``count`` and ``value`` counts per bin;
    ``tokens_per_s`` is divided by the mean length later. The bin is the median step.

    Raises:
        TrafficError: another header, rows out of order, negative or missing numbers, fewer than two rows.
    """
    rows = table(path)
    time_name, value_name = _columns(path, rows.header)
    at, value = rows.header.index(time_name), rows.header.index(value_name)
    means = [rows.header.index(n) if n in rows.header else None for n in ("isl_mean_6h", "osl_mean_6h")]
    times: list[float] = []
    values: list[float] = []
    lengths: tuple[list[float], list[float]] = ([], [])
    for line, fields in rows.rows():
        if time_name.lower() == "timestamp":
            now = timestamp(path, line, time_name, fields[at])
        else:
            now = number(path, line, time_name, fields[at]) * UNIT_S[time_name.lower()]
        times.append(ascending(path, line, time_name, times[-1] if times else None, now))
        values.append(number(path, line, value_name, fields[value]))
        for kept, index in zip(lengths, means, strict=True):
            if index is not None:
                kept.append(number(path, line, rows.header[index], fields[index], 1.0))
    if len(times) < 2:
        raise TrafficError(f"{path}: {len(times)} rows; at least two are needed to know the length of a bin")
    return _table(path, np.asarray(times), np.asarray(values), value_name, lengths)


def _columns(path: Path, header: tuple[str, ...]) -> tuple[str, str]:
    times = [name for name in header if name.lower() in UNIT_S or name.lower() == "timestamp"]
    values = [name for name in header if _kind(name) is not None]
    if len(times) != 1 or len(values) != 1:
        raise TrafficError(
            f"{path}:1: the header is {', '.join(header)}; one time column is needed ({', '.join(sorted(UNIT_S))} or "
            "timestamp) and one value column (requests, count, value, req_per_min, …_rps, …per_s, tokens_per_s)"
        )
    return times[0], values[0]


def _kind(name: str) -> str | None:
    low = name.lower()
    if low in ("requests", "count", "value", "requests_per_bin"):
        return "bin"
    if low.endswith("per_min"):
        return "minute"
    if low.endswith(("_rps", "per_s", "per_second")) or low == "rps":
        return "second"
    return None


def _table(path: Path, times: NDArray[np.float64], values: NDArray[np.float64], name: str,
           lengths: tuple[list[float], list[float]]) -> RateTable:  # fmt: skip
    bin_s = float(np.median(np.diff(times)))
    if bin_s <= 0:
        raise TrafficError(f"{path}: the median step between rows is {bin_s:g} s; rows must be apart in time")
    per_s = values / {"bin": bin_s, "minute": 60.0, "second": 1.0}[_kind(name) or "bin"]
    place = np.round((times - times[0]) / bin_s).astype(int)
    grid = np.zeros(place[-1] + 1)
    grid[place] = per_s
    means = [np.asarray(kept)[np.searchsorted(place, np.arange(len(grid)), "right") - 1] if kept else None for kept in lengths]
    what = "tokens" if "token" in name.lower() else "requests"
    return RateTable(path.name, bin_s, grid, what, float(times[0]), means[0], means[1])


def generated(spec: str) -> RateTable:
    """A rate by formula: ``poisson:rate=20/s,duration=10m`` and the like (``GENERATORS`` lists the forms).

    Raises:
        TrafficError: the form or one of its values is unknown or missing.
    """
    kind, _, rest = spec.partition(":")
    given = dict(part.partition("=")[::2] for part in rest.split(",") if part)
    needs = GENERATORS.get(kind)
    if needs is None or set(given) != set(needs):
        forms = "; ".join(f"{k}:{','.join(f'{n}=…' for n in v)}" for k, v in GENERATORS.items())
        raise TrafficError(f"{spec!r} is no generator; write one of: {forms}")
    values: dict[str, float] = {}
    for name, text in given.items():
        try:
            values[name] = needs[name](text)
        except ValueError as problem:
            raise TrafficError(f"{spec!r}: {name}: {problem}") from None
    t = np.arange(0.0, values["duration"]) + 0.5
    if kind == "poisson":
        per_s = np.full(len(t), values["rate"])
    elif kind == "sine":
        per_s = values["mean"] * (1.0 + values["amplitude"] * np.sin(2 * np.pi * t / values["period"]))
    elif kind == "step":
        per_s = np.where(t < values["at"], values["low"], values["high"])
    else:
        inside = (t >= values["at"]) & (t < values["at"] + values["length"])
        per_s = np.where(inside, values["peak"], values["base"])
    return RateTable(spec, 1.0, np.maximum(0.0, per_s))


GENERATORS = {
    "poisson": {"rate": rate_per_s, "duration": duration_s},
    "sine": {"mean": rate_per_s, "amplitude": float, "period": duration_s, "duration": duration_s},
    "step": {"low": rate_per_s, "high": rate_per_s, "at": duration_s, "duration": duration_s},
    "spike": {"base": rate_per_s, "peak": rate_per_s, "at": duration_s, "length": duration_s, "duration": duration_s},
}


def arrivals(per_s: NDArray[np.float64], bin_s: float, dispersion: float | None, seed: int) -> NDArray[np.float64]:
    """Arrival times of a rate that is constant within bins, ascending, in seconds.

    Each second is Poisson around its rate, times a Gamma factor of shape ``dispersion`` and mean 1 (smaller is
    burstier, ``None`` is plain Poisson); inside a second arrivals are uniform.
    """
    rng = np.random.default_rng((seed, 1))
    seconds = np.arange(int(np.ceil(len(per_s) * bin_s)))
    rate = per_s[np.minimum((seconds / bin_s).astype(int), len(per_s) - 1)]
    factor = np.random.default_rng((seed, 2)).gamma(dispersion, 1.0 / dispersion, len(rate)) if dispersion else 1.0
    counts = rng.poisson(rate * factor)
    times = np.repeat(seconds.astype(np.float64), counts)
    times += np.random.default_rng((seed, 3)).random(len(times))
    times.sort()
    return times[times < len(per_s) * bin_s]
