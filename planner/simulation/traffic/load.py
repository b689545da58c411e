"""From what the user names to one stretch of traffic: format, window, scale, lengths."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from planner import resources
from planner.simulation.traffic import clients, rates, recorded
from planner.simulation.traffic.files import TrafficError, opened, table
from planner.simulation.traffic.types import Traffic

FORMATS = ("azure", "mooncake", "burstgpt", "servegen", "rates")
RECORDED = {"azure": recorded.azure, "burstgpt": recorded.burstgpt, "mooncake": recorded.mooncake}
LENGTH_SPREAD = 0.8
"""σ of the logarithm of lengths drawn around a mean: a coefficient of variation of 0.95, as in chat traffic."""
JITTER_S = 10.0
"""Copies of a recorded request are moved by up to this: further than bursts, nearer than the day's shape."""


@dataclass(frozen=True, slots=True)
class TrafficSpec:
    """Which traffic, which part of it, how much of it, how long its requests are."""

    source: str  # file, shipped file's name, or a generator like "poisson:rate=20/s,duration=10m"
    format: str | None = None  # None: found out from the content
    lengths: str | None = None  # recorded trace whose (ISL, OSL) pairs are drawn
    scale: float = 1.0
    from_s: float = 0.0
    to_s: float | None = None
    dispersion: float | None = None  # shape of a Gamma factor per second
    isl: float | None = None  # mean tokens, when there is no length sample
    osl: float | None = None
    seed: int = 1


def load(spec: TrafficSpec) -> Traffic:
    """The traffic ``spec`` names.

    Raises:
        TrafficError: it cannot be read or makes no sense; names the place, the value and what would be right.
    """
    _check(spec)
    if spec.source.partition(":")[0] in rates.GENERATORS and ":" in spec.source:
        return _from_rates(spec, rates.generated(spec.source))
    path = _find(spec.source)
    form = spec.format or detect(path)
    if form in RECORDED:
        if spec.dispersion is not None:
            raise TrafficError(f"dispersion ({spec.dispersion:g}) is for rates and generators; {path.name} is recorded")
        return _scaled(_cut(RECORDED[form](path), spec), spec)
    if form == "servegen":
        return _from_clients(spec, path)
    return _from_rates(spec, rates.read(path))


def detect(path: Path) -> str:
    """The format of a trace file, from its first line.

    Raises:
        TrafficError: it is none of those known.
    """
    with opened(path) as text:
        first = text.readline()
    if not first.strip():
        raise TrafficError(f"{path}: the file is empty; at least one request is needed")
    if first.lstrip().startswith("{"):
        return "mooncake"
    header = {name.strip().lower() for name in first.split(",")}
    if {"timestamp", "contexttokens", "generatedtokens"} <= header:
        return "azure"
    if {"timestamp", "request tokens", "response tokens"} <= header:
        return "burstgpt"
    if {"client", "t_sec", "rate_rps"} <= header:
        return "servegen"
    return "rates"


def _check(spec: TrafficSpec) -> None:
    problems = []
    if not spec.scale > 0:
        problems.append(f"scale ({spec.scale:g}) must be above 0")
    if spec.dispersion is not None and not spec.dispersion > 0:
        problems.append(f"dispersion ({spec.dispersion:g}) must be above 0: it is the shape of a Gamma factor")
    if spec.from_s < 0 or (spec.to_s is not None and spec.to_s <= spec.from_s):
        problems.append(f"the window from {spec.from_s:g} s to {spec.to_s} s is empty")
    if spec.format is not None and spec.format not in FORMATS:
        problems.append(f"format {spec.format!r} is none of {', '.join(FORMATS)}")
    if problems:
        raise TrafficError("; ".join(problems))


def _find(source: str) -> Path:
    if Path(source).exists():
        return Path(source)
    try:
        return resources.path("traffic", source)
    except FileNotFoundError:
        shipped = ", ".join(resources.names("traffic"))
        raise TrafficError(
            f"traffic {source!r} is no file, no shipped trace ({shipped}) and no generator "
            f"({', '.join(rates.GENERATORS)})"
        ) from None


