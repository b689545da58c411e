"""The laws of other autoscalers, for the arena. Each is a small module with its source and its shipped defaults."""

from planner.simulation.peers.api import Peer, Site
from planner.simulation.peers.registry import PEERS

__all__ = ["PEERS", "Peer", "Site"]
