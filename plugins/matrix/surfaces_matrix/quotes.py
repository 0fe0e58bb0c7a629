"""Knows what a reply replies to: clients name the event alone, and an agent needs its words.

What was heard or said lately is remembered; what was not is fetched, within bounds, for the others' messages
wait meanwhile. Context that can't be had is left out: the reply itself comes in all the same.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from structlog.typing import FilteringBoundLogger

from surfaces_core import Inbound, Kind, Rejected, Unavailable
from surfaces_matrix.client import Client, quote
from surfaces_matrix.encryption import ENCRYPTED, Encryption
from surfaces_matrix.relations import replied_to
from surfaces_matrix.saying import Skipped, say, sticker
from surfaces_matrix.shapes import mapping, text

LONGEST = 2000
"""Characters of a quotation; the agent has heard the rest when it was said."""
MOST_KNOWN = 2000
MOST_FETCHED = 20
"""For the replies of one sync response."""
FETCH_S = 2.0
"""For all of these together."""
PAUSE_S = 30.0
"""A homeserver that fails at this is not asked again for so long."""

_Place = tuple[str, str]
"""A room and an event: nobody gets to see a message of another room by naming it."""


class Quotes:
    """The quotations of one account."""

    def __init__(self, client: Client, encryption: Encryption, log: FilteringBoundLogger) -> None:
        self._client = client
        self._encryption = encryption
        self._log = log
        self._known: OrderedDict[_Place, str] = OrderedDict()
        self._wanted: OrderedDict[_Place, str] = OrderedDict()
        """Replies whose quotation is not known, and what they reply to."""
        self._not_before = 0.0

    def heard(self, entry: Inbound, event: Mapping[str, Any]) -> None:
        """Take note of what came in as `event`."""
        room_id = entry.address.conversation
        match entry.kind:
            case Kind.MESSAGE:
                self.said(room_id, entry.event_id, entry.text or _names(entry))
                target = replied_to(event)
                if target and not entry.quote:
                    self._wanted[room_id, entry.event_id] = target
                    _trim(self._wanted)
            case Kind.EDIT if (room_id, entry.target) in self._known:
                self.said(room_id, entry.target, entry.text)
            case Kind.REDACTION:
                self._known.pop((room_id, entry.target), None)

    def said(self, room_id: str, event_id: str, words: str) -> None:
        """An event says this now."""
        self._known[room_id, event_id] = words[:LONGEST]
        self._known.move_to_end((room_id, event_id))
        _trim(self._known)

    async def filled(self, entries: Sequence[Inbound]) -> list[Inbound]:
        """The entries, with the quotations that can be had."""
        places = [self._place(entry) for entry in entries]
        await self._fetch([place for place in places if place and place not in self._known])
        return [
            entry if place is None else replace(entry, quote=self._known.get(place, ""))
            for entry, place in zip(entries, places, strict=True)
        ]

    def _place(self, entry: Inbound) -> _Place | None:
        """Where the words are that an entry replies to, if they are still to be found."""
        room_id = entry.address.conversation
        target = self._wanted.pop((room_id, entry.event_id), None)
        return None if target is None else (room_id, target)

    async def _fetch(self, places: Sequence[_Place]) -> None:
        if not places or time.monotonic() < self._not_before:
            return
        try:
            async with asyncio.timeout(FETCH_S), asyncio.TaskGroup() as group:
                for place in list(dict.fromkeys(places))[:MOST_FETCHED]:
                    group.create_task(self._fetch_one(place))
        except TimeoutError:
            self._failed("too slow")

    async def _fetch_one(self, place: _Place) -> None:
        room_id, event_id = place
        path = quote("v3", "rooms", room_id, "event", event_id)
        try:
            event = await self._client.call("GET", path, timeout_s=FETCH_S)
        except Unavailable as error:
            self._failed(error.code)
        except Rejected:
            self.said(room_id, event_id, "")
        else:
            self.said(room_id, event_id, await self._words(room_id, event))

    async def _words(self, room_id: str, event: Mapping[str, Any]) -> str:
        """What an event says now: homeservers add the last edit to it ("Server-side aggregation of `m.replace`")."""
        bundled = mapping(mapping(mapping(event.get("unsigned")).get("m.relations")).get("m.replace"))
        edit = await self._opened(room_id, bundled)
        edited = mapping(mapping(edit.get("content")).get("m.new_content"))
        return _text(await self._opened(room_id, event), edited)

    async def _opened(self, room_id: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """An event as it is inside; nothing for one that the homeserver could have written."""
        if self._encryption.holds(room_id) and event.get("type") != ENCRYPTED:
            return {}
        return await self._encryption.opened(room_id, event, hold=False)

    def _failed(self, why: str) -> None:
        self._not_before = time.monotonic() + PAUSE_S
        self._log.info("quote.failed", why=why)


def _text(event: Mapping[str, Any], edited: Mapping[str, Any]) -> str:
    content = edited or mapping(event.get("content"))
    if content.get("msgtype") == "m.notice":
        content = {**content, "msgtype": "m.text"}  # what the host said may be replied to as well
    reader = sticker if event.get("type") == "m.sticker" else say
    said = reader(content, text(event.get("sender")) or "")
    return "" if isinstance(said, Skipped) else said.text or _names(said)


def _names(said: Any) -> str:
    return ", ".join(attachment.name for attachment in said.attachments)


def _trim(known: OrderedDict[_Place, str]) -> None:
    while len(known) > MOST_KNOWN:
        known.popitem(last=False)
