"""Follows rooms that were upgraded (Matrix spec, "Room upgrades"), and knows where each one went.

A tombstone alone is not believed: the room it leads to must name the old one as its predecessor. Who wrote
the tombstone had the power to, or the homeserver would not have taken it. What was said in an encrypted room
does not go on in one that is not.
"""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from surfaces_core import Store
from surfaces_matrix.client import Client, quote
from surfaces_matrix.encryption import ENCRYPTION, was_encrypted
from surfaces_matrix.errors import Refused
from surfaces_matrix.roomstate import RoomState
from surfaces_matrix.shapes import mapping, text

JOINING_TAKES = 3
"""Times as long as other requests."""
_ROWS = "moved/"


class Moves:
    """The moves of one account's rooms. What is stored, by the old room: the new one; empty where it is closed."""

    def __init__(self, client: Client, store: Store, state: RoomState, log: FilteringBoundLogger) -> None:
        self._client = client
        self._store = store
        self._state = state
        self._log = log

    async def target(self, room: str) -> str | None:
        """Where a room went, over however many moves; None where it did not."""
        seen = {room}
        there = None
        while (raw := await self._store.get(_ROWS + (there or room))) and raw.decode() not in seen:
            there = raw.decode()
            seen.add(there)
        return there

    async def is_open(self, room: str) -> bool:
        """Whether a room was closed by an upgrade that nobody has followed yet."""
        return await self._store.get(_ROWS + room) is None and bool(await self._replacement(room))

    async def predecessor(self, room: str) -> str | None:
        """The room that this one replaces, where that one says the same."""
        create = await self._state.content(room, "m.room.create")
        old = text(mapping(create.get("predecessor")).get("room_id"))
        if old is None or old == room:
            return None
        known = await self._store.get(_ROWS + old) == room.encode()
        return old if known or await self._replacement(old) == room else None

    async def arrive(self, old: str, new: str) -> bool:
        """Join the room that replaces another; False where it does not, or nobody may come in yet."""
        if await self._store.get(_ROWS + old) == new.encode():
            return True
        tombstone = await self._state.event(old, "m.room.tombstone")
        if text(mapping(tombstone.get("content")).get("replacement_room")) != new:
            return await self._stay(old, new, "no_tombstone")
        server = (text(tombstone.get("sender")) or "").partition(":")[2]
        try:
            await self._client.call(
                "POST",
                quote("v3", "join", new),
                {},
                query={"server_name": server},
                timeout_s=JOINING_TAKES * self._client.timeout_s,
            )
        except Refused as error:
            return await self._stay(old, new, error.errcode)
        create = await self._state.content(new, "m.room.create")
        if text(mapping(create.get("predecessor")).get("room_id")) != old:
            await self.leave(new)
            return await self._stay(old, new, "no_predecessor")
        if await was_encrypted(self._store, old) and not await self._state.content(new, ENCRYPTION):
            await self.leave(new)
            return await self._stay(old, new, "not_encrypted")
        return True

    async def went(self, old: str, new: str) -> None:
        """Everything of the old room is in the new one: leave the old one."""
        await self._store.put(_ROWS + old, new.encode())
        self._log.info("room.followed", room=old, target=new)
        await self.leave(old)

    async def leave(self, room: str) -> None:
        """Leave a room for good."""
        for act in ("leave", "forget"):
            try:
                await self._client.call("POST", quote("v3", "rooms", room, act), {})
            except Refused as error:
                self._log.debug("room.stays", room=room, act=act, errcode=error.errcode)

    async def _stay(self, old: str, new: str, reason: str) -> bool:
        self._log.warning("room.not_followed", room=old, target=new, reason=reason)
        await self._store.put(_ROWS + old, b"")
        return False

    async def _replacement(self, room: str) -> str | None:
        return text((await self._state.content(room, "m.room.tombstone")).get("replacement_room"))
