"""Small worlds for tests of the core: an affine engine, loads, observations."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

from planner.core.buckets import DYNAMO_BUCKETS
from planner.core.histogram import Histogram
from planner.core.load import Lengths, Load, load_of
from planner.core.policy import Policy, Pool, Sla
from planner.core.profiles import DecodeCurve
from planner.core.types import Observation, PoolReading, Role, Window


@dataclass(frozen=True)
class AffinePrefill:
    """17 ms and 19 µs a token, as an 8B model on one H200."""

    isl_range: tuple[float, float] = (100.0, 16_000.0)

    def service_s(self, input_tokens: float) -> float:
        return 0.017 + 1.9e-5 * input_tokens


@dataclass(frozen=True)
class AffineDecode:
    """4.3 ms a step, 50 µs a sequence, 24 ns a KV token."""

    kv_capacity_tokens: float = 945_029.0

    def itl_s(self, sequences: float, context_tokens: float) -> float:
        return 0.0043 + 5e-5 * sequences + 2.4e-8 * sequences * context_tokens

    def at(self, context_tokens: float) -> DecodeCurve:
        ends = (1.0, self.kv_capacity_tokens)
        itl = tuple(self.itl_s(n, context_tokens) for n in ends)
        return DecodeCurve(ends, itl, self.kv_capacity_tokens / context_tokens)


@dataclass(frozen=True)
class AffineProfile:
    name: str = "affine"
    prefill: AffinePrefill = field(default_factory=AffinePrefill)
    decode: AffineDecode = field(default_factory=AffineDecode)


PROFILE = AffineProfile()
PREFILL = Pool("prefill", Role.PREFILL, PROFILE)  # type: ignore[arg-type]
DECODE = Pool("decode", Role.DECODE, PROFILE)  # type: ignore[arg-type]
AGGREGATED = Pool("aggregated", Role.AGGREGATED, PROFILE)  # type: ignore[arg-type]
SPLIT = (PREFILL, DECODE)
SLA = Sla(0.5, 0.025)
MINUTE = 60.0


def policy(**changes: object) -> Policy:
    """The slo law on two pools, unless told otherwise."""
    given: dict[str, object] = {"law": "slo", "sla": SLA, "pools": SPLIT, "predictor": "constant", **changes}
    return Policy(**given)  # type: ignore[arg-type]


def load(rate: float, isl: float = 1200.0, osl: float = 200.0, dispersion: float = 1.0) -> Load:
    """A load with three prompt lengths and some doubt about the rate."""
    prompt = Lengths((0.4 * isl, isl, 2.4 * isl), (0.4, 0.4, 0.2))
    output = Lengths((0.5 * osl, 1.5 * osl), (0.5, 0.5))
    return load_of(tuple(rate * k for k in (0.85, 0.95, 1.0, 1.05, 1.15)), prompt, 1.0, output, dispersion)


def histogram(signal: str, value: float, count: float) -> Histogram:
    """``count`` observations of one value in Dynamo's buckets."""
    edges = DYNAMO_BUCKETS[signal]
    place = next(i for i, edge in enumerate(edges) if value <= edge)
    return Histogram(tuple(edges), tuple(count if i == place else 0.0 for i in range(len(edges))), value * count)


def window(rate: float, seconds: float = 5.0, isl: float = 1200.0, osl: float = 200.0, ttft: float = 0.1,
           itl: float = 0.012) -> Window:  # fmt: skip
    """A window in which everything went as the arguments say."""
    n = rate * seconds
    return Window(
        seconds=seconds,
        started=n,
        finished=n,
        input_tokens=histogram("input_tokens", isl, n),
        output_tokens=histogram("output_tokens", osl, n),
        cached_tokens=0.0,
        generated_tokens=n * osl,
        ttft=histogram("ttft", ttft, n),
        itl=histogram("itl", itl, n * osl),
        duration=histogram("duration", ttft + itl * osl, n),
    )


def seen(at: float, rate: float | None, fleet: dict[str, int] | None = None, **more: float) -> Observation:
    """What one scrape shows: ``rate`` requests per second (``None``: blind), ``fleet`` asked for and ready."""
    fleet = fleet or {"prefill": 2, "decode": 2}
    pools = {name: PoolReading(requested=n, ready=n) for name, n in fleet.items()}
    return Observation(at, pools, None if rate is None else window(rate, **more))


rates = st.floats(0.01, 5000.0)
loads = st.builds(load, rates, st.floats(50.0, 12_000.0), st.floats(2.0, 3000.0), st.floats(1.0, 60.0))
