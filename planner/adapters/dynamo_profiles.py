"""NVIDIA Dynamo's profiling results, read and written: npz files, and JSON texts in a ConfigMap.

Both hold flat arrays, times in milliseconds, throughput per GPU. What they do not hold (model, GPU, engine,
GPUs per replica) is written beside them as ``profile.json``, which Dynamo does not look at.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.adapters.profile_errors import ProfileError
from planner.core.profiles import Profile

SCHEMA = "sla-planner/profile.v1"
PREFILL = ("prefill_isl", "prefill_ttft", "prefill_thpt_per_gpu")
DECODE = ("x_kv_usage", "y_context_length", "z_itl", "z_thpt_per_gpu")
CAPACITY = "max_kv_tokens"
_MILLISECONDS = {"prefill_ttft", "z_itl"}
_POINTS = {"prefill": ("isl", "ttft_s", "tokens_per_s_per_gpu"),
           "decode": ("kv_usage", "context_tokens", "itl_s", "tokens_per_s_per_gpu")}  # fmt: skip
_ORIGIN = "profile.json"
_UNKNOWN = {"model": "unknown", "gpu": "unknown", "engine": "unknown", "source": "profiling results of NVIDIA Dynamo"}

Found = tuple[dict[str, Any], list[str]]
"""A profile's JSON object, and what was wrong with the arrays."""


def from_directory(directory: Path) -> Found:
    """A profile from a directory with the two npz files, or with the two JSON files of a mounted ConfigMap.

    Raises:
        ProfileError: the files are not there or are none.
    """
    arrays: dict[str, Any] = {}
    for part in ("prefill", "decode"):
        arrays.update(_arrays(directory, part))
    origin = directory / _ORIGIN
    return _profile(arrays, directory.name, _json(origin.read_text(), origin) if origin.exists() else {})


def from_config_map(body: Mapping[str, Any], path: Path) -> Found:
    """A profile from a ConfigMap object.

    Raises:
        ProfileError: its data does not hold the two JSON texts.
    """
    texts = body.get("data")
    texts = texts if isinstance(texts, Mapping) else {}
    arrays: dict[str, Any] = {}
    for part in ("prefill", "decode"):
        key = f"{part}_raw_data.json"
        if key not in texts:
            raise ProfileError(
                str(path), [f"the ConfigMap has no {key} in its data; it has {', '.join(texts) or 'nothing'}"]
            )
        arrays.update(_json(texts[key], path, key))
    metadata = body.get("metadata")
    name = metadata.get("name", path.stem) if isinstance(metadata, Mapping) else path.stem
    return _profile(arrays, str(name), _json(texts[_ORIGIN], path, _ORIGIN) if _ORIGIN in texts else {})


def write_directory(profile: Profile, origin: Mapping[str, Any], directory: Path) -> None:
    """The npz pair, under the names of its files and where Dynamo's planner looks for them."""
    for part, keys in (("prefill", PREFILL), ("decode", (*DECODE, CAPACITY))):
        arrays = {key: np.array(values, int if key == CAPACITY else float) for key, values in _columns(profile, keys)}
        selected = directory / f"selected_{part}_interpolation"
        selected.mkdir(parents=True, exist_ok=True)
        np.savez(directory / f"{part}_raw_data.npz", **arrays)  # type: ignore[arg-type]
        np.savez(selected / "raw_data.npz", **arrays)  # type: ignore[arg-type]
    (directory / _ORIGIN).write_text(json.dumps(origin, indent=1) + "\n")


def config_map(profile: Profile, origin: Mapping[str, Any]) -> dict[str, Any]:
    """A ConfigMap object with the texts that Dynamo's planner reads."""
    decode: dict[str, Any] = {**dict(_columns(profile, DECODE)), CAPACITY: int(profile.max_kv_tokens)}
    texts = {
        "prefill_raw_data.json": json.dumps(dict(_columns(profile, PREFILL))),
        "decode_raw_data.json": json.dumps(decode),
        _ORIGIN: json.dumps(origin),
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": profile.name}, "data": texts}


def _columns(profile: Profile, keys: tuple[str, ...]) -> list[tuple[str, list[float]]]:
    """The arrays called ``keys``, in Dynamo's units."""
    fields = dict(zip((*PREFILL, *DECODE), (*_POINTS["prefill"], *_POINTS["decode"]), strict=True))
    columns: list[tuple[str, list[float]]] = []
    for key in keys:
        points = profile.prefill_points if key in PREFILL else profile.decode_points
        scale = 1e3 if key in _MILLISECONDS else 1.0
        values = [profile.max_kv_tokens] if key == CAPACITY else [getattr(p, fields[key]) * scale for p in points]
        columns.append((key, values))
    return columns


def _profile(arrays: Mapping[str, Any], name: str, origin: Any) -> Found:
    problems = [f"missing array {key!r}" for key in (*PREFILL, *DECODE, CAPACITY) if key not in arrays]
    data = {
        "schema": SCHEMA,
        "name": name,
        "provenance": _UNKNOWN,
        "gpus_per_replica": 1,
        **(origin if isinstance(origin, Mapping) else {}),
        "prefill": _rows(arrays, PREFILL, "prefill", problems),
        "decode": _rows(arrays, DECODE, "decode", problems),
    }
    capacity = _numbers(arrays.get(CAPACITY, ()), CAPACITY, problems)
    return {**data, CAPACITY: float(capacity[0]) if capacity.size else None}, problems


def _rows(arrays: Mapping[str, Any], keys: tuple[str, ...], part: str, problems: list[str]) -> list[dict[str, float]]:
    columns = [_numbers(arrays.get(key, ()), key, problems) / (1e3 if key in _MILLISECONDS else 1.0) for key in keys]
    sizes = {key: len(column) for key, column in zip(keys, columns, strict=True) if key in arrays}
    if len(set(sizes.values())) > 1:
        lengths = ", ".join(f"{key} {size}" for key, size in sizes.items())
        problems.append(f"the arrays of {part} differ in length: {lengths}")
    return [dict(zip(_POINTS[part], map(float, row), strict=True)) for row in zip(*columns, strict=False)]


def _numbers(values: Any, key: str, problems: list[str]) -> NDArray[np.float64]:
    try:
        return np.ravel(np.asarray(values, dtype=float))
    except (TypeError, ValueError):
        problems.append(f"array {key!r} does not hold numbers only")
        return np.empty(0)


def _arrays(directory: Path, part: str) -> dict[str, Any]:
    places = (f"{part}_raw_data.npz", f"selected_{part}_interpolation/raw_data.npz", f"{part}_raw_data.json")
    found = next((directory / place for place in places if (directory / place).exists()), None)
    if found is None:
        raise ProfileError(str(directory), [f"the directory holds none of {', '.join(places)}"])
    if found.suffix == ".json":
        data = _json(found.read_text(), found)
        return dict(data) if isinstance(data, Mapping) else {}
    try:
        with found.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as problem:
        raise ProfileError(str(found), [f"not an npz file of numbers: {problem}"]) from None


def _json(text: Any, path: Path, key: str = "") -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, TypeError, RecursionError) as problem:
        where = f"{path} ({key})" if key else str(path)
        raise ProfileError(where, [f"not JSON: {problem}"]) from None
