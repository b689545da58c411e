"""Every constant of the ``slo`` law, each with its reason. None is set per trace.

They were chosen in the simulator over several traces (``docs/results.md``), and
a law that needs one of them changed for one workload is a law to mend. Those of
``Tuning`` belong to a policy, so that ``planner compare`` can show what each
mechanism earns: ``slo:correction_gain=0`` is the law without correction.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tuning:
    """How the law learns, plans ahead, prices a promise and reacts."""

    # --- what the demand looks like
    dispersion_memory_s: float = 1800.0
    """Burstiness is learnt over half an hour: long enough for 5 % error, short enough to follow the day."""
    dispersion_trim: float = 0.95
    """The largest 5 % of squared differences are dropped: a step of the rate is not burstiness…"""
    dispersion_untrim: float = 1.32
    """…and what trimming takes off a chi-square is put back (its lowest 95 % have 1 / 1.32 of its mean). 0: Poisson."""
    mix_memory: float = 0.7
    """Share of the length histograms, and of requests by their ITL, kept from one interval to the next: the mix drifts,
    samples are many."""
    forecast_spread: float = 1.0
    """The forecast's own spread of rates, as it was calibrated. 0: a point forecast."""
    drift: bool = True
    """Prompt and answer tokens are foreseen apart from requests: recorded prompts drift by 20 % in three minutes."""
    lasting: float = 1.0
    """Answers are foreseen over as long as they take, OSL × ITL target, times this. 0: minute by minute."""
    prior_spread: float = 0.15
    """Relative forecast error until residuals have been collected; public traces have 5 to 30 %, three minutes on."""

    # --- the price of a promise
    miss_cap: float = 3.0
    """No single decision plans for more than this many times the miss budget: no hour is sacrificed."""
    joint: bool = True
    """One price of a miss for all pools: misses go where a GPU buys most. False: half the budget for each of two."""
    price_memory_s: float = 6 * 3600.0
    """The shadow price of a kept promise is averaged over a quarter of a day: misses go where GPUs are dear."""
    budget_leak_s: float = 6 * 3600.0
    """An error budget older than this is forgotten: yesterday's luck does not excuse today."""
    feedback_low: float = -2.0
    """Least log price correction by the error budget (anti-windup): price × 0.14."""
    feedback_high: float = 3.0
    """Largest: price × 20. Both 0: no feedback."""
    feedback_aim: float = 0.1
    """Aim this share of the miss budget above the goal: what is measured through buckets is not exact."""

    # --- how wrong the profile may be
    correction_gain: float = 1.0
    """Share of what an interval's evidence of speed is worth, by its own scatter, that is learnt. 0: never."""
    shape: bool = True
    """Decode is corrected for a single sequence and for what more of them add apart. False: one factor for both."""

    # --- how fast to move
    fast_doubt: float = 3.0
    """The fast look believes only the lower bound of a sudden rate, so many standard deviations of the learnt
    burstiness below it."""
    backlog: float = 1.0
    """Share of a backlog, and of a crowd in decode, that counts as load to be worked off. 0: neither is looked at."""
    patience: float = 1.5
    """A replica that has been starting for so many times its start-up counts as supply no longer."""
    made_up: float = 0.5
    """At most this share of a pool is asked for in place of replicas that others overtook. 0: none is made up for."""


MOST_PLANNED = 0.1
"""While much of the budget is left, a decision may plan for more than ``miss_cap`` budgets, but for no larger share of
requests than this: what a quiet night has saved is not for one bad hour."""
LEAST_OBSERVED = 0.5
"""A rate is learnt from at least this share of an interval: the few seconds after a start are mostly chance."""
SHORT_TERM_S = 15.0
"""The fast look believes a rate seen over this long: three scrapes, so one odd second is not a trend."""
SUDDEN_CROWD = 0.15
"""A fast look believes a crowd in decode when so large a share of what runs has joined it since the last decision."""
MOST_DRIFT = 2.0
"""Requests of a sudden rate are at most so many times longer, or shorter, than those of late: recorded ones change by
20 % in a few minutes."""
LEAST_RATE = 1e-9
"""Fewer requests per second than this (one in thirty years) are none: smaller numbers vanish when multiplied."""

STARTUPS = 7
"""A start-up takes what the median of so many took: three that were slow, or quick, do not move it."""

# --- how a fleet behaves
HANDOVER_S = 0.03
"""KV transfer plus the first decode step, taken off the TTFT target before queueing is allowed."""
TAIL_KNEE, TAIL_SLOPE = 4.0, 0.6
"""The exponential wait tail is trusted down to e^-4; beyond, finite bursts make it fall more slowly."""
LONGEST_RELAXATION_S = 30.0
"""Near its ceiling a decode pool forgets slowly; but no interval is long enough to see more than this of it."""
LEAST_WAIT = 0.25
"""A prompt is always left this share of its own service to wait: an SLA out of reach must not ask for infinity, and a
few prompts that no fleet serves in time must not size it for all."""
OVERLOAD_S = 180.0
"""A queue of which the mean is promised grows for as long as this when it is overloaded: until help is ready."""
CROWDED = 0.01
"""Share of requests that may find a full KV cache where ITL is promised by itself, whatever its measure allows:
they wait to get in or push others out, and no ITL shows that."""
LEAST_SLACK = 1.5
"""An aggregated worker's tokens are always left half a lone step for prompts, for the same reason."""

# --- what counts as evidence of speed
CORRECTION_LOW, CORRECTION_HIGH = 0.4, 2.5
"""A profile further off than this is the wrong profile; the planner says so instead of following."""
CORRECTION_DOUBT = 0.2
"""Profiles are off by so much (standard deviation) before anything was seen."""
CORRECTION_NOISE = 0.2
"""One interval's evidence is taken to be off by so much until its scatter is known: 12 looks at a queue are few."""
CORRECTION_DRIFT = 0.01
"""An engine's speed may change by so much from one interval to the next: contexts, batches, neighbours."""
SHAPE_DOUBT, SHAPE_DRIFT = 0.2, 0.002
"""What a single sequence takes and what more of them add are off by factors that differ by so much, before anything was
seen; it changes hardly at all, since it is the kind of GPU and engine."""
SHAPE_MOST = 0.9
"""They never differ by more than this: what more sequences add is never taken for nothing, nor for all there is."""
MISCOUNTED = 0.1
"""Sequences counted a dozen times an interval move the share of a single one in the step by less than this."""
NOISE_GAIN = 0.1
"""The scatter of the evidence is learnt over about ten intervals."""
LEAN_GAIN, LEAN_LIMIT = 0.2, 3.0
"""Evidence that leans to one side by more than three standard deviations of its mean over about five intervals, by
chance about once a day, means that the engine has changed."""
EVIDENCE_TOKENS = 2000.0
"""Fewer output tokens (or prompt tokens × 10) in an interval say nothing about an engine's speed."""
