"""Profiles on disk: our versioned JSON, and Dynamo's npz pair and ConfigMap JSON, read and written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from planner import resources
from planner.core.profiles import DecodePoint, PrefillPoint, Profile, Provenance

SCHEMA = "sla-planner/profile.v1"
_TOP = {"schema", "name", "provenance", "gpus_per_replica", "max_kv_tokens", "prefill", "decode"}
_PREFILL = ("isl", "ttft_s", "tokens_per_s_per_gpu")
_DECODE = ("kv_usage", "context_tokens", "itl_s", "tokens_per_s_per_gpu")
_DYNAMO_PREFILL = ("prefill_isl", "prefill_ttft", "prefill_thpt_per_gpu")
_DYNAMO_DECODE = ("x_kv_usage", "y_context_length", "z_itl", "z_thpt_per_gpu")
LEAST_PREFILL, LEAST_DECODE = 2, 4


class ProfileError(ValueError):
    """A profile that cannot be used; the message lists every problem found."""


def load(name_or_path: str | Path) -> Profile:
    """A shipped profile by name, or one from a JSON file, an npz directory or a ConfigMap file.

    Raises:
        ProfileError: it does not exist, or cannot be used; all problems at once.
    """
    path = Path(name_or_path)
    if not path.exists():
        try:
            path = resources.path("profiles", f"{name_or_path}.json")
        except FileNotFoundError:
            shipped = ", ".join(n.removesuffix(".json") for n in resources.names("profiles") if n.endswith(".json"))
            raise ProfileError(f"no profile file or shipped profile {str(name_or_path)!r}; shipped: {shipped}") from None
    if path.is_dir():
        return _from_dynamo(_npz(path), path.name)
    text = path.read_text()
    data = yaml.safe_load(text) if path.suffix in (".yaml", ".yml") else _json(text, path)
    if isinstance(data, Mapping) and data.get("kind") == "ConfigMap":
        return _from_dynamo(_config_map(data, path), str(data.get("metadata", {}).get("name", path.stem)))
    return from_json(data, str(path))


def from_json(data: Any, where: str = "profile") -> Profile:
    """A profile from its JSON object.

    Raises:
        ProfileError: all problems at once.
    """
    if not isinstance(data, Mapping):
        raise ProfileError(f"{where}: expected an object with schema {SCHEMA!r}")
    if data.get("schema") != SCHEMA:
        raise ProfileError(f"{where}: schema is {data.get('schema')!r}; this version reads {SCHEMA!r}")
    problems = [f"unknown key {key!r}; known are {', '.join(sorted(_TOP))}" for key in data if key not in _TOP]
    problems += [f"missing key {key!r}" for key in sorted(_TOP - {"schema"}) if key not in data]
    if problems:
        raise ProfileError(_listed(where, problems))
    prefill = _rows(data["prefill"], _PREFILL, "prefill", problems)
    decode = _rows(data["decode"], _DECODE, "decode", problems)
    provenance = data["provenance"] if isinstance(data["provenance"], Mapping) else {}
    known = set(Provenance.__dataclass_fields__)
    problems += [f"provenance: unknown key {key!r}" for key in provenance if key not in known]
    problems += [f"provenance: missing {key!r}" for key in ("model", "gpu", "engine") if key not in provenance]
    gpus, kv = data["gpus_per_replica"], data["max_kv_tokens"]
    if not isinstance(gpus, int) or gpus < 1:
        problems.append(f"gpus_per_replica is {gpus!r}; it must be a whole number of at least 1")
    if not isinstance(kv, int | float) or not kv > 0:
        problems.append(f"max_kv_tokens is {kv!r}; it must be above 0")
    problems += _doubts(prefill, decode)
    if problems:
        raise ProfileError(_listed(where, problems))
    return Profile(
        name=str(data["name"]),
        provenance=Provenance(**provenance),
        gpus_per_replica=gpus,
        prefill_points=tuple(PrefillPoint(*row) for row in prefill),
        decode_points=tuple(DecodePoint(*row) for row in decode),
        max_kv_tokens=float(kv),
    )


def to_json(profile: Profile) -> dict[str, Any]:
    """The profile as its JSON object; ``from_json`` reads it back unchanged."""
    return {
        "schema": SCHEMA,
        "name": profile.name,
        "provenance": {key: getattr(profile.provenance, key) for key in Provenance.__dataclass_fields__},
        "gpus_per_replica": profile.gpus_per_replica,
        "max_kv_tokens": profile.max_kv_tokens,
        "prefill": [{key: getattr(p, key) for key in _PREFILL} for p in profile.prefill_points],
        "decode": [{key: getattr(p, key) for key in _DECODE} for p in profile.decode_points],
    }


def to_dynamo(profile: Profile) -> dict[str, list[float]]:
    """The arrays of Dynamo's profiling results: milliseconds, tokens per second and GPU."""
    return {
        "prefill_isl": [p.isl for p in profile.prefill_points],
        "prefill_ttft": [p.ttft_s * 1e3 for p in profile.prefill_points],
        "prefill_thpt_per_gpu": [p.tokens_per_s_per_gpu for p in profile.prefill_points],
        "x_kv_usage": [p.kv_usage for p in profile.decode_points],
        "y_context_length": [p.context_tokens for p in profile.decode_points],
        "z_itl": [p.itl_s * 1e3 for p in profile.decode_points],
        "z_thpt_per_gpu": [p.tokens_per_s_per_gpu for p in profile.decode_points],
        "max_kv_tokens": [profile.max_kv_tokens],
    }


