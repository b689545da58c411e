"""How wrong the profile is: observed engine speed over profiled speed, queueing left out.

Decode says it directly: the step time at the concurrency that was there.
Prefill by the utilisation law: the time replicas were busy over the service
time the profile gives the prompts they finished; a queue in front changes
neither. Only where no source tells who was busy is TTFT itself used, against
what the model *including queueing* expects.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from planner.core import tuning
from planner.core.histogram import mean_of
from planner.core.load import Lengths, Load, lengths_of
from planner.core.policy import Policy, Pool, Sla
from planner.core.sizing.prefill import PrefillModel
from planner.core.types import PoolReading, Role, Window


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one pool showed since the last full decision. Sums over windows, in seconds."""

    seconds: float = 0.0
    running_s: float = 0.0  # requests being worked on, integrated over time
    ready_s: float = 0.0  # replicas serving, integrated over time
    observed_s: float = 0.0  # token gaps, summed
    expected_s: float = 0.0  # the same gaps at the profile's speed
    lone_s: float = 0.0  # of that, what a single sequence takes
    gaps: float = 0.0  # how many
    last_running: float | None = None


@dataclass(frozen=True, slots=True)
class Correction:
    """What a pool's profiled times are multiplied by, and how sure that is: a random walk, filtered (Kalman 1960).

    A profile is wrong in level and in shape: what a step takes with a single sequence is off by α = ``level`` −
    ``shape``/2, what more sequences add by β = ``level`` + ``shape``/2. An interval in which the share w of the
    profiled step is that of a single sequence shows level + shape · (1/2 − w), so several loads tell the two apart.
    ``slowness`` is what both come to where the ITL target T is just kept, which is what pools are sized for: with a
    profiled step ℓ of a single sequence, T = α ℓ + β (s − ℓ) at the profiled step s = (T − (α − β) ℓ) / β, and
    slowness = T / s.

    The noise of the evidence is learnt from how much neighbouring intervals differ. Where evidence leans to one side
    for longer than chance explains, the engine has changed: the doubt is what it was at the start.
    """

    slowness: float = 1.0
    level: float = 1.0
    shape: float = 0.0
    doubt: float = tuning.CORRECTION_DOUBT**2  # variance of ``level``
    shape_doubt: float = tuning.SHAPE_DOUBT**2  # variance of ``shape``
    both: float = 0.0  # covariance of the two
    noise: float = tuning.CORRECTION_NOISE**2  # variance of one interval's ratio
    last: float | None = None  # the last interval's ratio
    lone: float | None = None  # and the share of a single sequence in its profiled step
    lean: float = 0.0  # mean of late of ratio − what was expected of it

    def told(self, ratio: float, gain: float, lone: float = 0.5, lone_at_target: float = 0.5) -> Correction:
        """After one more interval's ratio; ``gain`` is the share of what it says that is learnt.

        ``lone`` is the share of a single sequence in the profiled step, ``lone_at_target`` that in a step as long as
        the ITL target. At a half, as for prompts, evidence says nothing about the shape. A ratio is held against the
        share of the interval before: an error in counting sequences moves ratio and share of its own interval
        together, which would look like a shape. Where the share has moved further than they explain, it is believed.
        """
        ratio, noise = _bounded(ratio), self.noise
        if self.last is not None:
            noise += tuning.NOISE_GAIN * (0.5 * (ratio - self.last) ** 2 - noise)
            noise = max(noise, tuning.CORRECTION_DRIFT**2)
        before = lone if self.lone is None else self.lone
        tilt = 0.5 - (lone if abs(lone - before) > tuning.MISCOUNTED else before)
        doubt, shape_doubt = self.doubt + tuning.CORRECTION_DRIFT**2, self.shape_doubt + tuning.SHAPE_DRIFT**2
        off = ratio - (self.level + tilt * self.shape)
        lean = self.lean + tuning.LEAN_GAIN * (off - self.lean)
        unsure = doubt + tilt * (2.0 * self.both + tilt * shape_doubt)
        if lean * lean > tuning.LEAN_LIMIT**2 * (unsure + noise) * tuning.LEAN_GAIN / (2.0 - tuning.LEAN_GAIN):
            unsure += max(0.0, tuning.CORRECTION_DOUBT**2 - doubt)
            doubt, lean = max(doubt, tuning.CORRECTION_DOUBT**2), 0.0
        weight = (doubt + tilt * self.both) / (unsure + noise)
        shape_weight = (self.both + tilt * shape_doubt) / (unsure + noise)
        level, most = self.level + gain * weight * off, tuning.SHAPE_MOST
        shape = min(most, max(-most, self.shape + gain * shape_weight * off))
        return Correction(
            slowness=_bounded((level + 0.5 * shape) / (1.0 + shape * lone_at_target)),
            level=_bounded(level),
            shape=shape,
            doubt=doubt - weight * weight * (unsure + noise),
            shape_doubt=shape_doubt - shape_weight * shape_weight * (unsure + noise),
            both=self.both - weight * shape_weight * (unsure + noise),
            noise=noise,
            last=ratio,
            lone=lone,
            lean=lean,
        )


