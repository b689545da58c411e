"""What a peer is: another project's autoscaling law, as its authors ship it, behind our port ``Decider``.

A peer sees what it would see in a cluster and no more: gauges and counters of a scrape, through the same
``Observation`` that our own planner gets, at its own cadence (``tick_s``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from planner.core.policy import Pool, Sla
from planner.ports import Decider


@dataclass(frozen=True, slots=True)
class Site:
    """What the operator of a peer knows and writes into its configuration."""

    pools: tuple[Pool, ...]  # role, GPUs, bounds; a profile only for peers whose own planner asks for one
    sla: Sla
    budget_gpus: int | None = None


@dataclass(frozen=True, slots=True)
class Peer:
    """One law: where it is from, how often it looks, its knobs as shipped and what a careful operator would search."""

    name: str
    source: str  # project, version and file the law was read from
    tick_s: float  # seconds between its looks, as shipped
    make: Callable[[Site, Mapping[str, float]], Decider]  # with every knob of ``defaults``, some perhaps changed
    defaults: Mapping[str, float]  # knobs as documented, or what its guide recommends where nothing is shipped
    searched: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # values the tuned variant tries
    modes: tuple[str, ...] = ("disaggregated", "aggregated")  # deployments the law can steer

    def decider(self, site: Site, knobs: Mapping[str, float] | None = None) -> Decider:
        """The law at a site, its knobs as shipped but for ``knobs``.

        Raises:
            ValueError: a knob that the law does not have.
        """
        unknown = sorted(set(knobs or {}) - set(self.defaults))
        if unknown:
            raise ValueError(f"{self.name} has no knob {', '.join(unknown)}; it has {', '.join(sorted(self.defaults))}")
        return self.make(site, {**self.defaults, **(knobs or {})})
