"""A deterministic simulation of the host: seeded, on a virtual clock, with doubles in memory."""

from proof.simulation.result import Result
from proof.simulation.world import simulate

__all__ = ["Result", "simulate"]
