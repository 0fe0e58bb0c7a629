"""A Matrix homeserver in memory that behaves like Synapse until it is told to misbehave."""

from surfaces_testing.homeserver.accounts import Device, User
from surfaces_testing.homeserver.call import Answer
from surfaces_testing.homeserver.errors import MatrixError
from surfaces_testing.homeserver.event import Event
from surfaces_testing.homeserver.faults import (
    Changed,
    Dropped,
    Endless,
    Fault,
    Html,
    Lost,
    Mutated,
    Nothing,
    Reset,
    Restless,
    Scrambled,
    Slow,
    SlowHead,
    Stall,
    Status,
    Truncated,
    Wire,
    WrongLength,
    huge,
    limited,
    missing_next_batch,
    repeated,
    revoked,
    scrambled,
    unknown_since,
)
from surfaces_testing.homeserver.person import Person
from surfaces_testing.homeserver.record import Record, Request
from surfaces_testing.homeserver.room import Room
from surfaces_testing.homeserver.schedule import COMMON, Faults
from surfaces_testing.homeserver.scrambling import scramble
from surfaces_testing.homeserver.server import PASSWORD, FakeHomeserver
from surfaces_testing.homeserver.shown import Shown

__all__ = [
    "COMMON",
    "PASSWORD",
    "Answer",
    "Changed",
    "Device",
    "Dropped",
    "Endless",
    "Event",
    "FakeHomeserver",
    "Fault",
    "Faults",
    "Html",
    "Lost",
    "MatrixError",
    "Mutated",
    "Nothing",
    "Person",
    "Record",
    "Request",
    "Reset",
    "Restless",
    "Room",
    "Scrambled",
    "Shown",
    "Slow",
    "SlowHead",
    "Stall",
    "Status",
    "Truncated",
    "User",
    "Wire",
    "WrongLength",
    "huge",
    "limited",
    "missing_next_batch",
    "repeated",
    "revoked",
    "scramble",
    "scrambled",
    "unknown_since",
]
