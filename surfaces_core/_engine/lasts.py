"""The last question that each person put to the agent of a conversation, for whoever wants it asked again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from surfaces_core._engine.journal import Changes, Entry, Journal, Rows, key, place, turn_id
from surfaces_core._engine.prompt import kept
from surfaces_core.events import FileRef, Inbound


@dataclass(frozen=True, slots=True, kw_only=True)
class Last:
    """A question as it was asked."""

    message: Inbound
    files: tuple[FileRef, ...] = ()


LAST = Rows(Last)


def row(message: Inbound, files: Sequence[FileRef]) -> Changes:
    """What to store when a question was asked."""
    last = Last(message=kept(message, [file.path for file in files]), files=tuple(files))
    return {_key(message): LAST.dump(last)}


async def again(journal: Journal, entry: Entry) -> Entry | None:
    """The last question of whoever asks for it, as a new entry; None where there is none."""
    async with journal.storage.transaction() as tx:
        stored = await tx.get(_key(entry.message))
    if stored is None:
        return None
    last = LAST.load(stored)
    turn = turn_id(entry.message.address.surface, f"{entry.turn}\0last")
    return Entry(seq=0, turn=turn, message=last.message, files=last.files)


def _key(message: Inbound) -> bytes:
    return key("last", *place(message.address), message.thread, message.sender)
