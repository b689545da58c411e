"""Draw a suite of worlds at random, for ``planner compare --suite``: traffic, lengths, promise, truth, start-up, mode.

A law can be tuned to traces without anyone meaning to. These worlds are nobody's choice: a law meets what a seed draws.
``data/suites/drawn.yaml`` is the first 24 of seed 1.
"""

from __future__ import annotations

import random
from typing import Any

import click
import yaml

RECORDED = {
    "reason": (
        "reason_deepseek-r1_clients_10min.csv",
        "servegen-deepseek-r1",
        "lognormal:isl=1383,osl=1693",
        18.0,
        5.0,
        1.0,
    ),
    "burst": ("language_m-small_clients_10min.csv", "servegen-m-small", "lognormal:isl=123,osl=16", 8.0, 2.0, 0.1),
}
"""ServeGen's tables: file, data set, lengths where the set has none, latest start and length in hours, middle scale."""

TRUTHS: tuple[dict[str, float], ...] = (
    {}, {}, {"slower": 1.3}, {"slower": 0.7}, {"prefill_slower": 1.3}, {"decode_slope": 1.5}, {"osl_drift": 2.0},
)  # fmt: skip


@click.command()
@click.option("--worlds", default=24, show_default=True, help="How many.")
@click.option("--first", default=0, show_default=True, help="Number of the first.")
@click.option("--seed", default=1, show_default=True, help="Of the draw.")
def main(worlds: int, first: int, seed: int) -> None:
    """Print a suite of worlds drawn at random."""
    numbers, command = range(first, first + worlds), f"draw_worlds.py --worlds {worlds} --first {first} --seed {seed}"
    suite = {
        "description": f"Worlds drawn at random; made by scripts/{command}.",
        "sampled": "Two to five hours of each world, one seed.",
        "common": {"profile": "h200-llama31-8b-fp8-tp1"},
        "cases": {f"world {number}": drawn(random.Random(f"{seed}/{number}")) for number in numbers},
        "studies": [{"policies": ["slo", "static", "late"]}],
    }
    click.echo(yaml.safe_dump(suite, sort_keys=False, allow_unicode=True, width=118), nl=False)


def drawn(draw: random.Random) -> dict[str, Any]:
    """One case of a suite."""
    kind = draw.choice(["poisson", "sine", "sine", "ramp", "azure", "azure", *RECORDED])
    case, isl = _recorded(kind, draw) if kind in RECORDED else _azure(draw) if kind == "azure" else _made(kind, draw)
    ttft_s = max(0.3, 0.15 + 6e-5 * isl) * draw.choice([1, 2, 4])  # prefill alone takes about 20 µs a token
    case["settings"] = {
        "mode": draw.choice(["disaggregated", "disaggregated", "aggregated"]),
        "startup": draw.choice(["30s", "120s", "120s", "300s"]),
        "sla": {
            "ttft": f"{1e3 * ttft_s:.0f}ms",
            "itl": draw.choice(["12ms", "20ms", "25ms", "50ms"]),
            "goal": draw.choice([0.9, 0.95, 0.99, 0.99, 0.999]),
        },
    }
    if truth := draw.choice(TRUTHS):
        case["settings"]["plant"] = dict(truth)
    return case


def _recorded(kind: str, draw: random.Random) -> tuple[dict[str, Any], float]:
    """(case, mean prompt in tokens) of a stretch of a recorded client table."""
    file, data, lengths, latest, hours, middle = RECORDED[kind]
    start, scale = draw.uniform(0.0, latest), round(middle * 10 ** draw.uniform(-0.5, 0.5), 3)
    window = {"from": f"{start:.1f}h", "to": f"{start + hours:.1f}h", "scale": scale}
    traffic = [{"source": file, **window}, {"source": data, "lengths": lengths, **window}]
    return {"traffic": traffic, "get": data}, 1383.0 if kind == "reason" else 123.0


def _azure(draw: random.Random) -> tuple[dict[str, Any], float]:
    """Likewise, of four hours of the Azure week that is shipped."""
    start, scale = draw.uniform(0.0, 160.0), round(10 ** draw.uniform(0.0, 0.8), 2)
    window = {"from": f"{start:.1f}h", "to": f"{start + 4.0:.1f}h", "scale": scale}
    traffic = {"source": "azure2024_conv_1min_recon", "lengths": "azure2023_conv", **window, **_bursts(draw)}
    return {"traffic": [traffic]}, 1155.0


def _made(kind: str, draw: random.Random) -> tuple[dict[str, Any], float]:
    """Likewise, of a generator with its own lengths or those of the Azure trace."""
    rate, isl, osl = (
        10 ** draw.uniform(0.5, 2.2),
        draw.choice([300, 1000, 3000, 6000]),
        draw.choice([20, 100, 300, 1000]),
    )
    amplitude, period = draw.uniform(0.2, 0.9), draw.choice([1, 2, 4])
    source = {
        "poisson": f"poisson:rate={rate:.2f}/s,duration=2h",
        "sine": f"sine:mean={rate:.2f}/s,amplitude={amplitude:.2f},period={period}h,duration=4h",
        "ramp": f"ramp:low={0.3 * rate:.2f}/s,high={2.0 * rate:.2f}/s,duration=2h",
    }[kind]
    if draw.random() < 1 / 3:
        return {"traffic": [{"source": source, "lengths": "azure2023_conv", **_bursts(draw)}]}, 1155.0
    return {"traffic": [{"source": f"{source},isl={isl},osl={osl}", **_bursts(draw)}]}, float(isl)


def _bursts(draw: random.Random) -> dict[str, float]:
    return {"dispersion": draw.choice([2, 8, 30])} if draw.random() < 0.5 else {}


if __name__ == "__main__":
    main()
