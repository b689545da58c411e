"""How long requests are when the traffic itself does not say: drawn from a sample, or from means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from planner.simulation.traffic.errors import TrafficError
from planner.simulation.traffic.options import Parser, needed, parse_spec, spread, tokens

DEFAULT_SPREAD = 1.0
"""Coefficient of variation of log-normal lengths when only means are known. Recorded traffic has 0.8
(outputs) to 1 (inputs) in the Azure 2023 conversation trace; ServeGen's clients lie around 1 too."""

LONGEST_TOKENS = 131_072
"""Log-normal tails end at the longest context that current models serve."""

Lengths = tuple[NDArray[np.int32], NDArray[np.int32]]
"""Input and output tokens, one entry per request."""


class LengthModel(Protocol):
    """Whatever draws the lengths of requests."""

    def draw(self, at_s: NDArray[np.float64], random: np.random.Generator) -> Lengths:
        """Lengths of requests that arrive at ``at_s`` (seconds on the trace's clock)."""

    def mean_tokens(self) -> float:
        """Mean input plus output tokens of a request."""


@dataclass(frozen=True, slots=True)
class LengthSample:
    """Requests whose lengths are drawn again, input and output together, so that their correlation stays."""

    input_tokens: NDArray[np.int32]
    output_tokens: NDArray[np.int32]

    def draw(self, at_s: NDArray[np.float64], random: np.random.Generator) -> Lengths:
        """Uniform draws with replacement; the time of arrival does not matter."""
        picked = random.integers(0, len(self.input_tokens), size=len(at_s), dtype=np.int32)
        return self.input_tokens[picked], self.output_tokens[picked]

    def mean_tokens(self) -> float:
        """Mean input plus output tokens of the sample."""
        return float(self.input_tokens.mean() + self.output_tokens.mean())


@dataclass(frozen=True, slots=True)
class LogNormalLengths:
    """Independent log-normal inputs and outputs around means that may change with time.

    With coefficient of variation ``c``: sigma² = ln(1 + c²), mu = ln(mean) − sigma² / 2. A spread of 0
    gives every request the mean itself. ``starts_s`` says from when each mean holds.
    """

    input_means: NDArray[np.float64]
    output_means: NDArray[np.float64]
    starts_s: NDArray[np.float64]  # ascending; the first also holds before it
    spread: float = DEFAULT_SPREAD

    def draw(self, at_s: NDArray[np.float64], random: np.random.Generator) -> Lengths:
        """One draw of each per request, whole tokens from 1 to ``LONGEST_TOKENS``."""
        row = np.maximum(np.searchsorted(self.starts_s, at_s, side="right") - 1, 0)
        return self._around(self.input_means[row], random), self._around(self.output_means[row], random)

    def mean_tokens(self) -> float:
        """Mean input plus output tokens, every row weighing the same."""
        return float(self.input_means.mean() + self.output_means.mean())

    def _around(self, means: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.int32]:
        sigma_squared = np.log1p(self.spread**2)
        factors = np.exp(np.sqrt(sigma_squared) * random.standard_normal(len(means)) - sigma_squared / 2)
        drawn: NDArray[np.float64] = np.clip(np.rint(means * factors), 1, LONGEST_TOKENS)
        return drawn.astype(np.int32)


def around(isl: float, osl: float, spread: float = DEFAULT_SPREAD) -> LogNormalLengths:
    """Log-normal lengths around means that never change.

    Raises:
        TrafficError: a mean below 1 or beyond the longest request, or a negative spread.
    """
    for name, mean in (("isl", isl), ("osl", osl)):
        if not 1 <= mean <= LONGEST_TOKENS:
            raise TrafficError(f"{name} is {mean}; a mean length is from 1 to {LONGEST_TOKENS:,} tokens")
    if not 0 <= spread < float("inf"):
        raise TrafficError(f"the spread of lengths is {spread}; a coefficient of variation is a number from 0")
    return LogNormalLengths(np.array([isl]), np.array([osl]), np.zeros(1), spread)


LENGTH_SPECS: dict[str, dict[str, Parser]] = {
    "fixed": {"isl": tokens, "osl": tokens},
    "lognormal": {"isl": tokens, "osl": tokens, "cv": spread},
}


def is_length_spec(text: str) -> bool:
    """Whether a text is ``fixed:…`` or ``lognormal:…`` rather than a file."""
    return text.partition(":")[0] in LENGTH_SPECS


def from_spec(text: str) -> LogNormalLengths:
    """``fixed:isl=3000,osl=300`` or ``lognormal:isl=3000,osl=300,cv=0.8``.

    Raises:
        TrafficError: unknown or missing keys, values out of range.
    """
    kind, values = parse_spec(text, LENGTH_SPECS)
    isl, osl = needed(text, values, "isl", "osl")
    return around(isl, osl, 0.0 if kind == "fixed" else values.get("cv", DEFAULT_SPREAD))
