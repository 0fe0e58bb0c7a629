"""Dead letters: what is known of each, and how one comes back into the inbox or the outbox, or goes for good."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from surfaces_core._engine.journal import (
    DEAD,
    ENTRIES,
    PARTS,
    DeadLetter,
    Entry,
    Journal,
    Part,
    apply,
    key,
    ordinal,
    place,
    turn_id,
)
from surfaces_core._engine.killpoints import point
from surfaces_core.contracts import Tx
from surfaces_core.errors import StateError
from surfaces_core.events import Address, Inbound, Kind

BREATH = 100
"""Letters that are read without letting others go on."""
AT_ONCE = 1000
"""Letters that are dropped in one transaction."""


class NoSuchLetter(LookupError):
    """There is no dead letter of this number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A letter that came back: exactly one of these is set, as it is stored now."""

    entry: Entry | None = None
    part: Part | None = None


def address(letter: DeadLetter) -> Address:
    """The conversation of a letter."""
    if letter.entry is not None:
        return letter.entry.message.address
    if letter.part is not None:
        return letter.part.outbound.address
    raise StateError(f"dead letter {letter.seq} holds nothing", exit_code=65)


def turn(letter: DeadLetter) -> str:
    """The turn of a letter."""
    if letter.entry is not None:
        return letter.entry.turn
    return "" if letter.part is None else letter.part.outbound.turn


def new_turn(taken: Taken) -> str:
    """The turn under which a letter came back."""
    if taken.entry is not None:
        return taken.entry.turn
    return "" if taken.part is None else taken.part.outbound.turn


def meant(where: Address, conversation: str) -> bool:
    """Whether an operator means this place: by its native id, alone or as `surface/id`."""
    return conversation in (where.conversation, f"{where.surface}/{where.conversation}")


class Letters:
    """The dead letters of one journal."""

    def __init__(self, journal: Journal, devices: Mapping[str, Callable[[], str]]) -> None:
        self._journal = journal
        self._devices = devices
        """The surfaces that there are, and for each which device speaks there now; empty: it is not known."""

    async def each(self, conversation: str | None = None) -> AsyncIterator[DeadLetter]:
        """All, or those of one conversation, oldest first."""
        for count, value in enumerate((await self._journal.scan("dead")).values(), 1):
            letter = DEAD.load(value)
            if conversation is None or meant(address(letter), conversation):
                yield letter
            if count % BREATH == 0:
                await asyncio.sleep(0)

    async def get(self, number: int) -> DeadLetter:
        """One letter. Raises `NoSuchLetter`."""
        async with self._journal.storage.transaction() as tx:
            return await self._load(tx, number)

    async def _load(self, tx: Tx, number: int) -> DeadLetter:
        value = await tx.get(_row(number)) if number >= 0 else None
        if value is None:
            raise NoSuchLetter(number)
        return DEAD.load(value)

    def obstacle(self, letter: DeadLetter) -> str:
        """Why a letter can't be tried again; empty when it can."""
        if letter.entry is not None and letter.entry.message.kind is Kind.GAP:
            return "it stands for messages that were passed over, which nobody has"
        surface = address(letter).surface
        return "" if surface in self._devices else f"the config names no surface {surface}"

    async def retry(self, number: int) -> Taken:
        """Let a letter go and queue what it holds anew, together. Raises `NoSuchLetter`; ask `obstacle` first."""
        point("retry.before")
        async with self._journal.changing() as tx:
            letter = await self._load(tx, number)
            rows: dict[bytes, bytes | None] = {_row(number): None}
            if letter.part is not None:
                taken = Taken(part=self._resaid(letter.part, rows))
            else:
                taken = Taken(entry=await self._anew(letter, rows, tx))
            await apply(tx, rows)
        self._journal.dead -= 1
        point("retry.after")
        return taken

    async def _anew(self, letter: DeadLetter, rows: dict[bytes, bytes | None], tx: Tx) -> Entry:
        """The entry of a letter as if it came now, under a turn of its own: the old one has said something."""
        old = letter.entry
        if old is None:
            raise StateError(f"dead letter {letter.seq} holds nothing", exit_code=65)
        message = await self._unstaged(old, tx)
        turn = again(message.address.surface, old.turn)
        seq, now = self._journal.number(rows), self._journal.now()
        fresh = Entry(seq=seq, turn=turn, message=message, came_at=round(now, 3))
        rows[key("in", ordinal(seq))] = ENTRIES.dump(fresh)
        opening = await tx.get(key("opening", old.turn))
        if opening is not None:  # a conversation that it began to make is made to its end, not once more
            rows |= {key("opening", old.turn): None, key("opening", turn): opening}
        return fresh

    async def _unstaged(self, entry: Entry, tx: Tx) -> Inbound:
        """The message without the files of it that wait already."""
        message, seq = entry.message, ordinal(entry.seq)
        waiting = [key("staged", *place(message.address), seq, ordinal(i)) for i in range(len(message.attachments))]
        staged = await tx.get_many(waiting) if waiting else ()
        left = [file for file, row in zip(message.attachments, staged, strict=True) if row is None]
        return replace(message, attachments=tuple(left))

    def _resaid(self, part: Part, rows: dict[bytes, bytes | None]) -> Part:
        """The part of a letter under a turn and key that no messenger has seen."""
        lost = part.outbound
        surface = lost.address.surface
        turn = again(surface, lost.key)  # not after its turn, whose entry may come back as well
        outbound = replace(
            lost,
            key=f"{turn}.{lost.part}",
            turn=turn,
            streamed=False,
            device=self._devices[surface]() or lost.device,
            frozen_at=self._journal.now(),
        )
        fresh = Part(seq=self._journal.number(rows), outbound=outbound)
        rows[key("out", ordinal(fresh.seq))] = PARTS.dump(fresh)
        return fresh

    async def drop(self, numbers: Sequence[int]) -> list[int]:
        """Forget letters for good; those that there were."""
        gone: list[int] = []
        for start in range(0, len(numbers), AT_ONCE):
            gone += await self._drop(numbers[start : start + AT_ONCE])
        return gone

    async def _drop(self, numbers: Sequence[int]) -> list[int]:
        async with self._journal.changing() as tx:
            found = await tx.get_many([_row(number) for number in numbers])
            there = {number: DEAD.load(row) for number, row in zip(numbers, found, strict=True) if row is not None}
            begun = [key("opening", turn(letter)) for letter in there.values() if letter.entry is not None]
            await apply(tx, dict.fromkeys([*map(_row, there), *begun]))
        self._journal.dead -= len(there)
        return list(there)

    async def prune(self, keep_s: float) -> int:
        """Forget letters that died more than `keep_s` seconds ago; how many."""
        limit = self._journal.now() - keep_s
        return len(await self.drop([letter.seq async for letter in self.each() if letter.died_at < limit]))


def again(surface: str, turn: str) -> str:
    """The turn under which something is tried once more: what was said in the old one must not be taken for it."""
    return turn_id(surface, f"{turn}\0retry")


def _row(number: int) -> bytes:
    return key("dead", ordinal(number))
