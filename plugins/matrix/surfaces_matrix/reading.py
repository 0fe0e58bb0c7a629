"""Turns a sync response into what the host stores: messages in order, invites, departures, gaps."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from structlog.typing import FilteringBoundLogger

from surfaces_core import Address, Inbound, Kind
from surfaces_matrix.declines import Declines
from surfaces_matrix.gaps import Filler
from surfaces_matrix.memberships import departures, invites, joined_rooms
from surfaces_matrix.people import People
from surfaces_matrix.shapes import mapping, sequence, text
from surfaces_matrix.translate import Skipped, translate

ROOMS_AT_A_TIME = 16
"""After so many rooms others get their turn on the loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which messages of a response are still to be answered."""

    since: str | None
    """Where the previous response ended; gaps reach back to there."""
    not_before: float = -math.inf
    """Unix seconds; older ones are passed over."""
    most: int | None = None
    """The most messages a room that are taken, the latest; None for all."""
    say_old: bool = True
    """Passing over an old one is worth saying; not where it was most likely answered long ago."""
    gap_text: str = ""
    """The sentence for a room where messages are passed over."""
    now: float = 0.0
    """Unix seconds."""


@dataclass(kw_only=True)
class Reader:
    """Reads the responses of one account; nothing in one can make it raise, only the filling of gaps can."""

    surface: str
    me: str
    people: People
    filler: Filler
    declines: Declines
    log: FilteringBoundLogger
    joined: set[str] = field(default_factory=set)
    """The rooms that the bot is known to be in."""

    async def batch(self, response: Mapping[str, Any], window: Window) -> list[Inbound]:
        """Everything to store of a response; `Unavailable` when a gap could not be filled yet."""
        batch = self.invited(response)
        batch += departures(self.surface, self.me, response, self.joined)
        for count, (room_id, room) in enumerate(joined_rooms(response).items(), 1):
            batch += await self._room(room_id, mapping(mapping(room).get("timeline")), window)
            if count % ROOMS_AT_A_TIME == 0:
                await asyncio.sleep(0)
        return batch

    def invited(self, response: Mapping[str, Any]) -> list[Inbound]:
        """The invites to answer; the others are declined."""
        wanted = []
        for start in invites(self.surface, self.me, response):
            if self.people.allowed(start.sender):
                wanted.append(start)
            else:
                self.declines.add(start.address.conversation, start.sender)
        return wanted

    def stored(self, response: Mapping[str, Any]) -> None:
        """Everything of a response is stored."""
        rooms = mapping(response.get("rooms"))
        self.joined.update(mapping(rooms.get("join")))
        self.joined.difference_update(mapping(rooms.get("leave")))

    async def _room(self, room_id: str, timeline: Mapping[str, Any], window: Window) -> list[Inbound]:
        """One room's messages in order, a gap said before them."""
        events, gap = sequence(timeline.get("events")), False
        prev_batch = text(timeline.get("prev_batch"))
        # In a room that the bot has just come to, what was before is none of its business.
        if timeline.get("limited") is True and room_id in self.joined:
            older, gap = await self._older(room_id, prev_batch, window)
            events = [*older, *events]
        messages = self._messages(room_id, events)
        kept = _kept(messages, window)
        gap = gap or (window.say_old and len(kept) < len(messages))
        return [self._gap(room_id, prev_batch, messages, window), *kept] if gap else kept

    async def _older(self, room_id: str, prev_batch: str | None, window: Window) -> tuple[Sequence[Any], bool]:
        """What a limited timeline left out, and whether something is still missing."""
        if prev_batch is None:
            return (), True
        filled = await self.filler.fill(room_id, prev_batch, window.since, window.not_before)
        return filled.events, not filled.complete

    def _messages(self, room_id: str, events: Sequence[Any]) -> list[Inbound]:
        messages = []
        for event in events:
            found = translate(self.surface, room_id, event, me=self.me)
            if isinstance(found, Skipped):
                self.log.debug("event.skipped", room=room_id, reason=found.reason)
            elif not self.people.allowed(found.sender):
                self.log.debug("event.skipped", room=room_id, reason="sender not allowed")
            else:
                messages.append(found)
        return messages

    def _gap(self, room_id: str, prev_batch: str | None, messages: Sequence[Inbound], window: Window) -> Inbound:
        first = messages[0].event_id if messages else ""
        return Inbound(
            address=Address(surface=self.surface, conversation=room_id),
            event_id=f"gap:{room_id}:{prev_batch or first}",
            sender=self.me,
            sent_at=window.now,
            kind=Kind.GAP,
            text=window.gap_text,
        )


def _kept(messages: list[Inbound], window: Window) -> list[Inbound]:
    kept = [message for message in messages if message.sent_at >= window.not_before]
    return kept if window.most is None else kept[max(0, len(kept) - window.most) :]