def _bounded(factor: float) -> float:
    return min(max(factor, tuning.CORRECTION_LOW), tuning.CORRECTION_HIGH)


def gather(pool: Pool, evidence: Evidence, reading: PoolReading, seconds: float, context: float | None) -> Evidence:
    """Add one window of ``seconds`` to the evidence."""
    running = reading.running
    if running is None or seconds <= 0:
        return replace(evidence, last_running=running)
    mean = running if evidence.last_running is None else 0.5 * (running + evidence.last_running)
    observed = expected = lone = gaps = 0.0
    steps = reading.step_seconds
    if pool.role is not Role.PREFILL and steps is not None and steps.count > 0 and context and reading.ready > 0:
        each = mean / reading.ready
        if each >= 0.5:
            observed, gaps = steps.total, steps.count
            expected = gaps * pool.profile.decode.itl_s(max(1.0, each), context)
            lone = gaps * pool.profile.decode.itl_s(1.0, context)
    return Evidence(
        seconds=evidence.seconds + seconds,
        running_s=evidence.running_s + mean * seconds,
        ready_s=evidence.ready_s + reading.ready * seconds,
        observed_s=evidence.observed_s + observed,
        expected_s=evidence.expected_s + expected,
        lone_s=evidence.lone_s + lone,
        gaps=evidence.gaps + gaps,
        last_running=running,
    )


def corrected(policy: Policy, pool: Pool, before: Correction, evidence: Evidence, window: Window | None,
              load: Load | None) -> Correction:  # fmt: skip
    """The pool's correction after this interval: smoothed, bounded, unmoved without evidence."""
    if pool.role is Role.PREFILL:
        ratio = _prefill_ratio(policy, pool, evidence, window, load)
    elif pool.role is Role.DECODE:
        ratio = _decode_ratio(evidence)
    else:
        ratio = _aggregated_ratio(pool, evidence, window, load)
    if ratio is None:
        return before
    gain, lone_s = policy.tuning.correction_gain, evidence.lone_s
    if pool.role is not Role.DECODE or not policy.tuning.shape or lone_s <= 0:
        return before.told(ratio, gain)
    return before.told(ratio, gain, lone_s / evidence.expected_s, min(1.0, lone_s / evidence.gaps / policy.sla.itl_s))


def _decode_ratio(evidence: Evidence) -> float | None:
    if evidence.gaps < tuning.EVIDENCE_TOKENS or evidence.expected_s <= 0:
        return None
    return evidence.observed_s / evidence.expected_s


def _prefill_ratio(policy: Policy, pool: Pool, evidence: Evidence, window: Window | None,
                   load: Load | None) -> float | None:  # fmt: skip
    profiled = _profiled_prefill_s(pool, window)
    if profiled is None or window is None or window.input_tokens is None:
        return None
    if window.input_tokens.total < 10.0 * tuning.EVIDENCE_TOKENS:
        return None
    if evidence.seconds > 0 and evidence.running_s > 0:
        return evidence.running_s / profiled
    return _ratio_from_ttft(policy.sla, pool, evidence, window, load)


def _profiled_prefill_s(pool: Pool, window: Window | None) -> float | None:
    """Seconds the profile gives to the prompts that were finished in the window."""
    if window is None or window.input_tokens is None or window.input_tokens.count <= 0:
        return None
    hit = min(0.999, (window.cached_tokens or 0.0) / window.input_tokens.total)
    lengths: Lengths = lengths_of(window.input_tokens).scaled(1.0 - hit)
    mean = sum(
        p * pool.profile.prefill.service_s(tokens) for tokens, p in zip(lengths.values, lengths.shares, strict=True)
    )
    return window.input_tokens.count * mean


def _ratio_from_ttft(sla: Sla, pool: Pool, evidence: Evidence, window: Window, load: Load | None) -> float | None:
    """Slowness whose expected TTFT, waiting included, is the observed one (bisection; TTFT grows with it)."""
    observed = mean_of(window.ttft)
    if observed is None or load is None or load.mean_rate <= 0 or window.started is None or evidence.seconds <= 0:
        return None
    ready, rate = evidence.ready_s / evidence.seconds, window.started / window.seconds
    low, high = tuning.CORRECTION_LOW, tuning.CORRECTION_HIGH
    for _ in range(16):
        middle = 0.5 * (low + high)
        expected = PrefillModel.of(pool, sla, load, middle).ttft_s(ready, rate)
        low, high = (low, middle) if expected is None or expected > observed else (middle, high)
    return high


def _aggregated_ratio(pool: Pool, evidence: Evidence, window: Window | None, load: Load | None) -> float | None:
    """Both kinds of work share the step: observed = k · itl / (1 − k · φ), solved for k."""
    profiled = _profiled_prefill_s(pool, window)
    if evidence.gaps < tuning.EVIDENCE_TOKENS or profiled is None or evidence.ready_s <= 0:
        return None
    observed, alone = evidence.observed_s / evidence.gaps, evidence.expected_s / evidence.gaps
    return observed / (alone + observed * profiled / evidence.ready_s)
