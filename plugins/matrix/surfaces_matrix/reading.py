"""Reads a sync response into what the host stores: messages in order, invites, departures, gaps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from structlog.typing import FilteringBoundLogger

from surfaces_core import Address, Inbound, Kind, Unavailable
from surfaces_matrix import words
from surfaces_matrix.backoff import Backoff
from surfaces_matrix.breath import Breath
from surfaces_matrix.cursor import Hole, Reach
from surfaces_matrix.declines import Declines
from surfaces_matrix.encryption import ENCRYPTED, Encryption
from surfaces_matrix.gaps import PAGE, Filled, Filler
from surfaces_matrix.groups import Groups, Unclear
from surfaces_matrix.memberships import changes, departures, invites, joined_rooms, joined_state, rooms_of
from surfaces_matrix.people import People
from surfaces_matrix.quotes import Quotes
from surfaces_matrix.saying import Skipped
from surfaces_matrix.shapes import mapping, seconds, sequence, text, user_id
from surfaces_matrix.translate import translate

TOO_OLD = "TOO_OLD"
"""Causes of gaps: older than `catch_up_max_age_s`,"""
TOO_MANY = "TOO_MANY"
"""more than `catch_up_max_messages`,"""
UNREADABLE = "UNREADABLE"
"""not shown by the homeserver, or not for a long time,"""
UNDECRYPTABLE = "UNDECRYPTABLE"
"""encrypted with a key that did not come,"""
UNTRUSTED = "UNTRUSTED"
"""said on a device whose words do not count,"""
UNENCRYPTED = "UNENCRYPTED"
"""not encrypted in an encrypted room,"""
TOKEN_UNKNOWN = "TOKEN_UNKNOWN"  # noqa: S105  not a secret
"""and the same where it does not know the sync token any more either."""

FILL_S = 5.0
"""The others wait so long for one room's past, for every hundred messages that may be fetched of it."""
GIVE_UP_S = 300.0
"""After so long a room's past counts as unreadable."""
MOST_HELD = 1000
"""Messages that are kept of a room while its past can't be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which messages of a response are still to be answered."""

    reach: Reach
    most: int | None = None
    """The most messages a room that are taken, the latest; None for all."""
    gap_text: str = ""
    """The sentence for a room where messages are passed over."""
    now: float = 0.0
    """Unix seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What is to be stored of a response, and where something is still missing."""

    entries: list[Inbound]
    holes: Mapping[str, Hole]


@dataclass(frozen=True, slots=True)
class _Room:
    """One joined room of a response; one that is not in it has had nothing new."""

    room_id: str
    timeline: Mapping[str, Any]
    next_batch: str

    @property
    def events(self) -> Sequence[Any]:
        return sequence(self.timeline.get("events"))

    @property
    def prev_batch(self) -> str | None:
        return text(self.timeline.get("prev_batch"))

    def leaves_out(self, reach: Reach) -> bool:
        """Whether messages within reach may lie before the timeline."""
        if self.timeline.get("limited") is not True:
            return False
        first = seconds(mapping(self.events[0]).get("origin_server_ts")) if self.events else None
        return reach.known or first is None or first >= reach.floor