def save(profile: Profile, path: Path, form: str = "json") -> None:
    """Write the profile as ``json``, ``npz`` (a directory with Dynamo's two files) or ``configmap``."""
    arrays = to_dynamo(profile)
    if form == "json":
        path.write_text(json.dumps(to_json(profile), indent=1) + "\n")
    elif form == "npz":
        path.mkdir(parents=True, exist_ok=True)
        np.savez(path / "prefill_raw_data.npz", **{k: np.array(arrays[k]) for k in _DYNAMO_PREFILL})
        np.savez(path / "decode_raw_data.npz", **{k: np.array(arrays[k]) for k in (*_DYNAMO_DECODE, "max_kv_tokens")})
    elif form == "configmap":
        parts = {
            "prefill_raw_data.json": {k: arrays[k] for k in _DYNAMO_PREFILL},
            "decode_raw_data.json": {k: arrays[k] for k in (*_DYNAMO_DECODE, "max_kv_tokens")},
        }
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": profile.name},
            "data": {name: json.dumps(part) for name, part in parts.items()},
        }
        path.write_text(yaml.safe_dump(body, sort_keys=False))
    else:
        raise ProfileError(f"form {form!r} is none of json, npz, configmap")


def _from_dynamo(arrays: Mapping[str, Any], name: str) -> Profile:
    problems = [f"missing array {key!r}" for key in (*_DYNAMO_PREFILL, *_DYNAMO_DECODE, "max_kv_tokens") if key not in arrays]
    if problems:
        raise ProfileError(_listed(name, problems))
    isl, ttft, prefill_speed = (np.atleast_1d(np.asarray(arrays[k], float)) for k in _DYNAMO_PREFILL)
    usage, context, itl, decode_speed = (np.atleast_1d(np.asarray(arrays[k], float)) for k in _DYNAMO_DECODE)
    return from_json(
        {
            "schema": SCHEMA,
            "name": name,
            "provenance": {"model": "unknown", "gpu": "unknown", "engine": "unknown", "source": "Dynamo profiling results"},
            "gpus_per_replica": 1,
            "max_kv_tokens": float(np.ravel(arrays["max_kv_tokens"])[0]),
            "prefill": [dict(zip(_PREFILL, (float(x) for x in row), strict=True)) for row in zip(isl, ttft / 1e3, prefill_speed, strict=True)],
            "decode": [dict(zip(_DECODE, (float(x) for x in row), strict=True)) for row in zip(usage, context, itl / 1e3, decode_speed, strict=True)],
        },
        name,
    )  # fmt: skip


def _npz(directory: Path) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for name in ("prefill_raw_data.npz", "decode_raw_data.npz"):
        found = [p for p in (directory / name, directory / name.split("_")[0] / name) if p.exists()]
        found += sorted(directory.glob(f"*{name.split('_')[0]}*/raw_data.npz"))
        if not found:
            raise ProfileError(f"{directory}: no {name} in it")
        with np.load(found[0]) as data:
            arrays.update({key: data[key] for key in data})
    return arrays


def _config_map(data: Mapping[str, Any], path: Path) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for key, text in (data.get("data") or {}).items():
        if key.endswith("_raw_data.json"):
            arrays.update(_json(text, path))
    return arrays


def _json(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as problem:
        raise ProfileError(f"{path}:{problem.lineno}: not JSON: {problem.msg}") from None


def _rows(data: Any, keys: tuple[str, ...], what: str, problems: list[str]) -> list[tuple[float, ...]]:
    rows = []
    for i, row in enumerate(data if isinstance(data, list) else []):
        odd = [key for key in row if key not in keys]
        if odd:
            problems.append(f"{what}[{i}]: unknown key {odd[0]!r}; known are {', '.join(keys)}")
        values = [row.get(key) for key in keys]
        for key, value in zip(keys, values, strict=True):
            if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
                problems.append(f"{what}[{i}].{key} is {value!r}; it must be a number of at least 0")
        if all(isinstance(v, int | float) and math.isfinite(v) for v in values):
            rows.append(tuple(float(v) for v in values))  # type: ignore[arg-type]
    return rows


def _doubts(prefill: list[tuple[float, ...]], decode: list[tuple[float, ...]]) -> list[str]:
    """What is wrong with numbers that are well-formed."""
    problems = []
    if len(prefill) < LEAST_PREFILL:
        problems.append(f"prefill has {len(prefill)} points; at least {LEAST_PREFILL} prompt lengths are needed")
    if len(decode) < LEAST_DECODE:
        problems.append(f"decode has {len(decode)} points; at least {LEAST_DECODE} are needed")
    lengths = [row[0] for row in prefill]
    problems += [f"prefill: ISL {isl:g} is there twice" for isl in sorted({x for x in lengths if lengths.count(x) > 1})]
    if prefill and sorted(row[1] for row in prefill)[0] > 5.0:
        problems.append(f"prefill.ttft_s starts at {min(r[1] for r in prefill):g}: seconds are expected, this looks like ms")
    if decode and sorted(row[2] for row in decode)[0] > 1.0:
        problems.append(f"decode.itl_s starts at {min(r[2] for r in decode):g}: seconds are expected, this looks like ms")
    if any(row[0] > 1.5 for row in decode):
        problems.append(f"decode.kv_usage reaches {max(r[0] for r in decode):g}: a share from 0 to 1 is expected, not percent")
    problems += [f"decode[{i}].context_tokens must be above 0" for i, row in enumerate(decode) if row[1] <= 0]
    return problems


def _listed(where: str, problems: list[str]) -> str:
    return f"{where}: " + "; ".join(problems)
