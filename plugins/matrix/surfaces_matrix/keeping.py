"""Keeps each conversation's binding where the bot alone can write it, and outside of the host's own store.

That is the room's state. Where the bot may not set state any more, and in rooms that belong to others, it is the
account's own data of the room (Matrix spec, "Client config"), which nobody else sees or changes. What is there
counts before what the state says: it was written later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from structlog.typing import FilteringBoundLogger

from surfaces_core import Binding
from surfaces_matrix.client import Client, quote
from surfaces_matrix.errors import Refused
from surfaces_matrix.roomstate import RoomState
from surfaces_matrix.state import BINDING, BindingContent


class Keeping:
    """The bindings of one account."""

    def __init__(self, client: Client, state: RoomState, log: FilteringBoundLogger) -> None:
        self._client = client
        self._state = state
        self._log = log
        self._aside: set[str] = set()
        """Rooms whose binding is among the account's own data although it belongs into the state."""

    def learn(self, rooms: Mapping[str, object]) -> None:
        """What own data a snapshot shows, by room."""
        self._aside = set(rooms)

    async def aside(self, room: str) -> Mapping[str, Any]:
        """What is kept among the account's own data of a room; empty where nothing is."""
        try:
            return await self._client.call("GET", self._path(room))
        except Refused:
            return {}

    async def write(self, binding: Binding) -> None:
        """Write a binding; a repeat changes nothing."""
        room, content = binding.address.conversation, BindingContent.of(binding).content()
        if binding.shared:
            await self._put(room, content)
            return
        try:
            await self._state.set(room, BINDING, "", content)
        except Refused as error:
            self._log.warning("binding.aside", room=room, errcode=error.errcode)
            await self._put(room, content)
            self._aside.add(room)
        else:
            await self.clear(room)

    async def clear(self, room: str) -> None:
        """Keep nothing of a room aside."""
        if room in self._aside:
            await self._put(room, {})
            self._aside.discard(room)

    async def _put(self, room: str, content: Mapping[str, Any]) -> None:
        await self._client.call("PUT", self._path(room), dict(content))

    def _path(self, room: str) -> str:
        return quote("v3", "user", self._client.user_id, "rooms", room, "account_data", BINDING)
