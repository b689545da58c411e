"""What the planner believes of the engine, against what it is to promise and what really comes."""

from __future__ import annotations

from collections.abc import Iterator

from planner.commands._checkup.finding import Finding, fine, problem, warning
from planner.core.histogram import Histogram
from planner.core.load import Load, lengths_of, load_of
from planner.core.policy import Policy
from planner.core.sizing import slo
from planner.replay.past import Past, merged_histogram


def profile(policy: Policy) -> Iterator[Finding]:
    """The profile by itself."""
    used = policy.pools[0].profile
    origin = used.provenance
    kind = "measured" if origin.measured else "estimated"
    yield fine("profile", used.name, f"{kind}: {origin.model} on {origin.gpu}, {origin.engine} {origin.engine_version}")
    if used.repairs:
        yield warning(
            "profile",
            used.name,
            f"{len(used.repairs)} points contradict their neighbours and are read as their middle: profiler show "
            f"{used.name} lists them",
        )


def traffic(policy: Policy, past: Past) -> Iterator[Finding]:
    """What came of late, and whether the profile and the promise reach so far."""
    bins = past.bins
    if not bins:
        yield warning("traffic", "last hour", "nothing was measured, so promise and profile are not held against it")
        return
    requests = sum(one.requests for one in bins)
    if requests <= 0:
        yield warning("traffic", "last hour", "no request came, so promise and profile are not held against any")
        return
    prompts, answers = merged_histogram(bins, "input_tokens"), merged_histogram(bins, "output_tokens")
    rate = requests / past.known_s
    yield fine("traffic", "last hour", f"{rate:.3g} requests/s" + _lengths(prompts, answers))
    if prompts is not None:
        yield _reach(policy, prompts)
    if prompts is not None and answers is not None:
        yield from _promise(policy, _load(rate, prompts, answers))


def _lengths(prompts: Histogram | None, answers: Histogram | None) -> str:
    said = ""
    for what, histogram in (("prompts", prompts), ("answers", answers)):
        if histogram is not None and histogram.mean is not None:
            said += f", {what} of {histogram.mean:,.0f} tokens on average"
    return said


def _reach(policy: Policy, prompts: Histogram) -> Finding:
    """Prompts against the lengths that were profiled."""
    used = policy.pools[0].profile
    longest = used.prefill.isl_range[1]
    bracket = prompts.share_at_most(longest)
    assert bracket is not None  # requests came, so lengths were seen
    beyond = 1.0 - bracket[0]
    if beyond > 0.001:
        return warning(
            "profile",
            "prompt lengths",
            f"up to {beyond:.1%} of prompts are longer than the {longest:,.0f} tokens that {used.name} was measured up "
            "to: their times are extrapolated",
        )
    return fine(
        "profile", "prompt lengths", f"all within the {longest:,.0f} tokens that {used.name} was measured up to"
    )


def _load(rate: float, prompts: Histogram, answers: Histogram) -> Load:
    return load_of((rate,), lengths_of(prompts), 1.0, lengths_of(answers))


def _promise(policy: Policy, load: Load) -> Iterator[Finding]:
    """Whether any fleet keeps the promise for this traffic, and whether the limits leave enough of one."""
    from planner.core.constraints import constrain

    answer = slo.size(policy.pools, policy.sla, load)
    beyond = answer.unreachable
    yield from (problem("traffic", "sla", text) for text in beyond)
    if beyond:
        return
    wanted = answer.replicas
    _, moved = constrain(policy, wanted, [])
    fleet = ", ".join(f"{pool} {n}" for pool, n in wanted.items())
    short = [f"{a.pool} {a.before} → {a.after} ({a.reason.value})" for a in moved if a.after < a.before]
    if short:
        yield problem(
            "traffic", "limits", f"the last hour's traffic needs {fleet}, the limits leave {'; '.join(short)}"
        )
    else:
        yield fine("traffic", "sla", f"can be kept for the last hour's traffic, by about {fleet}")
