"""Reads what was said in a room before a message, as it says now, for agents that remember nothing themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import orjson

from surfaces_core import Inbound, Kind, Said, Unavailable
from surfaces_matrix.client import Client, quote
from surfaces_matrix.encryption import ENCRYPTED, Encryption
from surfaces_matrix.errors import Refused
from surfaces_matrix.shapes import mapping, text
from surfaces_matrix.translate import translate

PAGE = 100
MOST_PAGES = 5
"""What lies further back is not looked for."""
FILTER = orjson.dumps({"types": ["m.room.message", ENCRYPTED], "lazy_load_members": True}).decode()


class History:
    """What was said in the rooms of one account."""

    def __init__(
        self, client: Client, encryption: Encryption, *, surface: str, prefix: str, allowed: Callable[[str], bool]
    ) -> None:
        self._client = client
        self._encryption = encryption
        self._surface = surface
        self._prefix = prefix
        self._allowed = allowed
        """Who may talk to the bot: nobody else's words go to an agent."""

    async def before(self, room_id: str, event_id: str, *, limit: int, thread: str) -> Sequence[Said]:
        """The last `limit` messages ahead of an event, oldest first; none where the room shows none. `Unavailable`."""
        newest_first: list[Said] = []
        edits: dict[tuple[str, str], str] = {}
        found = False
        try:
            async for event in self._backwards(room_id):
                entry = await self._entry(room_id, event)
                if entry is not None and entry.kind is Kind.EDIT:
                    edits.setdefault((entry.sender, entry.target), entry.text)  # the newest comes first
                elif found and entry is not None and _is_in(entry, thread):
                    said = self._said(entry, edits.get((entry.sender, entry.event_id), entry.text))
                    newest_first += [said] if said is not None else []
                found = found or event.get("event_id") == event_id
                if len(newest_first) >= limit:
                    break
        except Refused:  # the bot may not read this room's past
            return ()
        return newest_first[::-1]

    async def _backwards(self, room_id: str) -> AsyncIterator[Mapping[str, Any]]:
        """The room's events, newest first."""
        path, query = quote("v3", "rooms", room_id, "messages"), {"dir": "b", "limit": str(PAGE), "filter": FILTER}
        for _ in range(MOST_PAGES):
            page = await self._client.call("GET", path, query=query)
            if not isinstance(page.get("chunk"), list):
                raise Unavailable(f"GET {path}: the answer has no chunk")
            for event in page["chunk"]:
                yield mapping(event)
            following = text(page.get("end"))
            if following in (None, query.get("from")):
                return
            query = {**query, "from": str(following)}

    async def _entry(self, room_id: str, event: Mapping[str, Any]) -> Inbound | None:
        """What an event says, the bot's own like anybody's; None for one that the homeserver could have written."""
        if self._encryption.holds(room_id) and event.get("type") != ENCRYPTED:
            return None
        opened = await self._encryption.opened(room_id, event, hold=False)
        entry = translate(self._surface, room_id, opened, me="")  # notices, which the host speaks in, are skipped
        return entry if isinstance(entry, Inbound) else None

    def _said(self, entry: Inbound, words: str) -> Said | None:
        own = entry.sender == self._client.user_id
        if not words.strip() or not (own or (self._allowed(entry.sender) and not self._is_command(words))):
            return None
        name = "" if own else entry.sender[1:].partition(":")[0]
        return Said(by="agent" if own else "person", text=words, at=entry.sent_at, name=name)

    def _is_command(self, words: str) -> bool:
        behind = words.removeprefix(self._prefix)
        return behind != words and not behind[:1].isspace()


def _is_in(entry: Inbound, thread: str) -> bool:
    """Whether a message stands in a thread, its root among them; without one, outside of all."""
    return entry.kind is Kind.MESSAGE and (entry.thread == thread or (bool(thread) and entry.event_id == thread))
