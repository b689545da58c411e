"""One policy through one world: from settings and a name to a finished run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from planner import wiring
from planner.arena.contenders import OF_THE_POLICY, Contender, contender, tuning_of
from planner.config import SimulateSettings
from planner.core.constraints import constrain
from planner.core.load import load_of
from planner.core.policy import Policy
from planner.core.sizing import slo
from planner.simulation import fleets
from planner.simulation.peers import PEERS, Site
from planner.simulation.simulate import Progress, World, simulate

if TYPE_CHECKING:
    from planner.core.profiles import Profile
    from planner.ports import DecisionSink
    from planner.simulation.run import Run


def peak_fleet(settings: SimulateSettings, profile: Profile, world: World) -> dict[str, int]:
    """What ``planner size`` says of the highest one-minute rate, with the mean lengths of the traffic."""
    traffic = world.traffic
    peak = float(np.bincount((traffic.arrivals_s // 60.0).astype(np.int64)).max()) / 60.0
    prompt, answer = (wiring.around(float(x.mean())) for x in (traffic.input_tokens, traffic.output_tokens))
    load = load_of((peak,), prompt, 1.0, answer)
    policy = wiring.policy_of(settings, profile, "slo")
    wanted = slo.size(policy.pools, policy.sla, load).replicas
    return dict(constrain(policy, wanted, [])[0])


def run(settings: SimulateSettings, profile: Profile, world: World, name: str, initial: Mapping[str, int],
        fixed: Mapping[str, int] | None = None, knobs: Mapping[str, float] | None = None,
        sinks: Sequence[DecisionSink] = (), progress: Progress | None = None) -> Run:  # fmt: skip
    """Run the policy called ``name``; ``knobs`` go over its own, ``fixed`` is the fleet of a static one.

    A peer looks at its own rhythm; everything else looks every ``scrape_s``.
    """
    one = contender(name)
    knobs = {**one.knobs, **(knobs or {})}
    if one.is_peer:
        peer = PEERS[one.law]
        site = Site(wiring.policy_of(settings, profile, "slo").pools, settings.sla.to_core(), settings.budget_gpus)
        decider = peer.decider(site, knobs)
        return simulate(replace(world, scrape_s=peer.tick_s), name, decider, initial, sinks, progress)
    if one.law in ("static", "static-peak") and not fixed:
        fixed = fleets.smallest_fleet(world) if one.law == "static" else peak_fleet(settings, profile, world)
    policy = policy_of(settings, profile, one, fixed or {}, knobs)
    return simulate(world, name, wiring.planner_of(policy), fixed or initial, sinks, progress)


def policy_of(settings: SimulateSettings, profile: Profile, one: Contender, fixed: Mapping[str, int],
              knobs: Mapping[str, float]) -> Policy:  # fmt: skip
    """The policy of one of our laws, with ``knobs`` in place of its own."""
    law = "static" if one.law == "static-peak" else one.law
    policy = wiring.policy_of(settings, profile, f"{law}+{one.predictor}" if one.predictor else law, fixed)
    own = {name: value for name, value in knobs.items() if name in OF_THE_POLICY}
    return replace(policy, tuning=tuning_of(knobs), **own)  # type: ignore[arg-type]
