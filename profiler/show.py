"""A profile and its fits as tables for people and objects for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from planner.core.profiles import Profile, Repair
from planner.units import show_duration
from profiler.fit import Errors, ModelFit, ProfileFit

SHOW_SCHEMA = "sla-planner/profile-summary.v1"
FIT_SCHEMA = "sla-planner/fit.v1"


def summary(profile: Profile) -> dict[str, Any]:
    """What a profile is, where it is valid, and what was repaired."""
    low, high = profile.prefill.isl_range
    near, far = profile.decode.context_range
    return {
        "schema": SHOW_SCHEMA,
        "name": profile.name,
        "provenance": asdict(profile.provenance),
        "gpus_per_replica": {role: profile.gpus(role) for role in ("prefill", "decode")},
        "max_kv_tokens": profile.max_kv_tokens,
        "points": {"prefill": len(profile.prefill_points), "decode": len(profile.decode_points)},
        "range": {"isl": [low, high], "context_tokens": [near, far], "sequences": [1.0, max(profile.decode_sequences)]},
        "repairs": [_repair(r) for r in profile.repairs],
    }


def fit_object(fit: ProfileFit, profile: Profile) -> dict[str, Any]:
    """The fits; relative errors are shares, coefficients in seconds."""
    return {
        "schema": FIT_SCHEMA,
        "profile": fit.profile,
        "prefill": [_model(m) for m in fit.prefill],
        "decode": [_model(m) for m in fit.decode],
        "repairs": [_repair(r) for r in profile.repairs],
    }


def profile_tables(profile: Profile) -> RenderableType:
    """Provenance, range, repairs and every point."""
    return Group(_head(profile), _repairs(profile.repairs), _prefill_points(profile), _decode_points(profile))


def fit_tables(fit: ProfileFit, profile: Profile) -> RenderableType:
    """Provenance, range, repairs and how well each model fits."""
    note = Text(
        "at points: the model is made from all points and read at them. left out: it is read at a point it was made "
        "without; inner leaves away the outermost points, where that is extrapolation.",
        style="dim",
    )
    tables = (_models("prefill: time to first token", fit.prefill), _models("decode: inter-token latency", fit.decode))
    return Group(_head(profile), _repairs(profile.repairs), *tables, note)


def _head(profile: Profile) -> Table:
    origin, (low, high), (near, far) = profile.provenance, profile.prefill.isl_range, profile.decode.context_range
    table = Table(title=profile.name, title_justify="left", title_style="bold", show_header=False, box=None)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    kind = "measured" if origin.measured else "estimated"
    rows = {
        "model": f"{origin.model} {origin.precision}".strip(),
        "GPU": f"{origin.gpu}, {profile.prefill_gpus} per prefill and {profile.decode_gpus} per decode replica",
        "engine": f"{origin.engine} {origin.engine_version}".strip(),
        "parallelism": origin.parallelism,
        "from": f"{kind}{', ' + origin.date if origin.date else ''}; {origin.source or 'source unknown'}",
        "licence": origin.licence,
        "prefill": f"{len(profile.prefill_points)} prompt lengths from {low:,.0f} to {high:,.0f} tokens",
        "decode": f"{len(profile.decode_points)} batches, mean context {near:,.0f} to {far:,.0f} tokens, "
        f"up to {max(profile.decode_sequences):,.0f} sequences",
        "KV cache": f"{profile.max_kv_tokens:,.0f} tokens per decode replica",
    }
    for name, text in rows.items():
        if text:
            table.add_row(name, text)
    return table


def _repairs(repairs: tuple[Repair, ...]) -> RenderableType:
    if not repairs:
        return Text("no point contradicts another: all are read as measured", style="green")
    table = Table(title=f"{len(repairs)} repaired: points that contradict their neighbours", title_justify="left")
    table.add_column("point")
    for name in ("measured", "read", "change"):
        table.add_column(name, justify="right")
    for r in repairs:
        table.add_row(r.what, show_duration(r.before), show_duration(r.after), f"{r.after / r.before - 1:+.1%}")
    return table


def _prefill_points(profile: Profile) -> Table:
    table = Table(title="prefill", title_justify="left")
    for name in ("ISL", "TTFT", "tokens/s per GPU"):
        table.add_column(name, justify="right")
    for p in sorted(profile.prefill_points, key=lambda p: p.isl):
        table.add_row(f"{p.isl:,.0f}", show_duration(p.ttft_s), f"{p.tokens_per_s_per_gpu:,.0f}")
    return table


def _decode_points(profile: Profile) -> Table:
    table = Table(title="decode", title_justify="left")
    for name in ("context", "KV usage", "sequences", "ITL", "tokens/s per GPU"):
        table.add_column(name, justify="right")
    points = zip(profile.decode_points, profile.decode_sequences, strict=True)
    context = None
    for p, n in sorted(points, key=lambda pair: (pair[0].context_tokens, pair[0].kv_usage)):
        if context not in (None, p.context_tokens):
            table.add_section()
        context = p.context_tokens
        row = (f"{p.context_tokens:,.0f}", f"{p.kv_usage:.1%}", f"{n:,.0f}")
        table.add_row(*row, show_duration(p.itl_s), f"{p.tokens_per_s_per_gpu:,.0f}")
    return table


def _models(title: str, models: tuple[ModelFit, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("model")
    for name in ("at points", "left out", "inner", "largest"):
        table.add_column(name, justify="right")
    table.add_column("at")
    for m in models:
        means = [f"{errors.mean:.1%}" for errors in (m.at_points, m.left_out, m.inner)]
        table.add_row(m.model, *means, f"{m.left_out.largest:.0%}", m.left_out.where)
    return table


def _model(model: ModelFit) -> dict[str, Any]:
    errors = {"at_points": model.at_points, "left_out": model.left_out, "left_out_inner": model.inner}
    coefficients = {"coefficients": dict(model.coefficients)} if model.coefficients else {}
    return {"model": model.model, **{name: _shares(e) for name, e in errors.items()}, **coefficients}


def _shares(errors: Errors) -> dict[str, Any]:
    return {"mean": errors.mean, "largest": errors.largest, "where": errors.where}


def _repair(repair: Repair) -> dict[str, Any]:
    return {"what": repair.what, "measured_seconds": repair.before, "read_seconds": repair.after}