def _from_rates(spec: TrafficSpec, known: rates.RateTable) -> Traffic:
    if spec.from_s >= known.duration_s:
        raise TrafficError(f"the window starts at {spec.from_s:g} s, the traffic ends at {known.duration_s:g} s")
    part = known.window(spec.from_s, spec.to_s)
    sample = _sample(spec)
    per_s = part.per_s * spec.scale
    if part.what == "tokens":
        per_s = per_s / _mean_tokens(spec, sample, part)
    times = rates.arrivals(per_s, part.bin_s, spec.dispersion, spec.seed)
    bins = np.minimum((times / part.bin_s).astype(np.int64), len(part.per_s) - 1)
    isl, osl = _lengths(spec, sample, len(times), part.input_mean, part.output_mean, bins)
    if len(times) == 0:
        raise TrafficError(f"{known.name}: no request in the window; at least one is needed")
    return Traffic(known.name, times, isl, osl, part.duration_s, part.epoch_s)


def _from_clients(spec: TrafficSpec, path: Path) -> Traffic:
    if spec.dispersion is not None:
        raise TrafficError("dispersion is for rates and generators; a client table has its own burstiness")
    times, duration = clients.read(path, spec.from_s, spec.to_s, spec.scale, spec.seed)
    totals = path.with_name(path.name.replace("_clients_", "_total_"))
    known = rates.read(totals).window(spec.from_s, spec.to_s) if totals != path and totals.exists() else None
    bins = np.minimum((times / (known.bin_s if known else 600.0)).astype(np.int64), len(known.per_s) - 1 if known else 0)
    means = (known.input_mean, known.output_mean) if known else (None, None)
    isl, osl = _lengths(spec, _sample(spec), len(times), *means, bins)
    return Traffic(path.name, times, isl, osl, duration, spec.from_s)


def _sample(spec: TrafficSpec) -> tuple[NDArray[np.int32], NDArray[np.int32]] | None:
    if spec.lengths is None:
        return None
    path = _find(spec.lengths)
    form = detect(path)
    if form not in RECORDED:
        raise TrafficError(f"{path}: lengths are taken from recorded requests ({', '.join(RECORDED)}), not from {form}")
    trace = RECORDED[form](path)
    return trace.input_tokens, trace.output_tokens


def _mean_tokens(spec: TrafficSpec, sample: tuple[NDArray[np.int32], NDArray[np.int32]] | None, part: rates.RateTable) -> float:
    if sample is not None:
        return float(sample[0].mean() + sample[1].mean())
    if spec.isl is not None and spec.osl is not None:
        return spec.isl + spec.osl
    raise TrafficError(f"{part.name} counts tokens: say how long requests are, with lengths FILE or isl and osl")


