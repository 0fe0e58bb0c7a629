"""The journal: what is durable when, and nothing else knows how it is stored.

Each method that changes something is one committed transaction, and their order is the product's
promise: a message is stored before its cursor is used (`accept`), counted before it is worked on
(`begin`), its answer stored before it is sent (`complete`), and forgotten when it shows
(`delivered`). Rows, all under text keys with NUL between their parts:

    cursor <surface>              the messenger's cursor
    seen <surface> <event id>     when an event came, so that a repeat is dropped
    in <seq>                      an inbox entry that is not done
    out <seq>                     an outbox part that does not show yet
    dead <seq>                    an entry or a part that was given up on, with its reason
    conv <surface> <native id>    a binding
    stat <surface> <native id>    what a conversation has used
    number <surface> <owner>      the last conversation number
    opening <key>                 a conversation that is being made
    staged <surface> <native id> <seq> <i>    a file that waits
    plug <instance> <key>         a driver's own
    meta <name>                   the layout's version, the last seq
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Literal, TypeVar

from pydantic import TypeAdapter

from surfaces_core._engine.killpoints import point
from surfaces_core.contracts import Storage, Tx
from surfaces_core.errors import StateError
from surfaces_core.events import Address, Inbound, Outbound

LAYOUT = b"1"
Changes = Mapping[bytes, bytes | None]
"""Rows to set, or with None to remove, together with something else."""

T = TypeVar("T")


class Rows(Generic[T]):
    """Turns values of one type into stored bytes and back."""

    def __init__(self, type_: type[T]) -> None:
        self._adapter = TypeAdapter(type_)

    def dump(self, value: T) -> bytes:
        """The stored form: JSON without what is at its default."""
        return self._adapter.dump_json(value, exclude_defaults=True)

    def load(self, data: bytes) -> T:
        """Back again. Raises `StateError` when the row is not what this version writes."""
        try:
            return self._adapter.validate_json(data)
        except ValueError as error:
            raise StateError(f"a stored row cannot be read: {error}", exit_code=65) from error


def key(kind: str, *parts: str) -> bytes:
    """The key of a row."""
    return "\0".join((kind, *parts)).encode()


def prefix(kind: str, *parts: str) -> bytes:
    """What the keys of all rows below begin with."""
    return "\0".join((kind, *parts, "")).encode()


def place(address: Address) -> tuple[str, str]:
    """The key parts of a conversation."""
    return address.surface, address.conversation


def ordinal(number: int) -> str:
    """A number that sorts as text."""
    return f"{number:016d}"


def turn_id(surface: str, event_id: str) -> str:
    """A turn's name, made from what happened so that a repeat is the same turn; 26 characters `a-z2-7`."""
    digest = hashlib.sha256(f"{surface}\0{event_id}".encode()).digest()
    return base64.b32encode(digest)[:26].decode().lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One inbox entry."""

    seq: int
    turn: str
    message: Inbound
    state: Literal["queued", "running"] = "queued"
    attempts: int = 0
    """Times that work on it began."""
    interrupted: int = 0
    """Times that work on it ended with the process."""
    shown: bool = False
    """A draft of its answer may show."""
    overflow: bool = False
    """Came when its lane was full."""
    not_before: float = 0.0
    """Unix seconds of the next try."""
    error: str = ""
    """The code of the last failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One outbox part."""

    seq: int
    outbound: Outbound


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """What was given up on; exactly one of `entry` and `part` is set."""

    seq: int
    reason: str
    died_at: float
    entry: Entry | None = None
    part: Part | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What was not done when the host last ended, each in its order."""

    entries: Sequence[Entry]
    parts: Sequence[Part]


ENTRIES = Rows(Entry)
PARTS = Rows(Part)
DEAD = Rows(DeadLetter)


async def apply(tx: Tx, changes: Changes) -> None:
    """Set and remove rows inside a transaction."""
    for row, value in changes.items():
        if value is None:
            await tx.delete(row)
        else:
            await tx.put(row, value)


