"""Every setting, with its meaning, its unit and its default: the one place that flags, YAML and reference come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from planner.config.values import (
    Counts,
    Duration,
    Factors,
    File,
    Latency,
    Names,
    Number,
    Rate,
    Replicas,
    Slowness,
    Stretches,
    Text,
    Whole,
)
from planner.core.policy import Sla
from planner.core.types import Role

POOLS: dict[str, dict[str, Role]] = {
    "disaggregated": {"prefill": Role.PREFILL, "decode": Role.DECODE},
    "aggregated": {"aggregated": Role.AGGREGATED},
}
"""Pools of every mode, and what their workers do."""
INTERVALS_S = {"slo": 60.0, "classic": 180.0, "static": 60.0}
"""Seconds between full decisions, as the authors of each law ship it."""
LONGEST_TOKENS = 131_072
"""Longest mean length to size for: that of the simulated traffic, far beyond what was measured."""


def setting(description: str, default: Any = ..., *, flag: str | None = None, **limits: Any) -> Any:
    """A field of the settings; ``flag`` is its name on the command line, if it has one there."""
    return Field(default, description=description, json_schema_extra={"flag": flag}, **limits)


class Settings(BaseModel):
    """Frozen, closed to unknown keys, without NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SlaSettings(Settings):
    """The promise: a share of all requests with both latencies within their targets, or each measured by itself."""

    ttft: Latency = setting(
        "Time to first token to keep; p95:500ms or mean:500ms promises that percentile or mean by itself.",
        flag="--ttft",
    )
    itl: Latency = setting(
        "Mean time between the tokens of a request to keep; p90:25ms or mean:25ms as for TTFT.", flag="--itl"
    )
    goal: Number = setting("Share of requests that keep both, or what has no measure of its own.", 0.99,
                           flag="--goal", gt=0, lt=1)  # fmt: skip

    @property
    def ttft_s(self) -> float:
        """Time to first token to keep, in seconds."""
        return self.ttft.seconds

    @property
    def itl_s(self) -> float:
        """Mean time between the tokens of a request to keep, in seconds."""
        return self.itl.seconds

    def to_core(self) -> Sla:
        """The promise as the core knows it."""
        return Sla(self.ttft_s, self.itl_s, self.goal, self.ttft.measure, self.itl.measure)


class TrafficSettings(Settings):
    """Which requests arrive: a recorded trace, rates, or a generator."""

    source: Text = setting(
        "A file or folder, the name of shipped traffic, or a generator like poisson:rate=20/s,duration=10m.",
        flag="--traffic",
    )
    format: Literal["azure", "mooncake", "burstgpt", "servegen", "rates"] | None = setting(
        "Format of the file; without it the content tells.", None, flag="--format"
    )
    lengths: Text | None = setting(
        "A recorded trace whose pairs of prompt and answer length are drawn for rates and generators.",
        None,
        flag="--lengths",
    )
    scale: Number = setting(
        "Rates are multiplied by this; a recorded trace is thinned below 1 and gets jittered copies above.",
        1.0,
        flag="--scale",
        gt=0,
    )
    from_s: Duration = setting("Start of the part to simulate, from the trace's begin.", 0.0, alias="from",
                               flag="--from", ge=0)  # fmt: skip
    to_s: Duration | None = setting("End of the part to simulate; without it the trace's end.", None, alias="to",
                                    flag="--to", gt=0)  # fmt: skip
    dispersion: Number | None = setting(
        "Shape of a Gamma factor on every second's rate (smaller is burstier); for rates and generators only.",
        None,
        flag="--dispersion",
        gt=0,
    )
    isl: Number | None = setting(
        "Mean prompt length in tokens, where the traffic does not tell.", None, flag="--isl", ge=1
    )
    osl: Number | None = setting(
        "Mean answer length in tokens, where the traffic does not tell.", None, flag="--osl", ge=1
    )


