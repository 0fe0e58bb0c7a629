"""A deterministic simulation of the host: seeded, on a virtual clock, with doubles in memory."""

from proof.simulation.result import Result
from proof.simulation.running import simulate

__all__ = ["Result", "simulate"]
