"""Every peer, by name."""

from __future__ import annotations

from collections.abc import Mapping

from planner.simulation.peers.api import Peer

_ALL: tuple[Peer, ...] = ()

PEERS: Mapping[str, Peer] = {peer.name: peer for peer in _ALL}
