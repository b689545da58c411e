"""Profiles on disk: our versioned JSON; Dynamo's npz pair and ConfigMap by way of ``dynamo_profiles``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from planner import resources
from planner.adapters import dynamo_profiles as dynamo
from planner.adapters.profile_checks import doubts, is_number, rows
from planner.adapters.profile_errors import ProfileError
from planner.core.profiles import DecodePoint, PrefillPoint, Profile, Provenance

__all__ = ["FORMS", "SCHEMA", "ProfileError", "from_json", "load", "save", "to_json"]

SCHEMA = "sla-planner/profile.v1"
FORMS = ("json", "npz", "configmap")
"""What ``save`` writes."""
_KEYS = ("schema", "name", "provenance", "gpus_per_replica", "max_kv_tokens", "prefill", "decode")
_NEEDED = ("model", "gpu", "engine")
_GPUS = ("prefill", "decode")


def load(name_or_path: str | Path) -> Profile:
    """A shipped profile by name; or one from a JSON file, a directory of Dynamo's results or a ConfigMap file.

    Raises:
        ProfileError: it does not exist or cannot be used; all problems at once.
    """
    path = _found(name_or_path)
    if path.is_dir():
        data, problems = dynamo.from_directory(path)
        return from_json(data, str(path), problems)
    data = _parsed(path)
    if isinstance(data, Mapping) and data.get("kind") == "ConfigMap":
        data, problems = dynamo.from_config_map(data, path)
        return from_json(data, str(path), problems)
    return from_json(data, str(path))


def from_json(data: Any, where: str = "profile", problems: list[str] | None = None) -> Profile:
    """A profile from its JSON object; ``problems`` were found on the way to it.

    Raises:
        ProfileError: all problems at once.
    """
    problems = list(problems or ())
    if not isinstance(data, Mapping):
        raise ProfileError(where, [f"expected an object with schema {SCHEMA!r}, found {type(data).__name__}"])
    if data.get("schema") != SCHEMA:
        raise ProfileError(where, [f"schema is {data.get('schema')!r}; this version reads {SCHEMA!r}"])
    problems += [f"unknown key {key!r}; known are {', '.join(_KEYS)}" for key in data if key not in _KEYS]
    problems += [f"missing key {key!r}" for key in _KEYS if key not in data]
    provenance = _provenance(data.get("provenance", {}), problems) if "provenance" in data else None
    gpus = _gpus(data["gpus_per_replica"], problems) if "gpus_per_replica" in data else {}
    kv = data.get("max_kv_tokens")
    if "max_kv_tokens" in data and not (is_number(kv) and kv > 0):
        problems.append(f"max_kv_tokens is {kv!r}; it must be a number above 0")
        kv = None
    prefill = [PrefillPoint(*row) for row in _points(data, "prefill", PrefillPoint, problems)]
    decode = [DecodePoint(*row) for row in _points(data, "decode", DecodePoint, problems)]
    if not problems or (prefill and decode):
        problems += doubts(prefill, decode, kv, gpus)
    if problems or provenance is None or kv is None:
        raise ProfileError(where, problems)
    return Profile(
        name=str(data["name"]),
        provenance=provenance,
        prefill_points=tuple(prefill),
        decode_points=tuple(decode),
        max_kv_tokens=float(kv),
        prefill_gpus=gpus["prefill"],
        decode_gpus=gpus["decode"],
    )


def to_json(profile: Profile) -> dict[str, Any]:
    """The profile as its JSON object; ``from_json`` reads it back unchanged."""
    return {
        "schema": SCHEMA,
        "name": profile.name,
        "provenance": {key: getattr(profile.provenance, key) for key in Provenance.__dataclass_fields__},
        "gpus_per_replica": {role: profile.gpus(role) for role in _GPUS},
        "max_kv_tokens": profile.max_kv_tokens,
        "prefill": [
            {key: getattr(p, key) for key in PrefillPoint.__dataclass_fields__} for p in profile.prefill_points
        ],
        "decode": [{key: getattr(p, key) for key in DecodePoint.__dataclass_fields__} for p in profile.decode_points],
    }


def save(profile: Profile, path: Path, form: str = "json") -> None:
    """Write the profile as ``json``, ``npz`` (a directory that Dynamo reads) or ``configmap`` (YAML).

    Raises:
        ValueError: there is no such form.
    """
    if form not in FORMS:
        raise ValueError(f"form {form!r} is none of {', '.join(FORMS)}")
    origin = {
        key: value for key, value in to_json(profile).items() if key not in ("prefill", "decode", "max_kv_tokens")
    }
    if form == "npz":
        dynamo.write_directory(profile, origin, path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if form == "json":
        path.write_text(json.dumps(to_json(profile), indent=1) + "\n")
    else:
        path.write_text(yaml.safe_dump(dynamo.config_map(profile, origin), sort_keys=False))


def _found(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if path.exists():
        return path
    try:
        return resources.path("profiles", f"{name_or_path}.json")
    except resources.ResourceError:
        shipped = ", ".join(n.removesuffix(".json") for n in resources.names("profiles") if n.endswith(".json"))
        problem = f"there is no such file or directory, and no shipped profile of that name; shipped: {shipped}"
        raise ProfileError(str(name_or_path), [problem]) from None


def _parsed(path: Path) -> Any:
    try:
        text = path.read_text()
        return yaml.safe_load(text) if path.suffix in (".yaml", ".yml") else json.loads(text)
    except json.JSONDecodeError as problem:
        raise ProfileError(f"{path}:{problem.lineno}", [f"not JSON: {problem.msg}"]) from None
    except yaml.YAMLError as problem:
        raise ProfileError(str(path), [f"not YAML: {' '.join(str(problem).split())}"]) from None
    except RecursionError:
        raise ProfileError(str(path), ["nested too deeply for a profile"]) from None
    except UnicodeDecodeError:
        hint = "; of Dynamo's npz files give the directory" if path.suffix == ".npz" else ""
        raise ProfileError(str(path), [f"not a text file{hint}"]) from None
    except OSError as problem:
        raise ProfileError(str(path), [f"cannot be read: {problem.strerror}"]) from None


def _points(data: Mapping[str, Any], key: str, kind: type, problems: list[str]) -> list[tuple[float, ...]]:
    return rows(data[key], tuple(kind.__dataclass_fields__), key, problems) if key in data else []  # type: ignore[attr-defined]


def _provenance(data: Any, problems: list[str]) -> Provenance | None:
    if not isinstance(data, Mapping):
        problems.append(f"provenance is {data!r}; it must be an object with {', '.join(_NEEDED)} and more")
        return None
    known, before = Provenance.__dataclass_fields__, len(problems)
    problems += [f"provenance: unknown key {k!r}; known are {', '.join(known)}" for k in data if k not in known]
    problems += [f"provenance: missing {key!r}" for key in _NEEDED if key not in data]
    for key, value in data.items():
        expected: type = bool if key == "measured" else str
        if key in known and not isinstance(value, expected):
            kind = "true (measured) or false (estimated)" if expected is bool else "text"
            problems.append(f"provenance.{key} is {value!r}; it must be {kind}")
    return Provenance(**data) if len(problems) == before else None


def _gpus(value: Any, problems: list[str]) -> dict[str, int]:
    """GPUs of one replica by role, from one number for both or from one each."""
    each = value if isinstance(value, Mapping) else dict.fromkeys(_GPUS, value)
    odd = [role for role in each if role not in _GPUS]
    bad = [role for role in _GPUS if not is_number(each.get(role)) or each[role] < 1 or each[role] % 1]
    problems += [f"gpus_per_replica: unknown key {role!r}; known are {', '.join(_GPUS)}" for role in odd]
    for role in bad:
        problems.append(f"gpus_per_replica of {role} is {each.get(role)!r}; it must be a whole number of at least 1")
    return {role: 1 if role in bad else int(each[role]) for role in _GPUS}
