"""An agent that serves AgentApi over a raw socket and behaves until it is told to misbehave."""

from surfaces_testing.agent.faults import BAD_FILES, ENDLESS, FAULTS, Fault, half_then, in_turn, lay_bad_files, sends
from surfaces_testing.agent.memory import END, STATUS, chunk
from surfaces_testing.agent.record import Connected, Received, Record, busiest_second
from surfaces_testing.agent.schedule import Faults
from surfaces_testing.agent.server import FakeAgent
from surfaces_testing.agent.wire import Wire, encode

__all__ = [
    "BAD_FILES",
    "END",
    "ENDLESS",
    "FAULTS",
    "STATUS",
    "Connected",
    "FakeAgent",
    "Fault",
    "Faults",
    "Received",
    "Record",
    "Wire",
    "busiest_second",
    "chunk",
    "encode",
    "half_then",
    "in_turn",
    "lay_bad_files",
    "sends",
]
