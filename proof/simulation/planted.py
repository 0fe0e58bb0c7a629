"""Small bugs that are put into the host for a while: a simulation that cannot fail proves nothing."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any

from surfaces_core._engine import journal, lanes, turns
from surfaces_core._engine.conversations import Book
from surfaces_core._engine.declines import Declines
from surfaces_core._engine.delivery import Delivery
from surfaces_core._engine.handling import Handling
from surfaces_core._engine.journal import Journal
from surfaces_core._engine.lanes import Lanes
from surfaces_core._engine.staging import Staging
from surfaces_core._engine.turns import Turns
from surfaces_core._engine.work import Say
from surfaces_core.testing.memory_files import MemoryFiles

Plant = Callable[[Any, str, Any], None]
"""Puts something in the place of an owner's attribute."""


def random_turns(plant: Plant) -> None:
    """A turn gets another name at each try."""
    begin, numbers = Journal.begin, count()

    async def renamed(self: Journal, entry: Any) -> Any:
        return await begin(self, dataclasses.replace(entry, turn=f"t{next(numbers)}"))

    plant(Journal, "begin", renamed)


def cursor_first(plant: Plant) -> None:
    """The cursor is stored before what lies before it."""
    accept = Journal.accept

    async def eager(self: Journal, surface: str, batch: Any, cursor: str, *rest: Any) -> Any:
        await self.write({journal.key("cursor", surface): cursor.encode()})
        return await accept(self, surface, batch, cursor, *rest)

    plant(Journal, "accept", eager)


def forgotten_before_queued(plant: Plant) -> None:
    """The entry is removed in a transaction of its own before its answer is stored."""
    complete = Journal.complete

    async def split(self: Journal, entry: Any, *rest: Any, **options: Any) -> Any:
        await self.write({journal.key("in", journal.ordinal(entry.seq)): None})
        return await complete(self, entry, *rest, **options)

    plant(Journal, "complete", split)


def delivered_before_sent(plant: Plant) -> None:
    """A part leaves the outbox before the messenger has it."""
    send = Delivery._send

    async def hasty(self: Delivery, part: Any) -> Any:
        await self._journal.delivered(part)
        return await send(self, part)

    plant(Delivery, "_send", hasty)


def shown_without_a_mark(plant: Plant) -> None:
    """A draft shows without the journal knowing."""

    async def unmarked(_self: Journal, entry: Any, **_options: Any) -> Any:
        return entry

    plant(Journal, "mark_shown", unmarked)


def not_counted(plant: Plant) -> None:
    """That the work on something begins is not stored, so a crash looks as if nobody had been asked."""

    async def light(_self: Journal, entry: Any) -> Any:
        return journal.begun(entry)

    plant(Journal, "begin", light)
    plant(turns, "begun", lambda entry: entry)


def seen_not_kept(plant: Plant) -> None:
    """What came is not remembered, so a repeat is another message."""
    apply = journal.apply

    async def forgetful(tx: Any, changes: Any) -> None:
        await apply(tx, {row: value for row, value in changes.items() if not row.startswith(b"seen\0")})

    plant(journal, "apply", forgetful)


def openings_not_kept(plant: Plant) -> None:
    """What a conversation was opened as is not remembered, so a repeat opens another."""
    opening, numbers = Book._opening, count()

    async def forgetful(self: Book, cause: str, *rest: str) -> Any:
        return await opening(self, f"{next(numbers):06}{cause}", *rest)

    plant(Book, "_opening", forgetful)


def uploads_without_names(plant: Plant) -> None:
    """A file that is fetched again is another file."""
    save = MemoryFiles.save

    async def nameless(self: MemoryFiles, *args: Any, **options: Any) -> Any:
        return await save(self, *args, **(options | {"key": ""}))

    plant(MemoryFiles, "save", nameless)


def files_forgotten_early(plant: Plant) -> None:
    """Files that wait are forgotten when the agent is asked, and not when it has answered."""
    waiting = Staging.waiting

    def once(self: Staging, address: Any, person: str) -> Any:
        found = waiting(self, address, person)
        if found:
            self._waiting.pop(address)
        return found

    plant(Staging, "waiting", once)


def last_first(plant: Plant) -> None:
    """What came last in a conversation is taken up first."""
    put = Lanes.put

    def pushing(self: Lanes[Any], name: Any, item: Any) -> None:
        put(self, name, item)
        lane = self._lanes[name]
        if not lane.busy and len(lane.items) > 1:
            lane.items.rotate(1)

    plant(lanes.Lanes, "put", pushing)


def told_each_time(plant: Plant) -> None:
    """What is to be said once is said each time."""
    plant(Handling, "_once", lambda _self, _message, line: [Say(text=line)])
    plant(Declines, "_is_first", lambda _self, _spot: True)


def deaf_to_the_end(plant: Plant) -> None:
    """A turn that was cut short by a clean stop looks as if nobody had been asked."""

    async def forgetful(self: Journal, entry: Any) -> Any:
        return await self.keep(dataclasses.replace(entry, state="queued", asked=False))

    plant(Journal, "suspend", forgetful)


def waits_at_work(plant: Plant) -> None:
    """Who waits for the next try keeps a worker from others."""
    work = Turns._work

    async def waiting(self: Turns, entry: Any) -> Any:
        again = await work(self, entry)
        if again is not None:
            await asyncio.sleep(again[1])
            return again[0], 0.0
        return None

    plant(Turns, "_work", waiting)


BUGS: dict[str, Callable[[Plant], None]] = {
    bug.__name__: bug
    for bug in (
        random_turns,
        cursor_first,
        forgotten_before_queued,
        delivered_before_sent,
        shown_without_a_mark,
        not_counted,
        seen_not_kept,
        openings_not_kept,
        uploads_without_names,
        files_forgotten_early,
        last_first,
        told_each_time,
        deaf_to_the_end,
    )
}
"""What `simulate` must catch."""
DELAYS: dict[str, Callable[[Plant], None]] = {waits_at_work.__name__: waits_at_work}
"""What `isolation` must catch."""


@contextmanager
def planted(bug: str) -> Iterator[None]:
    """The host has a bug, until the block is left."""
    with ExitStack() as stack:

        def plant(owner: Any, name: str, instead: Any) -> None:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, instead)

        (BUGS | DELAYS)[bug](plant)
        yield
