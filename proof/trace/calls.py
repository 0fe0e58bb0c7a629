"""What is recorded of a traced program: its calls, one JSON line each, and a summary behind them."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self, get_args

Kind = Literal["fsync", "write", "send", "name"]
"""A call that makes durable, that changes a file's content, that lets bytes leave, that changes a folder."""
Side = Literal["before", "after"]

SYNCS = frozenset({"fsync", "fdatasync"})
WRITES = frozenset({"write", "pwrite64", "writev", "pwritev", "pwritev2"})
SENDS = frozenset({"sendto", "sendmsg", "sendmmsg", "sendfile"})
NAMES = frozenset({"rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat"})
_TIDS = 1 << 22
"""There are no more threads than that (proc(5), `pid_max`)."""
_CHANGES = WRITES | {"ftruncate", "sendfile"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """Which call the program must not outlive."""

    kind: Kind
    side: Side
    count: int
    """The how many-th of its kind."""

    def __str__(self) -> str:
        return f"{self.kind}-{self.side}-{self.count}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `KIND-SIDE-COUNT`. Raises `ValueError`."""
        for kind in get_args(Kind):
            for side in get_args(Side):
                count = text.removeprefix(f"{kind}-{side}-")
                if count != text and count.isdecimal():
                    return cls(kind=kind, side=side, count=int(count))
        raise ValueError(f"{text!r} is no KIND-SIDE-COUNT such as fsync-before-3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One system call. `begun` and `ended` come from one clock that ticks at every stop of every thread.

    What ended at an earlier tick than something else began at has happened before it: a thread stands
    still while its tick is taken, before its call is made and after the kernel has done it.
    """

    begun: int
    name: str
    tid: int
    kind: Kind | None = None
    """None for what is of no interest: a log, a pipe, a file elsewhere."""
    fd: int = -1
    path: str = ""
    """The file or folder behind `fd`, or that was named."""
    to: str = ""
    """The new name."""
    peer: str = ""
    """`address:port` behind a TCP socket."""
    size: int = 0
    """The bytes that were to be written or sent, or the length to cut to."""
    ended: int | None = None
    """None when it did not end: the program died."""
    result: int | None = None
    """Bytes, or 0, or a negative error number."""
    offset: int | None = None
    """Where in the file the bytes went."""
    data: bytes = b""
    """The bytes that were written or sent, of calls with a kind."""

    def line(self) -> str:
        """As it is recorded."""
        values = {**asdict(self), "data": base64.b64encode(self.data).decode()}
        return json.dumps({"call": values})


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How the program ended, and how many calls of each kind it began."""

    counts: Mapping[str, int] = field(default_factory=dict)
    killed: bool = False
    """The call that it must not outlive was reached."""
    asked_at: int | None = None
    """The tick at which it was asked to end (SIGTERM), if it was."""

    def line(self) -> str:
        """As it is recorded."""
        return json.dumps({"summary": {"counts": dict(self.counts), "killed": self.killed, "asked_at": self.asked_at}})


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A whole record; calls in the order in which they began."""

    calls: Sequence[Call]
    summary: Summary

    def counts_of_work(self) -> Counter[str]:
        """How many calls of each kind began before it was asked to end."""
        end = self.summary.asked_at
        return Counter(call.kind for call in self.calls if call.kind and (end is None or call.begun <= end))


def joined(traces: Sequence[Trace]) -> Trace:
    """Lives of one program, one behind the other on one clock; its threads are others each time."""
    calls: list[Call] = []
    counts: Counter[str] = Counter()
    for life, trace in enumerate(traces):
        shift = max((call.ended or call.begun for call in calls), default=0)
        for call in trace.calls:
            ended = None if call.ended is None else call.ended + shift
            calls.append(replace(call, begun=call.begun + shift, ended=ended, tid=call.tid + life * _TIDS))
        counts += Counter(trace.summary.counts)
    return Trace(calls=calls, summary=Summary(counts=counts, killed=any(trace.summary.killed for trace in traces)))


def kind_of(name: str, path: str, peer: str, folders: Sequence[str]) -> Kind | None:
    """What a call is to those who care for these folders and for TCP peers."""
    if peer:
        return "send" if name in WRITES | SENDS else None
    if not any(path == folder or path.startswith(f"{folder}/") for folder in folders):
        return None
    if name in SYNCS:
        return "fsync"
    return "name" if name in NAMES else "write" if name in _CHANGES else None


def read(path: Path) -> Trace:
    """A record as `python -m proof.trace` left it."""
    calls, summary = [], Summary()
    with path.open() as lines:
        for line in lines:
            found: dict[str, Any] = json.loads(line)
            if "summary" in found:
                summary = Summary(**found["summary"])
            else:
                values = found["call"]
                calls.append(Call(**{**values, "data": base64.b64decode(values["data"])}))
    return Trace(calls=sorted(calls, key=lambda call: call.begun), summary=summary)
