"""Follows a program at the level of its system calls: what it writes, syncs and sends, and kills it at any of them.

A tracer of our own, over ptrace by ctypes, for three reasons: the `strace` program is not everywhere,
python-ptrace cannot let uninteresting calls run at full speed, and to kill right before or right after
the n-th call takes both stops of that call and nothing else. `python -m proof.trace --help` says how.
"""

from __future__ import annotations

from proof.trace.calls import NAMES, SENDS, SYNCS, WRITES, Call, Kill, Kind, Side, Summary, Trace, joined, read
from proof.trace.command import FORBIDDEN, traced
from proof.trace.disk import Disk, after_power_cut, disks
from proof.trace.traffic import Frame, Request, sent

__all__ = [
    "FORBIDDEN",
    "NAMES",
    "SENDS",
    "SYNCS",
    "WRITES",
    "Call",
    "Disk",
    "Frame",
    "Kill",
    "Kind",
    "Request",
    "Side",
    "Summary",
    "Trace",
    "after_power_cut",
    "disks",
    "joined",
    "read",
    "sent",
    "traced",
]
