"""Settings over settings, as they are written in files, before anything is checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def layered(base: Mapping[str, Any], *above: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the others over it, the last on top: sections are merged, values replaced."""
    merged = dict(base)
    for layer in above:
        for key, value in layer.items():
            below = merged.get(key)
            merged[key] = layered(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged
