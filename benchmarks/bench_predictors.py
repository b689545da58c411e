"""Quality and cost of the default predictor on 3-minute sums of public traces, against the last value.

The Azure week ships with the project; BurstGPT and deepseek-r1 are read from the folder that
SLA_PLANNER_SHARED names and are left out without it.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

from planner.commands.backtest_predictors import series_of
from predictors.backtest import backtest
from predictors.registry import make

STEP_S = 180.0
SHARED = {
    "BurstGPT week": "traces/burstgpt_week1/burstgpt_week1_tokens_per_s_1min.csv.gz",
    "deepseek-r1 day": "traces/servegen/reason_deepseek-r1_1min_expanded.csv.gz",
}


def sources() -> dict[str, str]:
    found = {"Azure 2024 conversation week": "azure2024_conv_1min_recon"}
    shared = os.environ.get("SLA_PLANNER_SHARED")
    return found | ({name: str(Path(shared) / file) for name, file in SHARED.items()} if shared else {})


def main() -> None:
    ratios = []
    for name, source in sources().items():
        values = series_of(source, STEP_S)
        base = {s.steps: s.wape for s in backtest("constant", values, STEP_S, (1, 3))}
        for score in backtest("default", values, STEP_S, (1, 3)):
            ratio = score.wape / base[score.steps]
            if score.steps == 3:
                ratios.append(ratio)
            coverage = "–" if score.coverage is None else f"{score.coverage:.3f}"
            print(
                f"{name:30s} {score.steps} ahead: WAPE {score.wape:.4f} ({ratio:.3f} of constant), "
                f"q0.9 covers {coverage} of {score.origins:,}"
            )
    print(f"geometric mean three steps ahead: {math.exp(sum(map(math.log, ratios)) / len(ratios)):.4f} of constant")
    predictor = make("default", STEP_S)
    started = time.perf_counter()
    for i in range(2000):
        predictor.update(i * STEP_S, 100.0 + i % 17)
        predictor.path(5)
    print(f"update and five steps ahead: {(time.perf_counter() - started) / 2000 * 1e3:.3f} ms")


if __name__ == "__main__":
    main()
