"""From what a user names to the requests of one run.

| traffic | ``scale`` | ``dispersion`` | lengths |
|---|---|---|---|
| ``rates``, generators, ServeGen totals | multiplies the rates | yes | given, their own, or the shipped sample |
| ``servegen`` clients | multiplies the rates | no: they have their own | given, or the totals table beside |
| ``azure``, ``burstgpt``, ``mooncake`` | thins, or adds jittered copies | no: recorded | their own |

Lengths are given as a sample (``lengths``) or as means (``isl`` and ``osl``).
What was detected or assumed on the way is in ``Traffic.notes``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from planner.simulation.traffic.arrivals import RateCurve, Requests, Window, draw
from planner.simulation.traffic.errors import TrafficError
from planner.simulation.traffic.generators import Generated, generate, is_generator
from planner.simulation.traffic.lengths import LengthModel, LengthSample, around, from_spec, is_length_spec
from planner.simulation.traffic.rates import read_rates
from planner.simulation.traffic.recorded import Recorded, read_azure, read_burstgpt, read_mooncake
from planner.simulation.traffic.servegen import Totals, draw_clients, read_clients, read_totals, totals_beside
from planner.simulation.traffic.sources import FORMATS, bare_name, detect, has_totals_only, locate
from planner.simulation.traffic.transform import transformed
from planner.simulation.traffic.types import Traffic
from planner.units import show_duration

DEFAULT_LENGTHS = "azure2023_conv"
"""Shipped sample that stands in where nobody says how long requests are."""

RECORDED: dict[str, Callable[[Path], Recorded]] = {
    "azure": read_azure,
    "burstgpt": read_burstgpt,
    "mooncake": read_mooncake,
}


@dataclass(frozen=True, slots=True)
class TrafficSpec:
    """What to load, and what to do to it."""

    source: str | Path  # a file, a folder of ServeGen chunks, the name of shipped traffic, or a generator
    format: str | None = None  # None: found out from the content
    lengths: str | Path | None = None  # a trace to draw lengths from, fixed:isl=…,osl=…, or lognormal:…
    scale: float = 1.0
    from_s: float | None = None  # on the trace's clock, which starts at its first row
    to_s: float | None = None
    dispersion: float | None = None  # shape of the Gamma factor per second; None: Poisson
    isl: float | None = None  # mean input tokens, log-normal
    osl: float | None = None  # mean output tokens, log-normal
    seed: int = 1


def load(spec: TrafficSpec) -> Traffic:
    """The traffic of a specification; the same specification gives the same traffic.

    Raises:
        TrafficError: an option out of range or of no use here, a file that cannot be read or is not
            what it should be, a window without requests.
    """
    _check(spec)
    if isinstance(spec.source, str) and is_generator(spec.source):
        return _generated(spec, spec.source)
    path = locate(spec.source)
    found = spec.format or detect(path)
    notes = () if spec.format else (f"{path.name}: read as {found}",)
    if found in RECORDED:
        return _recorded(spec, path, RECORDED[found], notes)
    if found == "rates":
        return _rates(spec, path, notes)
    return _totals(spec, path, notes) if has_totals_only(path) else _clients(spec, path, notes)


def _check(spec: TrafficSpec) -> None:
    if spec.format is not None and spec.format not in FORMATS:
        raise TrafficError(f"format is {spec.format!r}; known are {', '.join(FORMATS)}")
    if not 0 < spec.scale < math.inf:
        raise TrafficError(f"scale is {spec.scale:g}; it must be a number above 0")
    if spec.dispersion is not None and not 0 < spec.dispersion < math.inf:
        raise TrafficError(f"dispersion is {spec.dispersion:g}; a Gamma shape is a number above 0, smaller is burstier")
    if spec.seed < 0:
        raise TrafficError(f"seed is {spec.seed}; it must be a whole number from 0")
    if (spec.isl is None) != (spec.osl is None):
        missing = "osl" if spec.osl is None else "isl"
        raise TrafficError(f"mean lengths come in pairs: {missing} is missing")
    if spec.isl is not None and spec.lengths is not None:
        raise TrafficError("lengths and isl/osl contradict each other: give a sample or means, not both")
    if not _window_makes_sense(spec):
        raise TrafficError(
            f"the window runs {_window_words(spec)}: it must start at 0 or later and end after its start"
        )


def _window_makes_sense(spec: TrafficSpec) -> bool:
    start = spec.from_s or 0.0
    return 0 <= start < (math.inf if spec.to_s is None else spec.to_s) and not math.isinf(start)


def _window_words(spec: TrafficSpec) -> str:
    start = show_duration(spec.from_s or 0.0)
    return f"from {start} to {'the end' if spec.to_s is None else show_duration(spec.to_s)}"


def _window(spec: TrafficSpec, end_s: float, notes: tuple[str, ...]) -> tuple[Window, tuple[str, ...]]:
    """The asked window within a trace that ends at ``end_s``, and what to say about it."""
    start = spec.from_s or 0.0
    if start >= end_s:
        raise TrafficError(
            f"the window runs {_window_words(spec)}, but {spec.source} ends after {show_duration(end_s)}"
        )
    if spec.to_s is None or spec.to_s <= end_s:
        return Window(start, end_s if spec.to_s is None else spec.to_s), notes
    short = f"the window ends at {show_duration(spec.to_s)}, the traffic at {show_duration(end_s)}: cut there"
    return Window(start, end_s), (*notes, short)


def _recorded(spec: TrafficSpec, path: Path, read: Callable[[Path], Recorded], notes: tuple[str, ...]) -> Traffic:
    if spec.dispersion is not None:
        raise TrafficError(
            f"dispersion is for rates and generators; {path.name} is recorded and has its own burstiness"
        )
    if spec.lengths is not None or spec.isl is not None:
        raise TrafficError(f"{path.name} is recorded with its own lengths: leave out lengths, isl and osl")
    trace = read(path)
    end_s = math.floor(trace.at_s[-1]) + 1.0  # whole seconds, the last request inside
    window, notes = _window(spec, end_s, (*notes, *trace.notes))
    kept = transformed(trace, spec.scale, window, spec.seed)
    requests = Requests(kept.at_s, kept.input_tokens, kept.output_tokens)
    return _traffic(spec, path, requests, window, trace.epoch_s, notes, kept)


def _rates(spec: TrafficSpec, path: Path, notes: tuple[str, ...]) -> Traffic:
    table = read_rates(path)
    lengths, said = _lengths(spec, None)
    curve = table.of_requests(lengths.mean_tokens())
    return _drawn(spec, path, curve, lengths, table.epoch_s, (*notes, *table.notes, *said))


def _totals(spec: TrafficSpec, path: Path, notes: tuple[str, ...]) -> Traffic:
    table: Totals = read_totals(path)
    lengths, said = _lengths(spec, table.lengths)
    return _drawn(spec, path, table.curve, lengths, table.epoch_s, (*notes, *said))


def _generated(spec: TrafficSpec, text: str) -> Traffic:
    if spec.format is not None:
        raise TrafficError(f"format is {spec.format!r}, but {text!r} is a generator, not a file")
    made: Generated = generate(text)
    if made.lengths is not None and (spec.lengths is not None or spec.isl is not None):
        raise TrafficError(f"{text!r} gives its own lengths: leave out lengths, isl and osl")
    lengths, said = _lengths(spec, made.lengths)
    return _drawn(spec, Path(text.partition(":")[0]), made.curve, lengths, 0.0, said)


def _drawn(
    spec: TrafficSpec, path: Path, curve: RateCurve, lengths: LengthModel, epoch_s: float, notes: tuple[str, ...]
) -> Traffic:
    window, notes = _window(spec, curve.end_s, notes)
    requests = draw(curve.scaled(spec.scale), lengths, window, spec.dispersion, spec.seed)
    return _traffic(spec, path, requests, window, epoch_s, notes)


def _clients(spec: TrafficSpec, path: Path, notes: tuple[str, ...]) -> Traffic:
    if spec.dispersion is not None:
        raise TrafficError(
            f"dispersion is for rates and generators; the clients of {path.name} have their own burstiness"
        )
    clients = read_clients(path)
    beside = totals_beside(path)
    own = read_totals(beside) if beside and spec.lengths is None and spec.isl is None else None
    lengths, said = _lengths(spec, own.lengths if own else None)
    if own and beside:
        said = (f"lengths: log-normal around the means of {beside.name}",)
    window, notes = _window(spec, clients.end_s, (*notes, *said))
    requests = draw_clients(clients, lengths, window, spec.scale, spec.seed)
    return _traffic(spec, path, requests, window, clients.epoch_s, notes)


def _lengths(spec: TrafficSpec, own: LengthModel | None) -> tuple[LengthModel, tuple[str, ...]]:
    """The lengths that were asked for, the traffic's own, or the stand-in; and what to say about it."""
    if spec.isl is not None and spec.osl is not None:
        return around(spec.isl, spec.osl), ()
    if spec.lengths is None and own is not None:
        return own, ()
    if isinstance(spec.lengths, str) and is_length_spec(spec.lengths):
        return from_spec(spec.lengths), ()
    path = locate(spec.lengths or DEFAULT_LENGTHS)
    said = () if spec.lengths else (f"lengths: none were given, drawn from the shipped sample {DEFAULT_LENGTHS}",)
    return read_lengths(path), said


