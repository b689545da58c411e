"""What ``--policies`` may name: our laws and their variants, fixed fleets, plans that know the future, and peers.

``NAME``, ``NAME:knob=value:knob=value`` or ``NAME:tuned``; our laws also ``LAW+PREDICTOR``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from planner.config.settings import INTERVALS_S
from planner.core.tuning import Tuning
from planner.simulation.peers import PEERS
from predictors.registry import BUILDERS

LAWS = ("slo", "classic")
FIXED = ("static", "static-peak")
PLANS = ("late", "clairvoyant")
OF_THE_POLICY = {"interval_s": INTERVALS_S["slo"], "stabilization_s": 300.0}
"""Knobs of our laws beside the law's constants, with their defaults."""
DIVISORS = frozenset({
    "interval_s", "budget_leak_s", "price_memory_s",
    "waiting", "running", "prefill_running", "kv_usage", "concurrency", "prefill_concurrency", "target_percent",
    "down_rate", "observe_window_s", "prefill_queue", "max_ratio", "up", "backlog_share", "up_threshold",
    "down_boundary", "context_tokens", "batch_tokens", "targets",
})  # fmt: skip
"""Knobs that a law divides by; 0 switches every other one off."""
SHARES = frozenset({"dispersion_trim", "mix_memory", "quantile"})
WIDEST = 1000.0
"""A knob may be this many times its default (of at least 1): far beyond, fleets are asked for that are no fleets."""
TUNED = "tuned"


@dataclass(frozen=True, slots=True)
class Contender:
    """One policy as it was named."""

    name: str
    law: str  # slo, classic, static, static-peak, late, clairvoyant, or a peer's name
    predictor: str | None = None  # None: the law's own
    knobs: Mapping[str, float] = field(default_factory=dict)
    tuned: bool = False

    @property
    def is_peer(self) -> bool:
        """Whether it is another project's law."""
        return self.law in PEERS

    @property
    def is_plan(self) -> bool:
        """Whether it knows the future."""
        return self.law in PLANS


def known() -> tuple[str, ...]:
    """Every name that needs no knobs."""
    return (*LAWS, *FIXED, *PLANS, *PEERS)


def contender(name: str) -> Contender:
    """What ``name`` means.

    Raises:
        ValueError: no policy is called so, or it has no such knob.
    """
    base, *parts = name.split(":")
    law, _, predictor = (base, "", "") if base in PEERS else base.partition("+")
    if law not in known() or (predictor and law not in LAWS):
        raise ValueError(f"policy {name!r} is none of {', '.join(known())}")
    if predictor and predictor.removeprefix("calibrated+") not in BUILDERS:
        raise ValueError(f"policy {name!r}: no predictor is called {predictor!r}; there are {', '.join(BUILDERS)}")
    if parts == [TUNED]:
        if law not in PEERS or not PEERS[law].searched:
            raise ValueError(f"policy {name!r}: {law} has nothing to tune")
        return Contender(name, law, tuned=True)
    return Contender(name, law, predictor or None, dict(_knob(name, law, part) for part in parts))


def expanded(names: Sequence[str]) -> tuple[str, ...]:
    """The names with ``peers`` and ``peers:tuned`` written out."""
    groups = {
        "peers": tuple(PEERS),
        "peers:tuned": tuple(f"{name}:{TUNED}" for name, peer in PEERS.items() if peer.searched),
    }
    return tuple(dict.fromkeys(one for name in names for one in groups.get(name, (name,))))


def problems(names: Sequence[str], mode: str | None = None) -> list[str]:
    """What is wrong with the names, each in a sentence; policies that cannot steer a deployment in ``mode`` too."""
    return [problem for name in names for problem in _problems(name, mode)]


def steers(one: Contender, mode: str) -> bool:
    """Whether the policy can steer a deployment in ``mode``."""
    if one.is_peer:
        return mode in PEERS[one.law].modes
    return one.law != "classic" or mode == "disaggregated"


def _problems(name: str, mode: str | None) -> Iterator[str]:
    try:
        one = contender(name)
    except ValueError as problem:
        yield str(problem)
        return
    if mode is not None and not steers(one, mode):
        why = "sizes a prefill and a decode pool" if one.law == "classic" else f"knows no mode {mode}"
        yield f"policy {name!r} {why}; leave it out with mode {mode}"


def _knob(name: str, law: str, text: str) -> tuple[str, float]:
    knob, equals, value = text.partition("=")
    its = knobs_of(law)
    if not equals or knob not in its:
        raise ValueError(f"policy {name!r}: {knob!r} is no knob of {law}; it has {', '.join(its) or 'none'}")
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"policy {name!r}: {value!r} is not a number for {knob}") from None
    least, most = _reach(knob, its[knob])
    if not least <= number <= most:  # NaN too
        raise ValueError(f"policy {name!r}: {knob} ({value}) must be from {least:g} to {most:g}")
    return knob, number


def _reach(knob: str, default: float) -> tuple[float, float]:
    """The least and the most that a knob may be."""
    most = WIDEST * max(1.0, abs(default))
    least = -most if default < 0 else 1 / WIDEST if knob in DIVISORS else 0.0
    return max(least, 1.0) if knob.endswith("_tokens") else least, 1.0 if knob in SHARES else most


def knobs_of(law: str) -> dict[str, float]:
    """The knobs of a law with their defaults, sorted."""
    if law in PEERS:
        return dict(sorted(PEERS[law].defaults.items()))
    if law == "slo":
        return dict(sorted({**dataclasses.asdict(Tuning()), **OF_THE_POLICY}.items()))
    return {"interval_s": INTERVALS_S["classic"]} if law == "classic" else {}


def tuning_of(knobs: Mapping[str, float]) -> Tuning:
    """The constants of ``slo`` with ``knobs`` in place of its own."""
    shipped = Tuning()
    own = {name: value for name, value in knobs.items() if hasattr(shipped, name)}
    return dataclasses.replace(shipped, **{name: type(getattr(shipped, name))(value) for name, value in own.items()})
