"""From settings to parts that run: profile, policy, plant, traffic, planner. The one place that knows them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from planner.adapters import profile_files
from planner.config import SimulateSettings, SizeSettings
from planner.config.settings import INTERVALS_S, ControlSettings, DeploymentSettings
from planner.core.constraints import within_budget
from planner.core.load import Lengths, load_of
from planner.core.policy import Policy, Pool
from planner.core.profiles import Profile, slowed
from planner.core.types import Role

if TYPE_CHECKING:
    from planner.core.load import Load
    from planner.ports import Decider
    from planner.simulation.engine import PlantParameters, StepFit
    from planner.simulation.simulate import World
    from planner.simulation.traffic.types import Traffic

LENGTH_SPREAD = 0.8
"""σ of log length assumed around a mean that comes without a distribution (coefficient of variation 0.95)."""


def pools_of(settings: DeploymentSettings, profile: Profile, startup_s: float = 120.0) -> tuple[Pool, ...]:
    """The pools of the mode and further ones, each with its bounds."""
    profiles = profiles_of(settings, profile)
    return tuple(
        Pool(
            name=name,
            role=role,
            profile=profiles[name],
            gpus=settings.gpus_per_replica.get(name, profiles[name].gpus(role)),
            min_replicas=settings.min_replicas.get(name, 0 if name in settings.further else 1),
            max_replicas=settings.max_replicas.get(name, 1_000_000),
            startup_s=startup_s,
            cost=settings.cost.get(name, 1.0),
        )
        for name, role in settings.pools.items()
    )


def profiles_of(settings: DeploymentSettings, profile: Profile) -> dict[str, Profile]:
    """The profile of every pool: that of the deployment, or a further pool's own, slowed as it says."""
    found = dict.fromkeys(settings.pools, profile)
    for name, pool in settings.further.items():
        own = profile_files.load(pool.profile) if pool.profile else profile
        found[name] = slowed(own, pool.slower, f"{own.name}-{name}")
    return found


def policy_of(settings: ControlSettings, profile: Profile, name: str | None = None,
              fixed: Mapping[str, int] | None = None) -> Policy:  # fmt: skip
    """The policy of the settings, or the one called ``name`` (``classic+arima`` is a law with a predictor).

    Raises:
        ValueError: the name is of no law.
    """
    law, _, predictor = (name or settings.law).partition("+")
    if law not in INTERVALS_S:
        raise ValueError(f"law {law!r} is none of {', '.join(INTERVALS_S)}")
    shipped = "constant" if law == "classic" else "default"
    chosen = settings.predictor if name is None and settings.predictor != "default" else predictor or shipped
    pools = pools_of(settings, profile, settings.startup_s)
    if isinstance(settings, SimulateSettings):
        pools = tuple(replace(pool, chunk_tokens=settings.plant.chunk_tokens) for pool in pools)
    return Policy(
        law=law,
        sla=settings.sla.to_core(),
        pools=pools,
        interval_s=settings.interval_s or INTERVALS_S[law],
        predictor=chosen,
        budget_gpus=settings.budget_gpus,
        stabilization_s=settings.stabilization_s,
        fixed=fixed if fixed is not None else settings.replicas,
    )


def step_of(profile: Profile) -> StepFit:
    """The profile's decode points as a step time that grows with sequences and KV tokens."""
    from planner.simulation.engine import fit_step_time

    points = profile.decode_points
    return fit_step_time(
        [p.kv_usage for p in points],
        [p.context_tokens for p in points],
        [p.itl_s for p in points],
        [p.tokens_per_s_per_gpu * profile.gpus_per_replica for p in points],
        profile.max_kv_tokens,
    )


def plant_of(settings: SimulateSettings, profile: Profile) -> PlantParameters:
    """The truth of the simulated workers: the profile's figures, times what the settings say it is off by."""
    from planner.simulation.engine import PlantParameters, PoolParameters

    truth, profiles = settings.plant, profiles_of(settings, profile)
    further = {
        name: PoolParameters(**_hardware(settings, profiles[name]), role=pool.role.value)
        for name, pool in settings.further.items()
    }
    return PlantParameters(
        **_hardware(settings, profile),
        router=settings.router,
        overlap_weight=truth.overlap_weight,
        timeout_s=truth.timeout_s,
        retries=truth.retries,
        backoff_s=truth.backoff_s,
        migrate=truth.migrate,
        pools=further,
    )


