"""Comings: who calls the bot is led to their conversations, and what is to become of a place that is left or moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from structlog.typing import FilteringBoundLogger

from surfaces_core._engine import words
from surfaces_core._engine.basics import listing
from surfaces_core._engine.bindings import context_id
from surfaces_core._engine.calls import Calls
from surfaces_core._engine.conversations import Book
from surfaces_core._engine.desk import DeskAt
from surfaces_core._engine.drafts import show
from surfaces_core._engine.journal import Entry
from surfaces_core._engine.moves import Moves
from surfaces_core._engine.work import Outcome, Say
from surfaces_core.contracts import Surface
from surfaces_core.errors import Unavailable
from surfaces_core.events import Binding, Draft, Inbound


class Comings:
    """What invites, departures and moves come to."""

    def __init__(
        self,
        *,
        prefix: str,
        book: Book,
        calls: Calls,
        moves: Moves,
        surfaces: Mapping[str, Surface],
        log: FilteringBoundLogger,
    ) -> None:
        self._prefix = prefix
        self._book = book
        self._calls = calls
        self._moves = moves
        self._surfaces = surfaces
        self._log = log

    async def start(self, entry: Entry) -> Outcome:
        """A person called the bot to a place."""
        message = entry.message
        door = self._book.door(message.address.surface)
        if door is None or not await door.enter(message.address, message.sender):
            return Outcome()
        binding = await self._book.adopt(message)
        if binding is None:
            return await self.welcome(entry)
        if binding.shared and binding.context == context_id(binding.owner, entry.turn):
            agent = self._calls.doors.agent_label(binding.agent)
            return Outcome(says=[Say(text=words.GROUP_GREETING(agent=agent))])
        return Outcome()  # called back into a conversation, not to a new one

    async def leave(self, message: Inbound) -> None:
        """The bot can't talk there any more; where the conversation was moved, it goes on there."""
        door = self._book.door(message.address.surface)
        if message.target and door is not None:
            there = await door.follow(message.address, replace(message.address, conversation=message.target))
            if there is not None:
                await self._book.move(message.address, there)
        await self._book.leave(message.address)

    async def welcome(self, entry: Entry) -> Outcome:
        """Lead a person who called from outside to their conversations, making the first where there is none."""
        message = entry.message
        async with self._book.welcoming(message.address.surface, message.sender):
            if await self._book.begun(entry.turn):
                return await self._first(entry)
            live = await self._recalled(message)
            if live:
                links = [self._book.link(binding) for binding in live]
                return Outcome(says=[Say(text=words.recalled(links, self._prefix))])
            if self._book.is_made_by_another(entry.turn, message.address, message.sender):
                raise Unavailable("another call is making the first conversation")
            return await self._first(entry)

    async def _recalled(self, message: Inbound) -> list[Binding]:
        """Let a person in again everywhere; their conversations that are still there."""
        surface = message.address.surface
        door, live = self._book.door(surface), self._book.live(surface, message.sender)
        if not live or door is None:
            return []
        gone = await door.recall(message.sender, live)
        for address in gone:
            await self._book.leave(address)
        return [binding for binding in live if binding.address not in gone]

    async def _first(self, entry: Entry) -> Outcome:
        """Make a person's first conversation."""
        message = entry.message
        await self._type(entry)
        binding = await self._book.create(entry.turn, message.address.surface, message.sender, message.sender_name)
        await self._type(entry, done=True)
        greeting = words.greeting(
            message.sender_name,
            self._calls.doors.agent_label(binding.agent),
            listing(DeskAt(self._calls.doors, entry, binding).commands(), self._prefix),
        )
        told, changes = self._moves.introduction(entry, binding)
        return Outcome(
            says=[
                Say(text=words.welcome(self._book.link(binding))),
                Say(text=greeting, address=binding.address),
                *told,
            ],
            changes={**self._book.finished(entry.turn), **changes},
        )

    async def _type(self, entry: Entry, *, done: bool = False) -> None:
        """Show in the place a person called from that something is coming, or no more."""
        address = entry.message.address
        surface = self._surfaces[address.surface]
        if surface.pace is not None:
            draft = Draft(
                key=f"{entry.turn}.0",
                turn=entry.turn,
                part=0,
                address=address,
                attempt=entry.attempts,
                version=0,
                done=done,
            )
            await show(surface, draft, surface.pace, self._log)
