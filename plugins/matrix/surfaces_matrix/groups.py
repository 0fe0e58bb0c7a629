"""Knows the rooms where several people talk: when the bot is meant there, and who manages them.

It is meant by `m.mentions` ("User and room mentions"), by a reply to what it said, and, from clients that know
no such mentions, by its id or name in the text. What meant it is cut off: the rest is the question.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from structlog.typing import FilteringBoundLogger

from surfaces_core import Inbound, Kind, Rejected, Unavailable
from surfaces_matrix.client import Client, quote
from surfaces_matrix.relations import replied_to
from surfaces_matrix.roomstate import RoomState
from surfaces_matrix.shapes import mapping, one_line, sequence, text

LOOK_S = 2.0
"""For one look at what a reply replies to: others wait meanwhile."""
MANAGES = 50
"""Whoever has this power level may change the conversation (the spec's default for changing a room)."""
_LONGEST_NAME = 100


class Unclear(Exception):
    """Whether something was said to the bot can't be told for now."""


class Groups:
    """The shared rooms of one account; without `enabled` nothing said in them is taken."""

    def __init__(self, client: Client, state: RoomState, log: FilteringBoundLogger, *, enabled: bool) -> None:
        self._client = client
        self._state = state
        self._log = log
        self._me = client.user_id
        self.enabled = enabled
        self._levels: dict[str, Mapping[str, Any]] = {}
        """The power levels of each shared room."""
        self._creators: dict[str, frozenset[str]] = {}
        """Who stands above all levels, in rooms of version 12 and later."""
        self._names: re.Pattern[str] | None = None

    def __contains__(self, room: str) -> bool:
        return room in self._levels

    async def add(self, room: str) -> None:
        """A room is shared from now on."""
        create = await self._state.event(room, "m.room.create")
        self.learn(room, create, await self._state.content(room, "m.room.power_levels"))

    def learn(self, room: str, create: Mapping[str, Any], levels: Mapping[str, Any]) -> None:
        """What a shared room's state says."""
        content = mapping(create.get("content"))
        version = text(content.get("room_version")) or "1"
        creators = {text(create.get("sender")), *map(text, sequence(content.get("additional_creators")))}
        above = version.isdecimal() and int(version) >= 12
        self._creators[room] = frozenset(filter(None, creators)) if above else frozenset()
        self._levels[room] = levels

    def note(self, room: str, levels: Mapping[str, Any]) -> None:
        """The power levels of a room changed."""
        if room in self._levels:
            self._levels[room] = levels

    def manages(self, room: str, person: str) -> bool:
        """Whether a person may change what is everybody's."""
        if room not in self._levels:
            return False
        levels = self._levels[room]
        level = mapping(levels.get("users")).get(person, levels.get("users_default", 0))
        return person in self._creators[room] or (isinstance(level, int) and level >= MANAGES)

    async def meant(self, entry: Inbound, event: Mapping[str, Any], *, sure: bool) -> Inbound | None:
        """What was said to the bot, without what says so; None where others are meant.

        A reply to what can't be looked at now raises `Unclear` where it has to be `sure`; else others are meant.
        """
        room = entry.address.conversation
        if room not in self._levels or entry.kind is not Kind.MESSAGE:
            return entry
        if not self.enabled:
            return None
        names = await self._known_names()
        mentions = mapping(event.get("content")).get("m.mentions")
        named = names.search(entry.text) is not None
        mentioned = self._me in sequence(mapping(mentions).get("user_ids")) if isinstance(mentions, dict) else named
        if not mentioned and not await self._replies(room, replied_to(event), sure=sure):
            return None
        rest = names.sub("", entry.text, count=1).strip()
        return replace(entry, text=rest) if rest or entry.attachments else entry

    async def _replies(self, room: str, event_id: str, *, sure: bool) -> bool:
        """Whether what is replied to was said by the bot."""
        if not event_id:
            return False
        try:
            event = await self._client.call("GET", quote("v3", "rooms", room, "event", event_id), timeout_s=LOOK_S)
        except (Unavailable, Rejected) as error:
            self._log.info("group.reply_unknown", room=room, error=type(error).__name__)
            if sure and isinstance(error, Unavailable):
                raise Unclear from error
            return False
        return event.get("sender") == self._me

    async def _known_names(self) -> re.Pattern[str]:
        """What people call the bot in a text: a link to it, its id, its name; with what stands around it."""
        if self._names is None:
            try:
                answer = await self._client.call("GET", quote("v3", "profile", self._me, "displayname"))
            except (Unavailable, Rejected):
                answer = {}
            name = one_line(answer.get("displayname"), _LONGEST_NAME) or self._me[1:].partition(":")[0]
            mine, called = re.escape(self._me), re.escape(name)
            # `@name:` may begin somebody else's id.
            either = rf"(?:{mine}|@?{called}(?!:[\w.-]*\.\w))"
            self._names = re.compile(rf"(?:(?<=\s)|^){either}(?!\w)[:,]?\s*", re.IGNORECASE)
        return self._names
