"""``planner size``: how many workers for this load and this promise?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Console

from planner import config, wiring
from planner.answers import told
from planner.commands._options import given, settings_options
from planner.config import SizeSettings
from planner.core.load import Load
from planner.core.policy import Policy, Pool, Promise, Sla, What
from planner.core.profiles import Profile
from planner.core.sizing import slo
from planner.core.sizing.model import PoolModel
from planner.core.types import Expected, Reason

SCHEMA = "sla-planner/size.v1"


@click.command("size")
@click.argument("configuration", required=False, metavar="[CONFIG.yaml]")
@settings_options(SizeSettings, without=("--cost", "--interval"))
@click.option("--interval", metavar="DURATION", help="For scripts that give one: no law's answer depends on it.")
def command(configuration: str | None, **options: Any) -> None:
    """How many workers for this load and this promise?

    Exit code 1 when no number of workers keeps it (or the budget does not reach): the answer is still complete,
    sized for the best that can be had.
    """
    file = config.find(configuration) if configuration else None
    settings = config.load(SizeSettings, file, given(SizeSettings, options))
    answer = sized(settings, wiring.profile_of(settings))
    with told(answer, settings.outputs.json_file) as console:
        _show(answer, console)
    raise SystemExit(0 if answer["feasible"] else 1)


def sized(settings: SizeSettings, profile: Profile) -> dict[str, Any]:
    """The answer as the JSON object of the documentation."""
    pools = wiring.pools_of(settings, profile)
    sla, load = settings.sla.to_core(), wiring.load_to_size(settings)
    policy = Policy(settings.law, sla, pools, budget_gpus=settings.budget_gpus)
    parts = slo.models(pools, sla, load, settings.correction)
    asked = slo.by_promise(sla, parts)
    if settings.law == "slo":
        wanted, problems = slo.fewest(pools, sla, parts), _beyond(asked)
        worth = lambda name, n: parts[name].missed_per_s(n)  # noqa: E731
    elif settings.law == "classic":
        wanted, problems, worth = _classic(settings, profile, pools), [], None
    else:
        raise ValueError("law static has nothing to size: its fleet is given; use --law slo or classic")
    from planner.core.constraints import constrain

    fleet, adjustments = constrain(policy, wanted, [], worth)
    expected = slo.expect(pools, parts, load, fleet)
    endless = _endless(settings, wanted)
    problems += endless.values()
    moved = [a for a in adjustments if a.reason is not Reason.MAX_REPLICAS or a.pool not in endless]
    reasons = [*problems, *(f"{a.pool}: {a.reason.value} {a.before} → {a.after}" for a in moved)]
    promises = [_kept(sla, promise, own, load, fleet) for promise, own in asked.items()]
    short = [] if settings.law != "slo" else [one["promise"] for one in promises if one["kept"] is False]
    if short and not problems:
        reasons.append(_short(sla, expected, short))
    return {
        "schema": SCHEMA,
        "law": settings.law,
        "pools": dict(fleet),
        "gpus": sum(fleet[pool.name] * pool.gpus for pool in pools),
        "feasible": not problems and not short,
        "expected": {
            "ttft_seconds": expected.ttft_s,
            "itl_seconds": expected.itl_s,
            "attainment": expected.attainment,
        },
        "promises": promises,
        "reasons": reasons,
        "notes": _notes(profile, settings.isl),
    }


def _beyond(asked: Mapping[Promise, Mapping[str, PoolModel]]) -> list[str]:
    return [said for own in asked.values() for said in slo.unreachable(own)]


def _endless(settings: SizeSettings, wanted: Mapping[str, int]) -> dict[str, str]:
    """A sentence for every pool that would have to be larger than anything is sized, and has no limit of its own."""
    beyond = [name for name, n in wanted.items() if n >= slo.MOST and name not in settings.max_replicas]
    return {name: f"{name}: sizing ends at {slo.MOST:,} replicas, and this load asks for more" for name in beyond}


def _notes(profile: Profile, isl: float) -> list[str]:
    lengths, longest = wiring.around(isl), profile.prefill.isl_range[1]
    share = sum(share for tokens, share in zip(lengths.values, lengths.shares, strict=True) if tokens > longest)
    return list(wiring.extrapolated(profile, share))


def _kept(sla: Sla, promise: Promise, parts: Mapping[str, PoolModel], load: Load,
          fleet: Mapping[str, int]) -> dict[str, Any]:  # fmt: skip
    """A promise, and whether the model expects the fleet to keep it."""
    return {
        "promise": promise.name,
        "target": sla.goal if promise.what is What.BOTH else sla.target_s(promise.what),
        "kept": not slo.unreachable(parts) and slo.within_reach(promise, parts, load, fleet),
    }


def _short(sla: Sla, expected: Expected, short: Sequence[str]) -> str:
    """What a fleet that the limits took replicas from falls short of (the classic law never promised)."""
    if sla.is_joint:
        return (
            f"the limits leave an expected attainment of {expected.attainment or 0.0:.1%}, the goal is {sla.goal:.1%}"
        )
    return f"the limits do not leave enough for {' and '.join(short)}"


def _classic(settings: SizeSettings, profile: Profile, pools: tuple[Pool, ...]) -> dict[str, int]:
    from planner.core.sizing import classic

    prefill, decode = classic.pair(pools)
    interval = settings.decision_interval_s
    found = classic.size(
        profile,
        requests=settings.rate * interval,
        isl=settings.isl,
        osl=settings.osl,
        interval_s=interval,
        itl_s=settings.sla.itl_s,
        prefill_correction=settings.correction.get(prefill.name, 1.0),
        decode_correction=settings.correction.get(decode.name, 1.0),
        prefill_gpus=prefill.gpus,
        decode_gpus=decode.gpus,
        min_endpoint=max(1, min(prefill.min_replicas, decode.min_replicas)),
        budget=settings.budget_gpus,  # the peer's own rounding; where it overshoots, the hard budget follows
    )
    return {prefill.name: found[0], decode.name: found[1]}


def _show(answer: dict[str, Any], console: Console) -> None:
    from rich.table import Table

    table = Table(title=f"law {answer['law']}: {answer['gpus']} GPUs")
    table.add_column("pool")
    table.add_column("replicas", justify="right")
    for pool, replicas in answer["pools"].items():
        table.add_row(pool, str(replicas))
    console.print(table)
    expected = answer["expected"]
    console.print(
        f"expected: TTFT {_ms(expected['ttft_seconds'])}, ITL {_ms(expected['itl_seconds'])}, "
        f"attainment {'unknown' if expected['attainment'] is None else format(expected['attainment'], '.2%')}"
    )
    for reason in answer["reasons"]:
        console.print(f"! {reason}", style="yellow")
    for note in answer["notes"]:
        console.print(f"note: {note}", style="dim")
    if not answer["feasible"]:
        console.print("The promise cannot be kept as asked.", style="bold red")


def _ms(seconds: float | None) -> str:
    return "beyond saturation" if seconds is None else f"{seconds * 1e3:.1f} ms"