class PlantSettings(Settings):
    """The truth of the simulated workers, where it differs from what the planner believes."""

    slower: Number = setting("All times of the engine, as a multiple of the profile's.", 1.0, flag="--plant-slower",
                             gt=0, le=100)  # fmt: skip
    prefill_slower: Number = setting("Prefill times, as a multiple; on top of slower.", 1.0,
                                     flag="--plant-prefill-slower", gt=0, le=100)  # fmt: skip
    decode_slower: Number = setting("Decode step times, as a multiple; on top of slower.", 1.0,
                                    flag="--plant-decode-slower", gt=0, le=100)  # fmt: skip
    decode_slope: Number = setting("What grows in a decode step with sequences and KV, as a multiple.", 1.0,
                                   flag="--plant-decode-slope", gt=0, le=100)  # fmt: skip
    startup_s: Duration | None = setting("True mean start-up; without it what the planner is told.", None,
                                         alias="startup", flag="--plant-startup", ge=0)  # fmt: skip
    osl_drift: Number = setting("Answer lengths grow steadily to this multiple at the end of the run.", 1.0,
                                flag="--plant-osl-drift", gt=0, le=100)  # fmt: skip
    timeout_s: Duration | None = setting("Clients give up when the first token takes longer.", None, alias="timeout",
                                         flag="--timeout", gt=0)  # fmt: skip
    retries: Whole = setting("How often a client that gave up tries again.", 0, flag="--retries", ge=0, le=100)
    backoff_s: Duration = setting("Wait before the first retry, doubled with each.", 1.0, alias="backoff",
                                  flag="--backoff", ge=0)  # fmt: skip
    failures_s: Duration | None = setting("Mean time between failures of one worker; without it none fails.", None,
                                          alias="failures", flag="--failures", gt=0)  # fmt: skip
    hangs: Number = setting("Share of workers that start for ever and never become ready.", 0.0, flag="--hangs",
                            ge=0, lt=1)  # fmt: skip
    slow_starts: Number = setting("Share of workers whose start-up takes slow_factor times as long.", 0.0,
                                  flag="--slow-starts", ge=0, le=1)  # fmt: skip
    slow_factor: Number = setting("How many times as long a slow start-up takes.", 3.0, ge=1, le=1000)
    shortages: Stretches = setting(
        "Stretches of the run in which no new GPUs are to be had: workers that are asked for wait for theirs.", (),
        flag="--shortages")  # fmt: skip
    gpus: Whole | None = setting("GPUs that there are for all pools together; without it any number.", None,
                                 flag="--plant-gpus", ge=1)  # fmt: skip
    migrate: bool = setting("Requests of a worker that fails go on elsewhere instead of being lost.", False,
                            flag="--migrate")  # fmt: skip
    overlap_weight: Number = setting("Weight of cached prefixes in the kv router's cost.", 1.0, ge=0)
    chunk_tokens: Whole = setting("Tokens that a worker takes into one step, of prompts and decoding sequences.", 2048,
                                  ge=1)  # fmt: skip
    prompts_together: bool = setting(
        "Prompts share a step and the fixed part of prefill time, in prefill workers too, as in vLLM.", False
    )


class JsonSettings(Settings):
    """Where results go."""

    json_file: File | None = setting("Results as one JSON object, to a file or - for standard output.", None,
                                     alias="json", flag="--json")  # fmt: skip


class OutputSettings(JsonSettings):
    """Where results go."""

    report: File | None = setting("One self-contained HTML page.", None, flag="--report")
    plots: File | None = setting("A folder for timelines as PNG.", None, flag="--plots")
    decisions: File | None = setting("The decision log, one JSON object a line.", None, flag="--decisions")


class FurtherPool(Settings):
    """A pool beside those of the mode: other GPUs for one of its roles."""

    role: Role = setting("What its workers do: prefill, decode or aggregated.")
    profile: Text | None = setting("Its own measured profile; without it that of the others.", None)
    slower: Number = setting(
        "All times of its engine, as a multiple of its profile's: an assumption, where nothing was measured.", 1.0,
        gt=0, le=100)  # fmt: skip