def read_lengths(path: Path) -> LengthModel:
    """A recorded trace as a sample of lengths, or a ServeGen totals table as means over time.

    Raises:
        TrafficError: the file is something else, or cannot be read.
    """
    found = detect(path)
    if found in RECORDED:
        trace = RECORDED[found](path)
        return LengthSample(trace.input_tokens, trace.output_tokens)
    if found == "servegen" and has_totals_only(path):
        return read_totals(path).lengths
    raise TrafficError(f"{path} holds {found}, which say nothing of lengths: name an azure, burstgpt or mooncake trace")


def _traffic(
    spec: TrafficSpec,
    path: Path,
    requests: Requests,
    window: Window,
    epoch_s: float,
    notes: tuple[str, ...],
    blocks: Recorded | None = None,
) -> Traffic:
    if not len(requests.at_s):
        raise TrafficError(
            f"{spec.source} has no requests {_window_words(spec)} at scale {spec.scale:g}: choose a longer window"
        )
    return Traffic(
        name=bare_name(path),
        arrivals_s=requests.at_s - window.from_s,
        input_tokens=requests.input_tokens,
        output_tokens=requests.output_tokens,
        duration_s=float(window.to_s - window.from_s),
        epoch_s=float(epoch_s + window.from_s),
        block_ids=blocks.block_ids if blocks else None,
        block_starts=blocks.block_starts if blocks else None,
        block_tokens=blocks.block_tokens if blocks else 512,
        notes=notes,
    )