def _lengths(
    spec: TrafficSpec,
    sample: tuple[NDArray[np.int32], NDArray[np.int32]] | None,
    count: int,
    input_mean: NDArray[np.float64] | None,
    output_mean: NDArray[np.float64] | None,
    bins: NDArray[np.int64],
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Lengths of ``count`` requests: pairs of a sample, or log-normal around the means."""
    if sample is not None:
        chosen = np.random.default_rng((spec.seed, 4)).integers(0, len(sample[0]), count, dtype=np.int32)
        return sample[0][chosen], sample[1][chosen]
    drawn = []
    for k, (name, mean, table_mean) in enumerate((("isl", spec.isl, input_mean), ("osl", spec.osl, output_mean))):
        if mean is None and table_mean is None:
            raise TrafficError(f"how long are requests? give lengths FILE, or a mean for {name} (tokens)")
        around = float(mean) if mean is not None else table_mean[bins]  # type: ignore[index]
        normal = np.random.default_rng((spec.seed, 5 + k)).standard_normal(count, dtype=np.float32)
        tokens = around * np.exp(LENGTH_SPREAD * normal - 0.5 * LENGTH_SPREAD**2)
        drawn.append(np.maximum(1, np.rint(tokens)).astype(np.int32))
    return drawn[0], drawn[1]


def _cut(traffic: Traffic, spec: TrafficSpec) -> Traffic:
    """The part of a recorded trace between two moments."""
    if spec.from_s == 0.0 and spec.to_s is None:
        return traffic
    end = traffic.duration_s if spec.to_s is None else min(spec.to_s, traffic.duration_s)
    first, last = np.searchsorted(traffic.arrivals_s, [spec.from_s, end])
    if first == last:
        raise TrafficError(f"{traffic.name}: no request between {spec.from_s:g} s and {end:g} s")
    kept = _chosen(traffic, np.arange(first, last))
    return replace(
        kept, arrivals_s=kept.arrivals_s - spec.from_s, duration_s=end - spec.from_s, epoch_s=traffic.epoch_s + spec.from_s
    )


def _scaled(traffic: Traffic, spec: TrafficSpec) -> Traffic:
    """Thinned below 1; above 1 with jittered copies whose prefixes nobody else shares."""
    if spec.scale == 1.0:
        return traffic
    whole, part = int(spec.scale), spec.scale - int(spec.scale)
    rng = np.random.default_rng((spec.seed, 8))
    copies = [traffic] if whole else []
    copies += [_copy(traffic, k, rng) for k in range(1, whole)]
    if part > 0:
        picked = np.nonzero(rng.random(traffic.requests) < part)[0]
        copies.append(_copy(_chosen(traffic, picked), whole, rng) if whole else _chosen(traffic, picked))
    return _merged(traffic, copies)


def _copy(traffic: Traffic, number: int, rng: np.random.Generator) -> Traffic:
    moved = traffic.arrivals_s + rng.uniform(-0.5 * JITTER_S, 0.5 * JITTER_S, traffic.requests)
    times = np.clip(moved, 0.0, np.nextafter(traffic.duration_s, 0.0))
    order = np.argsort(times, kind="stable")
    mixed = _chosen(replace(traffic, arrivals_s=times), order)
    if mixed.block_ids is None:
        return mixed
    fresh = number * (int(mixed.block_ids.max(initial=0)) + 1)
    return replace(mixed, block_ids=mixed.block_ids + np.int32(fresh))


def _merged(traffic: Traffic, copies: list[Traffic]) -> Traffic:
    if not copies or sum(copy.requests for copy in copies) == 0:
        raise TrafficError(f"{traffic.name}: scale leaves no request")
    times = np.concatenate([copy.arrivals_s for copy in copies])
    joined = replace(
        traffic,
        arrivals_s=times,
        input_tokens=np.concatenate([copy.input_tokens for copy in copies]),
        output_tokens=np.concatenate([copy.output_tokens for copy in copies]),
        block_ids=None if traffic.block_ids is None else np.concatenate([c.block_ids for c in copies if c.block_ids is not None]),
        block_starts=None if traffic.block_starts is None else _joined_starts(copies),
    )
    return _chosen(joined, np.argsort(times, kind="stable"))


def _joined_starts(copies: list[Traffic]) -> NDArray[np.int64]:
    counts = [np.diff(copy.block_starts) for copy in copies if copy.block_starts is not None]
    return np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)


def _chosen(traffic: Traffic, index: NDArray[np.int64]) -> Traffic:
    """The requests at ``index``, in that order, with their blocks."""
    ids = starts = None
    if traffic.block_ids is not None and traffic.block_starts is not None:
        counts = np.diff(traffic.block_starts)[index]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        offsets = np.arange(starts[-1]) - np.repeat(starts[:-1], counts)
        ids = traffic.block_ids[np.repeat(traffic.block_starts[:-1][index], counts) + offsets]
    return replace(
        traffic,
        arrivals_s=traffic.arrivals_s[index],
        input_tokens=traffic.input_tokens[index],
        output_tokens=traffic.output_tokens[index],
        block_ids=ids,
        block_starts=starts,
    )


__all__ = ["FORMATS", "TrafficError", "TrafficSpec", "detect", "load", "table"]
