"""The journal: what is durable when, and nothing else knows how it is stored.

Each method that changes something is one committed transaction, and their order is the product's
promise: a message is stored before its cursor is used (`accept`), counted before it is worked on
(`begin`, or with `accept` where nothing is before it), its answer stored before it is sent
(`complete`), and forgotten when it shows (`delivered`). Rows, all under text keys with NUL between
their parts:

    cursor <surface>              the messenger's cursor
    task <surface> <native id> <task>    what shows of a task that an agent tells of
    ask <surface> <native id> <key>    a question that a person has not answered
    last <surface> <native id> <thread> <person>    the last question that they put to the agent
    point <surface> <owner> <agent> <name>    a save point
    seen <surface> <turn>         when an event came, so that a repeat is dropped
    in <seq>                      an inbox entry that is not done
    out <seq>                     an outbox part that does not show yet
    dead <seq>                    an entry or a part that was given up on, with its reason
    conv <surface> <native id>    a binding
    stat <surface> <native id>    what a conversation has used
    number <surface> <owner>      the last conversation number
    opening <key>                 a conversation that is being made
    staged <surface> <native id> <seq> <i>    a file that waits
    language <surface> <person>   the language that a person chose
    agent <surface> <person>      the agent that a person chose
    agent_at <surface> <native id>    the agent that was chosen for a conversation
    told <surface> <person>       a person has been told that they have the default agent
    plug <instance> <key>         a driver's own
    meta <name>                   the layout's version, the last seq, who holds the state
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Generic, Literal, TypeVar

from pydantic import TypeAdapter

from surfaces_core._engine.killpoints import point
from surfaces_core._engine.lease import Lease
from surfaces_core.contracts import Storage, Tx
from surfaces_core.errors import StateError, Unavailable
from surfaces_core.events import Address, FileRef, Inbound, Kind, Outbound

LAYOUT = b"1"
LEASE_S = 30.0
MAX_DETAIL = 500
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


UNFINISHED = key("meta", "unfinished")
"""Marks a state into which another one is being copied; nothing runs on it."""


def place(address: Address) -> tuple[str, str]:
    """The key parts of a conversation."""
    return address.surface, address.conversation


def ordinal(number: int) -> str:
    """A number that sorts as text."""
    return f"{number:016d}"


def turn_id(surface: str, event_id: str) -> str:
    """A turn's name, made from what happened so that a repeat is the same turn; 22 characters `a-z2-7`."""
    digest = hashlib.sha256(f"{surface}\0{event_id}".encode()).digest()
    return base64.b32encode(digest)[:22].decode().lower()