class Journal:
    """Inbox, outbox and dead letters on top of any storage."""

    def __init__(self, storage: Storage, now: Callable[[], float] = time.time) -> None:
        self.storage = storage
        self.now = now
        self._seq = 0

    async def open(self) -> Backlog:
        """Read what is left over; an entry that was running is marked as interrupted."""
        async with self.storage.transaction() as tx:
            layout = await tx.get(key("meta", "layout"))
            if layout is None:
                await tx.put(key("meta", "layout"), LAYOUT)
            elif layout != LAYOUT:
                raise StateError(
                    f"the state was written by another version of Surfaces (layout {layout.decode()}, "
                    f"this one knows {LAYOUT.decode()}): start the version that wrote it",
                    exit_code=65,
                )
            self._seq = int(await tx.get(key("meta", "seq")) or 0)
            entries = [ENTRIES.load(value) async for _, value in tx.scan(prefix("in"))]
            parts = [PARTS.load(value) async for _, value in tx.scan(prefix("out"))]
        return Backlog(entries=[_resumed(entry) for entry in entries], parts=parts)

    def _next(self, changes: dict[bytes, bytes | None]) -> int:
        """Take the next number; it is durable with the rows it orders."""
        self._seq += 1
        changes[key("meta", "seq")] = str(self._seq).encode()
        return self._seq

    async def write(self, changes: Changes) -> None:
        """Set and remove rows in one transaction."""
        async with self.storage.transaction() as tx:
            await apply(tx, changes)

    async def cursor(self, surface: str) -> str | None:
        """The stored cursor of a surface."""
        async with self.storage.transaction() as tx:
            value = await tx.get(key("cursor", surface))
        return None if value is None else value.decode()

    async def accept(
        self, surface: str, batch: Sequence[Inbound], cursor: str, is_full: Callable[[Inbound], bool]
    ) -> Sequence[Entry]:
        """Store what is new of a batch, and the cursor behind it; the new entries, in order."""
        point("accept.before")
        rows = [key("seen", surface, message.event_id) for message in batch]
        changes: dict[bytes, bytes | None] = {key("cursor", surface): cursor.encode()}
        fresh: list[Entry] = []
        async with self.storage.transaction() as tx:
            seen = await tx.get_many(rows) if rows else ()
            now = str(int(self.now())).encode()
            for message, row, before in zip(batch, rows, seen, strict=True):
                if before is not None or row in changes:
                    continue
                entry = Entry(
                    seq=self._next(changes),
                    turn=turn_id(surface, message.event_id),
                    message=message,
                    overflow=is_full(message),
                )
                fresh.append(entry)
                changes[row] = now
                changes[key("in", ordinal(entry.seq))] = ENTRIES.dump(entry)
            await apply(tx, changes)
        point("accept.after")
        return fresh

    async def begin(self, entry: Entry) -> Entry:
        """Count a try before its work starts."""
        point("begin.before")
        entry = replace(entry, state="running", attempts=entry.attempts + 1, not_before=0.0)
        await self.write({key("in", ordinal(entry.seq)): ENTRIES.dump(entry)})
        point("begin.after")
        return entry

    async def mark_shown(self, entry: Entry) -> Entry:
        """Remember that a draft may show, before it does."""
        entry = replace(entry, shown=True)
        await self.write({key("in", ordinal(entry.seq)): ENTRIES.dump(entry)})
        point("shown.after")
        return entry

    async def postpone(self, entry: Entry, not_before: float, error: str) -> Entry:
        """Put a try off; it was not interrupted."""
        entry = replace(entry, state="queued", not_before=not_before, error=error)
        await self.write({key("in", ordinal(entry.seq)): ENTRIES.dump(entry)})
        return entry

    async def say(self, outbound: Outbound) -> Part:
        """Store a part of an answer while its turn goes on."""
        changes: dict[bytes, bytes | None] = {}
        part = self._queue(outbound, changes)
        await self.write(changes)
        return part

    async def complete(
        self, entry: Entry, answer: Sequence[Outbound], changes: Changes, *, dead: str = ""
    ) -> Sequence[Part]:
        """The entry is done and its answer queued, together; with `dead` it is kept with that reason."""
        point("complete.before")
        rows = {**changes, key("in", ordinal(entry.seq)): None}
        if dead:
            letter = DeadLetter(seq=entry.seq, reason=dead, died_at=self.now(), entry=entry)
            rows[key("dead", ordinal(entry.seq))] = DEAD.dump(letter)
        parts = [self._queue(outbound, rows) for outbound in answer]
        await self.write(rows)
        point("complete.after")
        return parts

    def _queue(self, outbound: Outbound, changes: dict[bytes, bytes | None]) -> Part:
        part = Part(seq=self._next(changes), outbound=outbound)
        changes[key("out", ordinal(part.seq))] = PARTS.dump(part)
        return part

    async def delivered(self, part: Part) -> None:
        """The part shows: forget it."""
        point("delivered.before")
        await self.write({key("out", ordinal(part.seq)): None})
        point("delivered.after")

    async def bury(self, part: Part, reason: str) -> None:
        """Give a part up and keep it with its reason."""
        letter = DeadLetter(seq=part.seq, reason=reason, died_at=self.now(), part=part)
        await self.write({key("out", ordinal(part.seq)): None, key("dead", ordinal(part.seq)): DEAD.dump(letter)})

    async def scan(self, kind: str, *parts: str) -> dict[bytes, bytes]:
        """All rows below a key, in order."""
        async with self.storage.transaction() as tx:
            return {row: value async for row, value in tx.scan(prefix(kind, *parts))}

    async def prune(self, keep_s: float) -> int:
        """Forget events that came more than `keep_s` seconds ago; how many."""
        limit = self.now() - keep_s
        old = [row for row, value in (await self.scan("seen")).items() if int(value) < limit]
        for start in range(0, len(old), 1000):
            await self.write(dict.fromkeys(old[start : start + 1000]))
        return len(old)


def _resumed(entry: Entry) -> Entry:
    if entry.state == "queued":
        return entry
    return replace(entry, state="queued", interrupted=entry.interrupted + 1)
