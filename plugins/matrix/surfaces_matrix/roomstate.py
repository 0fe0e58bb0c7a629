"""Reads and writes single state events of rooms (Matrix spec, "Rooms", `/state/{eventType}/{stateKey}`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from surfaces_matrix.client import Client, quote
from surfaces_matrix.errors import Refused
from surfaces_matrix.shapes import text


class RoomState:
    """The state of one account's rooms. `Unavailable`; `Refused` where something is to be set."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def membership(self, room: str, person: str) -> str | None:
        """`join`, `invite`, `leave`, …; None where there is none or the bot may not see it."""
        path = quote("v3", "rooms", room, "state", "m.room.member", person)
        try:
            # An answer without it says nothing: whoever took it for "gone" would make another room.
            return text((await self._client.call("GET", path, needs="membership")).get("membership"))
        except Refused:
            return None

    async def content(self, room: str, type_: str, key: str = "") -> Mapping[str, Any]:
        """A state event's content; empty where there is none or the bot may not see it."""
        try:
            return await self._client.call("GET", quote("v3", "rooms", room, "state", type_, key))
        except Refused:
            return {}

    async def set(self, room: str, type_: str, key: str, content: Mapping[str, object]) -> None:
        """Set a state event; repeating it changes nothing."""
        await self._client.call("PUT", quote("v3", "rooms", room, "state", type_, key), dict(content))
