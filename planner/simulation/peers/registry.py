"""Every peer, by name."""

from __future__ import annotations

from collections.abc import Mapping

from planner.simulation.peers.apa import APA
from planner.simulation.peers.api import Peer
from planner.simulation.peers.dynamo import LATENCY, THROUGHPUT
from planner.simulation.peers.dynamo_sla import SLA_ARIMA, SLA_CONSTANT, SLA_KALMAN, SLA_PROPHET
from planner.simulation.peers.hpa import HPA, HPA_KV
from planner.simulation.peers.keda import KEDA_SLO, KEDA_TOKENS
from planner.simulation.peers.kpa import KPA
from planner.simulation.peers.kthena import KTHENA, KTHENA_RATIO
from planner.simulation.peers.wva import V1, V2

_ALL: tuple[Peer, ...] = (
    HPA,
    HPA_KV,
    KPA,
    APA,
    KTHENA,
    KTHENA_RATIO,
    KEDA_SLO,
    KEDA_TOKENS,
    V1,
    V2,
    THROUGHPUT,
    LATENCY,
    SLA_ARIMA,
    SLA_CONSTANT,
    SLA_KALMAN,
    SLA_PROPHET,
)

PEERS: Mapping[str, Peer] = {peer.name: peer for peer in _ALL}