@dataclass(kw_only=True)
class Reader:
    """Reads the responses of one account; nothing in one can make it raise.

    A room whose past can't be read for now, or of which it can't be told for now what was said to the bot, becomes
    a hole: its messages wait, those of others don't.
    """

    surface: str
    me: str
    people: People
    filler: Filler
    declines: Declines
    quotes: Quotes
    groups: Groups
    encryption: Encryption
    log: FilteringBoundLogger
    backoff: Backoff
    """Between two tries of filling while they fail."""
    joined: set[str] = field(default_factory=set)
    """The rooms that the bot is known to be in."""
    made: Container[str] = frozenset()
    """The rooms that the bot made itself: it was there from their beginning."""

    def __post_init__(self) -> None:
        self._held: dict[str, list[Inbound]] = {}
        """What came in rooms with a hole. It is read again with the rest, and needed only where that is given up."""
        self._next_try = 0.0
        """When a gap may be filled again, on the monotonic clock."""

    @property
    def pause_s(self) -> float:
        """Seconds until holes may be filled."""
        return max(0.0, self._next_try - time.monotonic())

    async def batch(self, response: Mapping[str, Any], window: Window, holes: Mapping[str, Hole]) -> Read:
        """Everything to store of a response."""
        entries = self.invited(response)
        entries += departures(self.surface, self.me, response, self.joined)
        entries += self._changed(response)
        entries += await self._late(window.now)
        rooms, left = joined_rooms(response), rooms_of(response, "leave")
        waiting = {room_id: hole for room_id, hole in holes.items() if room_id not in left}
        breath, failed = Breath(), dict[str, Hole]()
        for room_id in [*rooms, *(room_id for room_id in waiting if room_id not in rooms)]:
            timeline = mapping(mapping(rooms.get(room_id)).get("timeline"))
            room = _Room(room_id, timeline, str(response.get("next_batch")))
            tried = self._may_fill()
            hole = waiting.pop(room_id, None)
            found = await self._room(room, window, hole)
            if isinstance(found, Hole):
                (failed if tried else waiting)[room_id] = found
            else:
                entries += found
            await breath()
        entries += self._untrusted(window.now)
        # Whoever was not tried is tried before those that failed now.
        return Read(entries=await self.quotes.filled(entries), holes={**waiting, **failed})

    async def _late(self, now: float) -> list[Inbound]:
        """The messages whose keys came late, and a gap for each key that did not come at all."""
        entries = []
        for room_id, event in await self.encryption.late():
            entries += await self._said(room_id, await self._opened(room_id, event, 0.0), sealed=True, sure=False)
        for (room_id, session_id), event_id in (await self.encryption.unreadable()).items():
            # One for all that a key would have opened.
            name = f"undecryptable:{room_id}:{session_id or event_id}"
            entries.append(self._unheard(room_id, name, words.UNDECRYPTABLE.text, UNDECRYPTABLE, now))
        return entries

    def _untrusted(self, now: float) -> list[Inbound]:
        """A gap for each key that came from a device whose words do not count, so that nobody waits in vain."""
        return [
            self._unheard(room_id, f"untrusted:{room_id}:{session_id}", words.UNTRUSTED.text, UNTRUSTED, now)
            for room_id, session_id in self.encryption.untrusted()
        ]

    def _unheard(self, room_id: str, name: str, text_: str, cause: str, now: float) -> Inbound:
        """A word on something that was said and does not count, under a name that is always the same."""
        return Inbound(
            address=Address(surface=self.surface, conversation=room_id),
            event_id=name,
            sender=self.me,
            sent_at=now,
            kind=Kind.GAP,
            text=text_,
            cause=cause,
        )

    def invited(self, response: Mapping[str, Any]) -> list[Inbound]:
        """The invites to answer; the others are declined."""
        wanted = []
        for start in invites(self.surface, self.me, response):
            if self.people.allowed(start.sender):
                wanted.append(start)
            else:
                self.declines.add(start.address.conversation, start.sender)
        return wanted

    def moved(self, response: Mapping[str, Any]) -> list[Inbound]:
        """The rooms of a snapshot that go on elsewhere."""
        return [entry for entry in changes(self.surface, self.me, response) if entry.kind is Kind.LEFT]

    def _changed(self, response: Mapping[str, Any]) -> list[Inbound]:
        """New names and moves of rooms; and who may do what in them, which is remembered."""
        for room_id, events in joined_state(response).items():
            for event in map(mapping, events):
                if event.get("type") == "m.room.power_levels" and event.get("state_key") == "":
                    self.groups.note(room_id, mapping(event.get("content")))
        return list(changes(self.surface, self.me, response))

    def stored(self, response: Mapping[str, Any], holes: Mapping[str, Hole]) -> None:
        """Everything of a response is stored."""
        self.joined.update(joined_rooms(response))
        self.joined.difference_update(rooms_of(response, "leave"))
        self._held = {room_id: held for room_id, held in self._held.items() if room_id in holes}

    def _may_fill(self) -> bool:
        return time.monotonic() >= self._next_try

    async def _room(self, room: _Room, window: Window, hole: Hole | None) -> list[Inbound] | Hole:
        """One room's messages in order, a gap said before them; or that they have to wait."""
        sure = self._is_known(room) and (hole is None or window.now - hole.since < GIVE_UP_S)
        try:
            return await self._read(room, window, hole, sure=sure)
        except Unclear:
            self._next_try = time.monotonic() + self.backoff.next()
            return self._wait(room, window, hole, [])

    def _is_known(self, room: _Room) -> bool:
        """In a room that the bot has just come to, what was before is none of its business."""
        return room.room_id in self.joined or room.room_id in self.made

    def _wait(self, room: _Room, window: Window, hole: Hole | None, visible: list[Inbound]) -> Hole:
        if hole is None:
            self.log.warning("gap.waits", room=room.room_id)
        self._held[room.room_id] = [*self._held.get(room.room_id, ()), *visible][-MOST_HELD:]
        return hole or Hole(reach=window.reach, since=window.now)

    async def _read(self, room: _Room, window: Window, hole: Hole | None, *, sure: bool) -> list[Inbound] | Hole:
        """As `_room`. Raises `Unclear` where it must be `sure` who was meant."""
        visible = await self._messages(room.room_id, room.events, window.reach.floor, sure=sure)
        filled: Filled | None = Filled(events=[], reach=window.reach)
        if hole is not None:
            # Before it is given up it is tried once more, whatever failed just now.
            last = window.now - hole.since >= GIVE_UP_S
            filled = await self._fill(room.room_id, room.next_batch, hole.reach, last=last)
        elif self._is_known(room) and room.leaves_out(window.reach):
            filled = await self._fill(room.room_id, room.prev_batch, window.reach)
        if filled is None:
            if hole is None or window.now - hole.since < GIVE_UP_S:
                return self._wait(room, window, hole, visible)
            filled = Filled(events=[], unreadable=True, reach=hole.reach)
        elif hole is not None:
            self.log.info("gap.read", room=room.room_id, seconds=round(window.now - hole.since, 1))
        older = await self._messages(room.room_id, filled.events, filled.reach.floor, sure=sure)
        if hole is not None:
            self.backoff.reset()
        there = {message.event_id for message in older}
        newer = [*self._held.get(room.room_id, ()), *visible]
        messages = older + [message for message in newer if message.event_id not in there]
        return self._settled(room.room_id, messages, filled, window)

    async def _fill(self, room_id: str, start: str | None, reach: Reach, *, last: bool = False) -> Filled | None:
        """What a timeline left out before `start`; None where it can't be told for now."""
        if start is None:
            return Filled(events=[], unreadable=True, reach=reach)
        if not last and not self._may_fill():
            return None
        try:
            async with asyncio.timeout(FILL_S * max(1.0, self.filler.most / PAGE)):
                filled = await self.filler.fill(room_id, start, reach)
        except (Unavailable, TimeoutError) as error:
            told_s = error.retry_after if isinstance(error, Unavailable) else None
            self.log.debug("gap.failed", room=room_id, error=str(error) or "took too long")
            self._next_try = time.monotonic() + self.backoff.next(told_s)
            return None
        return filled

    async def _messages(self, room_id: str, events: Sequence[Any], floor: float, *, sure: bool) -> list[Inbound]:
        """What people said in these events; for the keys of those behind `floor` (Unix seconds) it is waited."""
        messages, breath = [], Breath()
        for event in events:
            await breath()
            sealed = mapping(event).get("type") == ENCRYPTED
            messages += await self._said(room_id, await self._opened(room_id, event, floor), sealed=sealed, sure=sure)
        return messages

    async def _said(self, room_id: str, event: Any, *, sealed: bool, sure: bool) -> list[Inbound]:
        """What somebody said in an event, which was encrypted if it is `sealed`; or why that does not count.

        Raises `Unclear` where it must be `sure` who was meant.
        """
        found = translate(self.surface, room_id, event, me=self.me)
        if isinstance(found, Skipped):
            self.log.debug("event.skipped", room=room_id, reason=found.reason)
        elif not self.people.allowed(found.sender):
            self.log.debug("event.skipped", room=room_id, reason="sender not allowed")
        elif (meant := await self.groups.meant(found, event, sure=sure)) is None:
            self.log.debug("event.skipped", room=room_id, reason="not meant")
        elif not await self.encryption.counts(meant, sealed=sealed):
            self.log.warning("event.unencrypted", room=room_id, sender=meant.sender, kind=meant.kind)
            return [self._unencrypted(meant)]
        else:
            self.quotes.heard(meant, event)
            return [meant]
        return []

    def _unencrypted(self, entry: Inbound) -> Inbound:
        """A word on why something does not count; the host takes it once for a room."""
        sign = entry.kind is Kind.REACTION
        return Inbound(
            address=entry.address,
            event_id=f"unencrypted:{entry.kind if sign else Kind.MESSAGE}:{entry.address.conversation}",
            sender=self.me,
            sent_at=entry.sent_at,
            kind=Kind.GAP,
            text=words.UNENCRYPTED_REACTION.text if sign else words.UNENCRYPTED.text,
            cause=UNENCRYPTED,
        )

    async def _opened(self, room_id: str, event: Any, floor: float) -> Any:
        """An event as it is inside, where its sender may talk to the bot."""
        sender = user_id(mapping(event).get("sender"))
        if sender is None or sender == self.me or not self.people.allowed(sender):
            return event
        sent_at = seconds(mapping(event).get("origin_server_ts"))
        return await self.encryption.opened(room_id, mapping(event), hold=sent_at is None or sent_at >= floor)

    def _settled(self, room_id: str, messages: list[Inbound], filled: Filled, window: Window) -> list[Inbound]:
        """What is to be stored of a room's messages: those within bounds, and a gap where something is missing."""
        recent = [message for message in messages if message.sent_at >= filled.reach.floor]
        kept = recent if window.most is None else _latest(recent, window.most)
        cause = _cause(messages, recent, kept, filled)
        if not cause:
            return kept
        unreadable = cause in (UNREADABLE, TOKEN_UNKNOWN)
        gap = Inbound(
            address=Address(surface=self.surface, conversation=room_id),
            # One for all that is missing behind one token, however often it is looked at.
            event_id=f"gap:{room_id}:{filled.reach.token}",
            sender=self.me,
            sent_at=window.now,
            kind=Kind.GAP,
            text=words.MISSED_UNREADABLE.text if unreadable else window.gap_text,
            cause=cause,
        )
        return [gap, *kept]


