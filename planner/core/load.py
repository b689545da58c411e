"""The load a fleet is sized for: a rate with its uncertainty, the mix, the burstiness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from planner.core import tuning
from planner.core.histogram import Histogram
from planner.core.types import Role

FIRST_BUCKET = (0.15, 0.5, 0.85)
"""Where in a bucket that starts at 0 its requests are taken to lie, in equal parts."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lengths of requests as a few representative values with their shares (summing to 1)."""

    values: tuple[float, ...]  # tokens, ascending
    shares: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean length, in tokens."""
        return sum(v * p for v, p in zip(self.values, self.shares, strict=True))

    @property
    def mean_square(self) -> float:
        """Mean squared length, in tokens²."""
        return sum(v * v * p for v, p in zip(self.values, self.shares, strict=True))

    def scaled(self, factor: float) -> Lengths:
        """All lengths times ``factor``."""
        return Lengths(tuple(v * factor for v in self.values), self.shares)


def lengths_of(histogram: Histogram) -> Lengths:
    """Representative lengths of a histogram: one per bucket in use, with the true mean kept.

    A bucket is represented by the geometric mean of its edges, the first one (from 0) by three lengths,
    since short requests differ most; the values are then scaled together so that their mean is the exact
    one (sum over count), which a histogram carries beside its buckets.

    Raises:
        ValueError: nothing was observed.
    """
    mean = histogram.mean
    if mean is None:
        raise ValueError("a histogram without observations has no lengths")
    edges, values, shares = histogram.edges, [], []
    for i, count in enumerate(histogram.counts):
        if count > 0:
            share = count / histogram.count
            low = edges[i - 1] if i > 0 else 0.0
            high = edges[i] if edges[i] != float("inf") else 2.0 * max(low, 1.0)
            if low > 0:
                values.append((low * high) ** 0.5)
                shares.append(share)
            else:
                values += [max(1.0, part * high) for part in FIRST_BUCKET]
                shares += [share / len(FIRST_BUCKET)] * len(FIRST_BUCKET)
    rough = sum(v * p for v, p in zip(values, shares, strict=True))
    return Lengths(tuple(v * mean / rough for v in values), tuple(shares))


def fixed_length(tokens: float) -> Lengths:
    """Every request has the same length."""
    return Lengths((tokens,), (1.0,))


@dataclass(frozen=True, slots=True)
class Load:
    """Offered load: equally likely rates (requests per second), uncached input and output lengths.

    ``dispersion`` is the variance over the mean of arrivals at ``dispersion_rate``; the excess over
    Poisson grows with the rate, as it does when a common factor moves all users.

    Prompts and answers may be foreseen apart from requests, since lengths drift too: their rates are in requests
    of the mean length. ``None``: as the requests.
    """

    rates: tuple[float, ...]  # requests per second, equally likely
    input_tokens: Lengths  # to be prefilled: prefix hits taken off
    output_tokens: Lengths
    context_tokens: float  # mean KV tokens of a sequence in decode
    dispersion: float = 1.0
    dispersion_rate: float = 0.0  # 0: dispersion is the same at every rate
    prompt_rates: tuple[float, ...] | None = None
    answer_rates: tuple[float, ...] | None = None

    @property
    def mean_rate(self) -> float:
        """Mean of the equally likely rates."""
        return sum(self.rates) / len(self.rates)

    @property
    def highest_rate(self) -> float:
        """The highest that is foreseen: of requests, or of prompts or answers in requests of the mean length."""
        return max((*self.rates, *(self.prompt_rates or ()), *(self.answer_rates or ())))

    def rates_of(self, role: Role) -> tuple[float, ...]:
        """The equally likely rates of the work that workers of this role do; of both kinds, the higher."""
        prompts, answers = self.prompt_rates or self.rates, self.answer_rates or self.rates
        if role is Role.PREFILL:
            return prompts
        if role is Role.DECODE:
            return answers
        return tuple(map(max, prompts, answers))

    def plus(self, extra: float, answers: float = 0.0) -> Load:
        """With ``extra`` requests per second on top, and ``answers`` more whose prompts are done."""
        more = self._each(lambda rates: tuple(rate + extra for rate in rates))
        if answers <= 0:
            return more
        return replace(more, answer_rates=tuple(rate + answers for rate in more.answer_rates or more.rates))

    def at(self, rate: float) -> Load:
        """With ``rate`` requests per second for certain, and as much work in each as was foreseen on the mean.

        Where next to no requests were foreseen, the little work that was says nothing of what one takes.
        """
        least, most, foreseen = 1.0 / tuning.MOST_DRIFT, tuning.MOST_DRIFT, self.mean_rate

        def certain(rates: tuple[float, ...]) -> tuple[float, ...]:
            drift = sum(rates) / len(rates) / foreseen if foreseen > tuning.LEAST_RATE else 1.0
            return (rate * min(most, max(least, drift)),)

        return self._each(certain)

    def _each(self, change: Callable[[tuple[float, ...]], tuple[float, ...]]) -> Load:
        prompts, answers = self.prompt_rates, self.answer_rates
        return replace(
            self,
            rates=change(self.rates),
            prompt_rates=change(prompts) if prompts else None,
            answer_rates=change(answers) if answers else None,
        )

    def dispersion_at(self, rate: float) -> float:
        """Variance over mean of arrivals when ``rate`` requests per second come."""
        if self.dispersion_rate <= tuning.LEAST_RATE:
            return self.dispersion
        return 1.0 + (self.dispersion - 1.0) * rate / self.dispersion_rate


def load_of(rates: tuple[float, ...], prompt: Lengths, uncached: float, output: Lengths, dispersion: float = 1.0,
            dispersion_rate: float = 0.0) -> Load:  # fmt: skip
    """A load whose decode context follows from its lengths.

    A sequence is seen in decode for as long as its output takes, so long outputs weigh more: the mean
    context is ISL + E[OSL²] / (2 E[OSL]). A cached prefix is not prefilled again but does fill the KV.
    """
    context = prompt.mean + output.mean_square / (2.0 * output.mean)
    return Load(rates, prompt.scaled(uncached), output, context, dispersion, dispersion_rate)