class DeploymentSettings(Settings):
    """What is deployed, what it promises and what it may cost."""

    profile: Text = setting("The engine's measured profile: the name of a shipped one, or a file.", flag="--profile")
    mode: Literal["disaggregated", "aggregated"] = setting(
        "Prefill and decode in pools of their own, or in the same workers.", "disaggregated", flag="--mode"
    )
    law: Literal["slo", "classic", "static"] = setting("How the fleet is sized.", "slo", flag="--law")
    sla: SlaSettings = setting("The promise.")
    interval_s: Duration | None = setting(
        "Time between full decisions; without it 60 s for slo, 180 s for classic.", None, alias="interval",
        flag="--interval", gt=0)  # fmt: skip
    min_replicas: Replicas = setting("Never fewer, by pool; without it 1.", {}, flag="--min-replicas")
    max_replicas: Counts = setting("Never more, by pool; without it unlimited.", {}, flag="--max-replicas")
    gpus_per_replica: Counts = setting("GPUs of one replica, by pool; without it the profile's.", {},
                                       flag="--gpus-per-replica")  # fmt: skip
    budget_gpus: Whole | None = setting("Never more GPUs than this in all pools together.", None, alias="budget",
                                        flag="--budget", ge=1)  # fmt: skip
    cost: Factors = setting("Cost of a GPU-hour, by pool; without it 1.", {}, flag="--cost")
    further: Mapping[Text, FurtherPool] = setting(
        "More pools, of other GPUs, by name: role, slower, profile; never fewer than 0 unless min_replicas says so.", {}
    )

    @property
    def pools(self) -> dict[str, Role]:
        """Pools of the mode and further ones, and what their workers do."""
        return {**POOLS[self.mode], **{name: pool.role for name, pool in self.further.items()}}

    @property
    def decision_interval_s(self) -> float:
        """Seconds between full decisions: as set, or the law's own."""
        return INTERVALS_S[self.law] if self.interval_s is None else self.interval_s


class ControlSettings(DeploymentSettings):
    """How a fleet is steered over time."""

    predictor: Text = setting("What forecasts the load.", "default", flag="--predictor")
    replicas: Replicas = setting("The fixed fleet of the static law, by pool.", {}, flag="--replicas")
    startup_s: Duration = setting("Mean time from asking for a worker until it serves, until it has been measured.",
                                  120.0, alias="startup", flag="--startup", ge=0)  # fmt: skip
    stabilization_s: Duration = setting("A dip must outlive this before replicas go (slo).", 300.0,
                                        alias="stabilization", flag="--stabilization", ge=0)  # fmt: skip


class SizeSettings(DeploymentSettings):
    """One load, one promise: how many workers?"""

    rate: Rate = setting("Requests that arrive per unit of time.", flag="--rate", gt=0, le=1e9)
    isl: Number = setting("Mean prompt length in tokens.", flag="--isl", ge=1, le=LONGEST_TOKENS)
    osl: Number = setting("Mean answer length in tokens.", flag="--osl", ge=1, le=LONGEST_TOKENS)
    correction: Slowness = setting(
        "Observed over profiled latency, by pool: 1.5 means half as slow again as the profile says.", {},
        flag="--correction")  # fmt: skip
    outputs: JsonSettings = setting("Where results go.", JsonSettings())


class SimulateSettings(ControlSettings):
    """One policy on one stretch of traffic."""

    description: str = setting("What this scenario shows, for people.", "")
    traffic: TrafficSettings = setting("Which requests arrive. A plain string is its source.")
    router: Literal["round-robin", "least-loaded", "kv"] = setting(
        "How a worker is chosen; kv prefers cached prefixes.", "least-loaded", flag="--router"
    )
    initial: Replicas = setting(
        "Ready replicas at the start, by pool; without it the smallest fleet that keeps the goal for five minutes.",
        {},
        flag="--initial",
    )
    scrape_s: Duration = setting("Time between looks at the metrics.", 5.0, alias="scrape", flag="--scrape", gt=0)
    startup_spread: Number = setting("Standard deviation of the logarithm of start-up times.", 0.0,
                                     flag="--startup-spread", ge=0, le=3)  # fmt: skip
    plant: PlantSettings = setting("The truth, where it differs from the belief.", PlantSettings())
    seed: Whole = setting("Seed of all that is drawn: arrivals, lengths, start-ups, failures.", 1, flag="--seed", ge=0)
    outputs: OutputSettings = setting("Where results go.", OutputSettings())
    min_attainment: Number | None = setting("Exit code 1 when a smaller share of requests kept both promises.", None,
                                            flag="--min-attainment", ge=0, le=1)  # fmt: skip


class CompareSettings(SimulateSettings):
    """Several policies on the same traffic."""

    policies: Names = setting(
        "Names of the policies to compare, as in slo,classic+arima,static,hpa,hpa:tuned,slo:correction_gain=0.",
        ("slo", "classic", "static"), flag="--policies", min_length=1)  # fmt: skip
    seeds: Whole = setting("How many seeds to run, from seed on: means with 95 % intervals.", 1, flag="--seeds", ge=1,
                           le=100)  # fmt: skip
