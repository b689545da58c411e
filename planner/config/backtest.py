"""Settings of a backtest: those of the live planner, and of the plant that its past traffic is served by."""

from __future__ import annotations

from typing import Literal

from planner.config.live import LiveSettings
from planner.config.settings import OutputSettings, PlantSettings, setting
from planner.config.values import Duration, Number, Text, Whole


class BacktestSettings(LiveSettings):
    """One policy on the traffic that Prometheus remembers."""

    from_: Text | None = setting("Start of the period: a date like 2026-11-17T00:00:00Z, or seconds since the epoch.",
                                 None, alias="from", flag="--from")  # fmt: skip
    to: Text | None = setting("End of the period; without it now.", None, flag="--to")
    last_s: Duration | None = setting("The period before its end, as in 7d; instead of from.", None, alias="last",
                                      flag="--last", gt=0)  # fmt: skip
    bin_s: Duration = setting("Requests are counted in bins of this length; what happens inside is drawn.", 60.0,
                              alias="bin", flag="--bin", gt=0)  # fmt: skip
    gaps: Number = setting("Refuse when a larger share of the period was not measured.", 0.2, flag="--gaps", ge=0, lt=1)
    router: Literal["round-robin", "least-loaded", "kv"] = setting(
        "How a worker is chosen.", "least-loaded", flag="--router"
    )
    startup_spread: Number = setting("Standard deviation of the logarithm of start-up times.", 0.0,
                                     flag="--startup-spread", ge=0, le=3)  # fmt: skip
    plant: PlantSettings = setting("The truth, where it differs from the belief.", PlantSettings())
    seed: Whole = setting("Seed of all that is drawn: arrivals, lengths, start-ups, failures.", 1, flag="--seed", ge=0)
    outputs: OutputSettings = setting("Where results go.", OutputSettings())
    min_attainment: Number | None = setting("Exit code 1 when a smaller share of requests kept both promises.", None,
                                            flag="--min-attainment", ge=0, le=1)  # fmt: skip
