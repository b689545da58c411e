"""Recorded expositions that can be moved on: a test adds to counters and knows what it added."""

from __future__ import annotations

import re
from pathlib import Path

_LINE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class Recorded:
    """The text of a real process's ``/metrics``, as series whose values may be changed."""

    def __init__(self, name: str) -> None:
        text = (Path(__file__).parent / "expositions" / name).read_text()
        self._comments = [line for line in text.splitlines() if line.startswith("#")]
        self._values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        for line in text.splitlines():
            found = _LINE.match(line)
            if found:
                labels = tuple(sorted(_LABEL.findall(found["labels"] or "")))
                self._values[found["name"], labels] = float(found["value"])

    def add(self, name: str, amount: float, **labels: str) -> None:
        """Count ``amount`` more on the one series with this name and these labels."""
        self._values[self._one(name, labels)] += amount

    def set(self, name: str, value: float, **labels: str) -> None:
        """Let a gauge say ``value``."""
        self._values[self._one(name, labels)] = value

    def observe(self, name: str, value: float, times: int = 1, **labels: str) -> None:
        """Count ``times`` observations of ``value`` in a histogram."""
        for series, series_labels in list(self._values):
            le = dict(series_labels).get("le")
            fits = series == f"{name}_bucket" and labels.items() <= dict(series_labels).items()
            if fits and le is not None and value <= float(le):
                self._values[series, series_labels] += times
        self.add(f"{name}_sum", value * times, **labels)
        self.add(f"{name}_count", times, **labels)

    def drop(self, *names: str) -> None:
        """No longer expose series whose name starts like this."""
        self._values = {key: value for key, value in self._values.items() if not key[0].startswith(names)}

    def relabel(self, **labels: str) -> None:
        """Change labels' values on all series that have them."""
        self._values = {
            (name, tuple(sorted((k, labels.get(k, v)) for k, v in own))): value
            for (name, own), value in self._values.items()
        }

    def restart(self) -> None:
        """All counters from zero."""
        self._values = dict.fromkeys(self._values, 0.0)

    def value(self, name: str, **labels: str) -> float:
        """What the one series says."""
        return self._values[self._one(name, labels)]

    def text(self) -> str:
        """As an exposition."""
        lines = [
            f"{name}{{{','.join(f'{k}={chr(34)}{v}{chr(34)}' for k, v in labels)}}} {value!r}"
            for (name, labels), value in self._values.items()
        ]
        return "\n".join([*self._comments, *lines]) + "\n"

    def _one(self, name: str, labels: dict[str, str]) -> tuple[str, tuple[tuple[str, str], ...]]:
        found = [key for key in self._values if key[0] == name and labels.items() <= dict(key[1]).items()]
        assert len(found) == 1, f"{name} {labels}: {found}"
        return found[0]