def _hardware(settings: SimulateSettings, profile: Profile) -> dict[str, Any]:
    """What a worker really is: its profile's figures, times what the settings say they are off by."""
    prefill = sorted((p.isl, p.ttft_s) for p in profile.prefill_points)
    truth = settings.plant
    return {
        "prefill_isl": tuple(isl for isl, _ in prefill),
        "prefill_s": tuple(s for _, s in prefill),
        "step": step_of(profile),
        "kv_capacity_tokens": profile.max_kv_tokens,
        "chunk_tokens": truth.chunk_tokens,
        "prompts_together": truth.prompts_together,
        "prefill_scale": truth.slower * truth.prefill_slower,
        "decode_scale": truth.slower * truth.decode_slower,
        "decode_slope_scale": truth.decode_slope,
    }


def traffic_of(settings: SimulateSettings) -> Traffic:
    """The requests that the settings name.

    Raises:
        ValueError: they cannot be read or make no sense.
    """
    from planner.simulation.traffic.load import TrafficSpec, load

    asked = settings.traffic
    return load(
        TrafficSpec(
            source=asked.source,
            format=asked.format,
            lengths=asked.lengths,
            scale=asked.scale,
            from_s=asked.from_s or None,
            to_s=asked.to_s,
            dispersion=asked.dispersion,
            isl=asked.isl,
            osl=asked.osl,
            seed=settings.seed,
        )
    )


def world_of(settings: SimulateSettings, profile: Profile, traffic: Traffic | None = None) -> World:
    """Traffic, plant and promise: what is the same for every policy; ``traffic`` in place of what the settings name.

    Raises:
        ValueError: the traffic cannot be read or makes no sense.
    """
    from planner.simulation.simulate import World
    from planner.simulation.supply import Failures, GpuSupply, Startup
    from planner.simulation.traffic.drift import drifted

    traffic = traffic or traffic_of(settings)
    if settings.plant.osl_drift != 1.0:
        traffic = drifted(traffic, settings.plant.osl_drift)
    truth = settings.plant
    startup_s = settings.startup_s if truth.startup_s is None else truth.startup_s
    pools = pools_of(settings, profile)
    return World(
        traffic=traffic,
        promise=settings.sla.to_core(),
        plant=replace(plant_of(settings, profile), block_tokens=traffic.block_tokens),
        pools=tuple(pool.name for pool in pools),
        gpus_per_replica={pool.name: pool.gpus for pool in pools},
        startup=Startup(
            startup_s, settings.startup_spread, settings.seed, truth.slow_starts, truth.slow_factor, truth.hangs
        ),
        failures=Failures(truth.failures_s, settings.seed),
        supply=GpuSupply(truth.gpus, truth.shortages),
        scrape_s=settings.scrape_s,
        seed=settings.seed,
        notes=extrapolated(profile, float((traffic.input_tokens > profile.prefill.isl_range[1]).mean())),
    )


def extrapolated(profile: Profile, share: float) -> tuple[str, ...]:
    """What to say when a ``share`` of prompts is longer than any that was measured."""
    if share == 0:
        return ()
    longest = profile.prefill.isl_range[1]
    return (f"{share:.1%} of prompts are longer than the profile's range ({longest:,.0f} tokens): "
            "their prefill time is extrapolated",)  # fmt: skip


def initial_of(settings: SimulateSettings, profile: Profile, world: World) -> dict[str, int]:
    """The fleet that is ready at the start: as set, or the smallest that keeps the goal for five minutes."""
    from planner.simulation.fleets import initial_fleet

    if settings.initial:
        return dict(settings.initial)
    found = initial_fleet(world, settings.min_replicas, settings.max_replicas)
    return found if settings.budget_gpus is None else within_budget(policy_of(settings, profile), found)


def planner_of(policy: Policy) -> Decider:
    """A planner for simulation: its slow fits run inline and are adopted an interval later."""
    from planner.core.planner import Planner
    from planner.simulation.fits import PlannerWithFits

    return PlannerWithFits(Planner(policy), policy.interval_s)


def profile_of(settings: DeploymentSettings) -> Profile:
    """The profile that the settings name.

    Raises:
        ProfileError: there is none, or it cannot be used.
    """
    return profile_files.load(settings.profile)


def load_to_size(settings: SizeSettings) -> Load:
    """The load of the one-shot question: Poisson arrivals, lengths log-normal around their means."""
    return load_of((settings.rate,), around(settings.isl), 1.0, around(settings.osl))


def around(mean: float) -> Lengths:
    """Five equally likely lengths of a log-normal distribution with that mean."""
    from math import exp

    normal = (-1.4, -0.53, 0.0, 0.53, 1.4)  # medians of the fifths, standard normal
    raw = [exp(LENGTH_SPREAD * z) for z in normal]
    return Lengths(tuple(max(1.0, mean * r * len(raw) / sum(raw)) for r in raw), (0.2,) * 5)


__all__ = [
    "Role",
    "around",
    "extrapolated",
    "initial_of",
    "load_to_size",
    "planner_of",
    "plant_of",
    "policy_of",
    "pools_of",
    "profile_of",
    "step_of",
    "traffic_of",
    "world_of",
]
