"""Knows who is in encrypted rooms, and so whose devices may read what is said there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from surfaces_core import Unavailable
from surfaces_matrix.client import Client, quote
from surfaces_matrix.memberships import joined_rooms, joined_state
from surfaces_matrix.roomstate import RoomState
from surfaces_matrix.shapes import mapping, user_id

BELIEVED_S = 600.0
"""So long a list of members counts without a change."""


@dataclass(frozen=True, slots=True)
class _Members:
    readers: frozenset[str]
    asked: float


class Members:
    """The members of one account's rooms, asked for when something is to be said."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._state = RoomState(client)
        self._known: dict[str, _Members] = {}
        self._changes: dict[str, int] = {}

    def notice(self, response: Mapping[str, Any]) -> None:
        """Learn from a sync response where somebody came or went, or may have."""
        rooms = joined_rooms(response)
        for room_id, events in joined_state(response).items():
            timeline = mapping(mapping(rooms[room_id]).get("timeline"))
            moved = any(mapping(event).get("type") == "m.room.member" for event in events)
            if moved or timeline.get("limited") is True:
                self._changes[room_id] = self._changes.get(room_id, 0) + 1
                self._known.pop(room_id, None)

    async def readers(self, room_id: str, *, timeout_s: float) -> frozenset[str]:
        """Who may read what is said now: the joined and, unless history is for them alone, the invited ones.

        `Unavailable` or `Refused`.
        """
        known = self._known.get(room_id)
        if known is not None and time.monotonic() - known.asked < BELIEVED_S:
            return known.readers
        before = self._changes.get(room_id, 0)
        readers = await self._ask(room_id, timeout_s)
        if self._changes.get(room_id, 0) == before:
            self._known[room_id] = _Members(readers, time.monotonic())
        return readers

    async def _ask(self, room_id: str, timeout_s: float) -> frozenset[str]:
        path = quote("v3", "rooms", room_id, "members")
        answer = await self._client.call("GET", path, query={"not_membership": "leave"}, timeout_s=timeout_s)
        if not isinstance(answer.get("chunk"), list):
            raise Unavailable(f"GET {path}: the answer has no chunk")
        found: dict[str, set[str]] = {"join": set(), "invite": set()}
        for event in map(mapping, answer["chunk"]):
            person = user_id(event.get("state_key"))
            membership = mapping(event.get("content")).get("membership")
            if person is not None and membership in ("join", "invite"):
                found[membership].add(person)
        if found["invite"]:
            visibility = await self._state.content(room_id, "m.room.history_visibility")
            if visibility.get("history_visibility") == "joined":
                found["invite"] = set()
        return frozenset(found["join"] | found["invite"])