def _latest(entries: list[Inbound], most: int) -> list[Inbound]:
    """The last so many messages, and what was said about them in their midst."""
    places = [n for n, entry in enumerate(entries) if entry.kind is Kind.MESSAGE]
    return entries if len(places) <= most else entries[places[-most] :] if most else []


def _cause(entries: list[Inbound], recent: list[Inbound], kept: list[Inbound], filled: Filled) -> str:
    """Why something of a room is passed over that was not read before; empty where nothing is.

    What is said about messages (edits, reactions) and comes too late for it is not missed by anybody.
    """
    reach, seen_until, left_out = filled.reach, filled.reach.seen_until, filled.left_out
    messages = [entry for entry in entries if entry.kind is Kind.MESSAGE]
    passed = [entry for entry in recent[: len(recent) - len(kept)] if entry.kind is Kind.MESSAGE]
    if any(message.sent_at > seen_until for message in messages if message.sent_at < reach.floor):
        return TOO_OLD
    if any(message.sent_at > seen_until for message in passed):
        return TOO_MANY
    if left_out is not None and left_out > seen_until:
        return TOO_OLD if left_out < reach.floor else TOO_MANY
    if filled.unreadable and (not messages or messages[0].sent_at > seen_until):
        return UNREADABLE if reach.known else TOKEN_UNKNOWN
    return ""
