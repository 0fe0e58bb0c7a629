"""Reads and writes single state events of rooms (Matrix spec, "Rooms", `/state/{eventType}/{stateKey}`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from surfaces_matrix.client import Client, quote
from surfaces_matrix.errors import Refused
from surfaces_matrix.shapes import text


def state_path(room: str, type_: str, key: str = "") -> str:
    """Where a state event is; an empty key is left out, for not every homeserver knows a path that ends in a slash."""
    return quote("v3", "rooms", room, "state", type_, *([key] if key else []))


class RoomState:
    """The state of one account's rooms. `Unavailable`; `Refused` where something is to be set."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def membership(self, room: str, person: str) -> str | None:
        """`join`, `invite`, `leave`, …; None where there is none or the bot may not see it."""
        path = state_path(room, "m.room.member", person)
        try:
            # An answer without it says nothing: whoever took it for "gone" would make another room.
            return text((await self._client.call("GET", path, needs="membership")).get("membership"))
        except Refused:
            return None

    async def content(self, room: str, type_: str, key: str = "") -> Mapping[str, Any]:
        """A state event's content; empty where there is none or the bot may not see it."""
        try:
            return await self._client.call("GET", state_path(room, type_, key))
        except Refused:
            return {}

    async def event(self, room: str, type_: str, key: str = "") -> Mapping[str, Any]:
        """A whole state event; empty where there is none or the bot may not see it."""
        try:
            return await self._client.call("GET", state_path(room, type_, key), query={"format": "event"})
        except Refused:
            return {}

    async def set(self, room: str, type_: str, key: str, content: Mapping[str, object]) -> None:
        """Set a state event; repeating it changes nothing."""
        await self._client.call("PUT", state_path(room, type_, key), dict(content))
