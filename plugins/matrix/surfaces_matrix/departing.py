"""Leaves and forgets every room of the bot, for an operator who starts anew. People's own rooms stay theirs."""

from __future__ import annotations

from collections.abc import AsyncIterator

from surfaces_matrix.client import Client, quote
from surfaces_matrix.errors import Refused
from surfaces_matrix.shapes import sequence, text

BY_HAND = (
    "Rooms and Spaces stay on the homeserver, for whoever is in them: each person leaves them in their own client.",
    "The bot's login stays in the list of its account's sessions: log it out there.",
)
"""What a reset cannot do."""


async def depart(client: Client, *, pretend: bool) -> AsyncIterator[str]:
    """A line for each room (Matrix spec, leaving rooms). Raises `Unavailable`."""
    answer = await client.call("GET", "/v3/joined_rooms")
    for room in filter(None, map(text, sequence(answer.get("joined_rooms")))):
        yield f"would leave and forget {room}" if pretend else await _left(client, room)


async def _left(client: Client, room: str) -> str:
    try:
        await client.call("POST", quote("v3", "rooms", room, "leave"), {})
    except Refused as error:
        return f"! could not leave {room}: {error}"
    try:
        await client.call("POST", quote("v3", "rooms", room, "forget"), {})
    except Refused as error:
        return f"left {room}; could not forget it: {error}"
    return f"left and forgot {room}"
