"""An answer goes two ways: as JSON to programs, in words to people. Neither stands in the other's stream."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console


def told(answer: Mapping[str, Any], target: Path | None) -> Console:
    """Write the answer as JSON where it is wanted, and say where people read.

    ``target`` is a file, or ``-`` for standard output, which JSON has for itself: people then read standard error.
    """
    to_stdout = str(target) == "-"
    text = json.dumps(answer, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    if to_stdout:
        sys.stdout.write(text)
    elif target is not None:
        target.write_text(text, encoding="utf-8")
    return Console(stderr=to_stdout, highlight=False)
