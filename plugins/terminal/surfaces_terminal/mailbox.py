"""Owns what the bot said to people in their terminals, and how far each of them has seen it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

from surfaces_core import Store
from surfaces_terminal.wire import Message

MESSAGES, SEEN, COUNT = "said/", "seen/", "count"


class Mailbox:
    """Messages in the order in which they were said; in the store, and the same in memory."""

    def __init__(self, store: Store, keep: int) -> None:
        self._store = store
        self._keep = keep
        self._messages: dict[int, Message] = {}
        self._by_key: dict[str, Message] = {}
        self._seen: dict[str, int] = {}
        self._last = 0
        self._posting = asyncio.Lock()

    async def open(self) -> None:
        """Read what an earlier life left."""
        for value in (await self._store.scan(MESSAGES)).values():
            self._remember(Message.model_validate_json(value))
        self._seen = {row.removeprefix(SEEN): int(value) for row, value in (await self._store.scan(SEEN)).items()}
        self._last = max([int(await self._store.get(COUNT) or 0), *self._messages])

    def _remember(self, message: Message) -> None:
        self._messages[message.seq] = self._by_key[message.key] = message

    async def post(self, message: Message, reader: str) -> Message | None:
        """Keep a message for its reader, durably; None where one of its key is kept already.

        One at a time: who has seen a number must have been able to see all before it.
        """
        async with self._posting:
            if message.key in self._by_key:
                return None
            number = self._last + 1
            numbered = message.model_copy(update={"seq": number})
            gone = self._outdated(message, reader)
            await self._store.write(
                {
                    **{_row(old.seq): None for old in gone},
                    _row(number): numbered.model_dump_json().encode(),
                    COUNT: str(number).encode(),
                }
            )
            self._last = number
            for old in gone:
                del self._messages[old.seq], self._by_key[old.key]
            self._remember(numbered)
            return numbered

    def _outdated(self, message: Message, reader: str) -> Iterable[Message]:
        """What a message takes the place of, and the oldest beyond what is kept; only what was seen."""
        there = [old for old in self._messages.values() if old.chat == message.chat]
        excess = max(0, len(there) - self._keep + 1)
        seen = self._seen.get(reader, 0)
        return [
            old
            for number, old in enumerate(there)
            if old.seq <= seen and (number < excess or old.key == message.replaces)
        ]

    def at(self, seq: int) -> Message | None:
        """The message of a number."""
        return self._messages.get(seq)

    def with_files(self) -> list[str]:
        """The keys of the messages that have a file."""
        return [message.key for message in self._messages.values() if message.file is not None]

    def unseen(self, reader: str) -> Iterator[Message]:
        """Everything behind what a reader has seen; whether it is for them the caller knows."""
        seen = self._seen.get(reader, 0)
        return (message for seq, message in self._messages.items() if seq > seen)

    async def see(self, reader: str, seq: int) -> None:
        """A reader was shown everything up to a number."""
        if self._seen.get(reader, 0) < seq <= self._last:
            self._seen[reader] = seq
            await self._store.put(f"{SEEN}{reader}", str(seq).encode())


def _row(seq: int) -> str:
    return f"{MESSAGES}{seq:016d}"