def storable(text: str) -> str:
    """Text that every store and messenger can take: half characters (lone surrogates) become `?`."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One inbox entry."""

    seq: int
    turn: str
    message: Inbound
    came_at: float = 0.0
    """Unix seconds when it was stored."""
    state: Literal["queued", "running"] = "queued"
    attempts: int = 0
    """Times that work on it began."""
    failures: int = 0
    """Tries that ended because something was not available."""
    crashes: int = 0
    """Tries that ended with the process, unasked."""
    asked: bool = False
    """The agent may have had the question in the last try."""
    cut: bool = False
    """An earlier try ended in the middle, with the process."""
    shown: bool = False
    """A draft may show under its key."""
    shown_at: float = 0.0
    """Unix seconds when it was about to show for the first time."""
    shown_on: str = ""
    """`Surface.device` at that moment."""
    partly: bool = False
    """Something of the answer may show."""
    declined: str = ""
    """Why it was too much when it came, as a stable word."""
    revision: str = ""
    """The turn of the edit whose words it has: to the agent another question."""
    withdrawn: bool = False
    """The person took it back."""
    request: str = ""
    """The turn under which the agent had it already, where that is another."""
    files: tuple[FileRef, ...] = ()
    """Files that went with it when it was asked before."""
    answers: str = ""
    """The key of the command's question that this carries an `answer` to."""
    answer: str = ""
    not_before: float = 0.0
    """Unix seconds of the next try."""
    error: str = ""
    """The code of the last failure."""
    detail: str = ""
    """Its words, which hold no secrets."""

    @property
    def asked_as(self) -> str:
        """The turn under which the agent gets it."""
        return self.revision or self.request or self.turn


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

    def __init__(self, storage: Storage, now: Callable[[], float] = time.time, *, lease_s: float = LEASE_S) -> None:
        self.storage = storage
        self.now = now
        self.lease = Lease(storage, lease_s)
        self._seq = 0
        self.dead = 0
        """How many dead letters there are."""

    async def open(self) -> Backlog:
        """Take the state and read what is left over; an entry that was running is marked as cut short."""
        await self.lease.take()
        async with self.storage.transaction() as tx:
            if await tx.get(UNFINISHED) is not None:
                raise StateError(
                    "this state is a copy that was not finished: run `surfaces storage copy` again", exit_code=65
                )
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
            self.dead = sum([1 async for _ in tx.scan(prefix("dead"))])
        return Backlog(entries=[_resumed(entry) for entry in entries], parts=parts)

    def number(self, rows: dict[bytes, bytes | None]) -> int:
        """Take the next number, durable with the rows it orders.

        Only inside a transaction: the order of numbers must be the order of commits.
        """
        self._seq += 1
        rows[key("meta", "seq")] = str(self._seq).encode()
        return self._seq

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[Tx]:
        """A transaction that may write, as long as this life holds the state."""
        async with self.storage.transaction() as tx:
            await self.lease.check(tx)
            yield tx

    async def write(self, changes: Changes) -> None:
        """Set and remove rows in one transaction."""
        async with self.changing() as tx:
            await apply(tx, changes)

    async def cursor(self, surface: str) -> str | None:
        """The stored cursor of a surface."""
        async with self.storage.transaction() as tx:
            value = await tx.get(key("cursor", surface))
        return None if value is None else value.decode()

    async def accept(
        self, surface: str, batch: Sequence[Inbound], cursor: str | None, admit: Callable[[Entry], Entry]
    ) -> Sequence[Entry]:
        """Store what is new of a batch, and the cursor behind it if there is one; the new entries, in order.

        `admit` sees each before it is stored: it may mark it as declined, or as begun.
        """
        point("accept.before")
        turns = [turn_id(surface, message.event_id) for message in batch]
        seen_rows = [key("seen", surface, turn) for turn in turns]
        rows: dict[bytes, bytes | None] = {} if cursor is None else {key("cursor", surface): cursor.encode()}
        fresh: list[Entry] = []
        async with self.changing() as tx:
            seen = await tx.get_many(seen_rows) if seen_rows else ()
            now = self.now()
            stamp = str(int(now)).encode()
            for message, turn, row, before in zip(batch, turns, seen_rows, seen, strict=True):
                if before is not None or row in rows:
                    continue
                entry = admit(Entry(seq=self.number(rows), turn=turn, message=message, came_at=round(now, 3)))
                fresh.append(entry)
                rows[row] = stamp
                rows[key("in", ordinal(entry.seq))] = ENTRIES.dump(entry)
            await apply(tx, rows)
        point("accept.after")
        return fresh

    async def begin(self, entry: Entry) -> Entry:
        """Count a try before its work starts."""
        point("begin.before")
        entry = begun(entry)
        await self.write({key("in", ordinal(entry.seq)): ENTRIES.dump(entry)})
        point("begin.after")
        return entry

    async def keep(self, entry: Entry, *, instead_of: Sequence[Entry] = ()) -> Entry:
        """Store an entry as it now is, and forget those that made it so."""
        gone: dict[bytes, bytes | None] = {key("in", ordinal(other.seq)): None for other in instead_of}
        await self.write({**gone, key("in", ordinal(entry.seq)): ENTRIES.dump(entry)})
        return entry

    async def amend(self, amendment: Entry, amended: Entry | None, changes: Changes) -> None:
        """Forget an edit or a redaction, together with storing what it made of an entry that nobody has begun since."""
        rows: dict[bytes, bytes | None] = {key("in", ordinal(amendment.seq)): None, **changes}
        async with self.changing() as tx:
            if amended is not None:
                row = key("in", ordinal(amended.seq))
                stored = await tx.get(row)
                if stored is not None and ENTRIES.load(stored).attempts == amended.attempts:
                    rows[row] = ENTRIES.dump(amended)
            await apply(tx, rows)

    async def mark_shown(self, entry: Entry, *, partly: bool, device: str) -> Entry:
        """Remember that a draft may show, before it does; `partly` when it holds some of the answer."""
        if not entry.shown:
            entry = replace(entry, shown=True, shown_at=round(self.now(), 3), shown_on=device)
        entry = await self.keep(replace(entry, partly=entry.partly or partly))
        point("shown.after")
        return entry

    async def postpone(self, entry: Entry, not_before: float, error: Unavailable) -> Entry:
        """Put a try off whose question nobody has had."""
        return await self.keep(
            replace(
                entry,
                state="queued",
                asked=False,
                failures=entry.failures + 1,
                not_before=not_before,
                error=error.code,
                detail=storable(str(error)[:MAX_DETAIL]),
            )
        )

    async def suspend(self, entry: Entry) -> Entry:
        """The host ends in the middle of a try, and not by the entry's fault."""
        return await self.keep(replace(entry, state="queued", cut=entry.cut or entry.asked))

    async def say(self, outbound: Outbound, changes: Changes | None = None) -> Part:
        """Store a part of an answer while its turn goes on, or beside any."""
        ((part,), _) = await self._commit({**(changes or {})}, [outbound])
        return part

    async def complete(
        self,
        entry: Entry,
        answer: Sequence[Outbound],
        changes: Changes,
        *,
        dead: str = "",
        follow: Sequence[Entry] = (),
    ) -> tuple[Sequence[Part], Sequence[Entry]]:
        """The entry is done, its answer queued and what follows it taken in, together.

        With `dead` it is kept with that reason.
        """
        point("complete.before")
        rows = {**changes, key("in", ordinal(entry.seq)): None}
        if dead:
            letter = DeadLetter(seq=entry.seq, reason=dead, died_at=self.now(), entry=entry)
            rows[key("dead", ordinal(entry.seq))] = DEAD.dump(letter)
        parts, entries = await self._commit(rows, answer, follow)
        self.dead += bool(dead)
        point("complete.after")
        return parts, entries

    async def _commit(
        self, rows: dict[bytes, bytes | None], answer: Sequence[Outbound], follow: Sequence[Entry] = ()
    ) -> tuple[list[Part], list[Entry]]:
        """Change rows, queue parts and take in entries, together."""
        async with self.changing() as tx:
            parts = [Part(seq=self.number(rows), outbound=outbound) for outbound in answer]
            rows |= {key("out", ordinal(part.seq)): PARTS.dump(part) for part in parts}
            now = round(self.now(), 3)
            entries = [replace(entry, seq=self.number(rows), came_at=now) for entry in follow]
            rows |= {key("in", ordinal(entry.seq)): ENTRIES.dump(entry) for entry in entries}
            await apply(tx, rows)
        return parts, entries

    async def delivered(self, part: Part, changes: Changes | None = None) -> None:
        """The part shows: forget it."""
        point("delivered.before")
        await self.write({key("out", ordinal(part.seq)): None, **(changes or {})})
        point("delivered.after")

    async def bury(self, part: Part, reason: str, instead: Outbound | None) -> Part | None:
        """Give a part up and keep it with its reason; what is said instead takes its number, so its place."""
        letter = DeadLetter(seq=part.seq, reason=storable(reason), died_at=self.now(), part=part)
        said = None if instead is None else replace(part, outbound=instead)
        row, kept = key("out", ordinal(part.seq)), key("dead", ordinal(part.seq))
        rows: dict[bytes, bytes | None] = {row: None if said is None else PARTS.dump(said)}
        async with self.changing() as tx:
            if await tx.get(kept) is None:  # else this was said in the place of the letter that is kept there
                rows[kept] = DEAD.dump(letter)
            await apply(tx, rows)
        self.dead += kept in rows
        return said

    async def scan(self, kind: str, *parts: str) -> dict[bytes, bytes]:
        """All rows below a key, in order."""
        async with self.storage.transaction() as tx:
            return {row: value async for row, value in tx.scan(prefix(kind, *parts))}


def begun(entry: Entry) -> Entry:
    """An entry with one more try counted; without a file to fetch the agent has the question at once."""
    asked = entry.message.kind is Kind.MESSAGE and not entry.message.attachments
    return replace(entry, state="running", attempts=entry.attempts + 1, asked=asked, not_before=0.0)


def _resumed(entry: Entry) -> Entry:
    if entry.state == "queued":
        return entry
    return replace(entry, state="queued", crashes=entry.crashes + 1, cut=entry.cut or entry.asked)
