"""Answers on their way out: what is said, cut into outbox parts and frozen."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from surfaces_core._engine import words
from surfaces_core._engine.conversations import Book
from surfaces_core._engine.journal import Entry, Journal, storable
from surfaces_core._engine.work import Say
from surfaces_core.contracts import Surface
from surfaces_core.events import Outbound

LONG_CHARS = 8192
"""Cutting a longer answer may take long enough to hold up others, so a thread does it."""


class Answers:
    """Makes outbox parts for all surfaces."""

    def __init__(self, journal: Journal, surfaces: Mapping[str, Surface], book: Book) -> None:
        self._journal = journal
        self._surfaces = surfaces
        self._book = book

    async def _split(self, surface: Surface, text: str) -> Sequence[str]:
        cut = surface.split(text) if len(text) < LONG_CHARS else await asyncio.to_thread(surface.split, text)
        return cut or [text]

    async def freeze(self, entry: Entry, says: Sequence[Say]) -> list[Outbound]:
        """The outbox parts of an answer: their keys are made from the turn alone."""
        here = entry.message.address
        if entry.shown and not (says and says[0].file is None and says[0].address in (None, here)):
            says = [Say(text=words.NO_ANSWER()), *says]
        answer: list[Outbound] = []
        for say in says:
            address = say.address or here
            surface = self._surfaces[address.surface]
            texts = [say.text] if say.file else await self._split(surface, say.text)
            for text in texts:
                answer.append(self.part(entry, len(answer), say, text))
        return answer

    def part(self, entry: Entry, part: int, say: Say, text: str) -> Outbound:
        message = entry.message
        address = say.address or message.address
        here = address == message.address
        asker = self._book.asker(message) if here else ""
        streamed = entry.shown and part == 0
        return Outbound(
            key=f"{entry.turn}.{part}",
            turn=entry.turn,
            part=part,
            address=address,
            text=storable(text),
            file=say.file,
            notice=say.notice,
            streamed=streamed,
            device=entry.shown_on if streamed else self._surfaces[address.surface].device,
            frozen_at=entry.shown_at if streamed else self._journal.now(),
            thread=message.thread if here else "",
            reply_to=message.event_id if asker else "",
            asker=asker,
            replaces=say.replaces,
        )
