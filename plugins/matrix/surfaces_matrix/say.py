"""Puts one message into a room under a transaction id."""

from __future__ import annotations

from surfaces_core import Unavailable
from surfaces_matrix.client import Client, quote
from surfaces_matrix.content import Content
from surfaces_matrix.shapes import text


async def say(client: Client, room_id: str, txn: str, content: Content, *, timeout_s: float) -> str:
    """The id of the message that shows; the homeserver drops a repeat of `txn` (Matrix spec, "Sending events").

    Raises `Unavailable` or `Refused`.
    """
    path = quote("v3", "rooms", room_id, "send", "m.room.message", txn)
    answer = await client.call("PUT", path, content, timeout_s=timeout_s)
    event_id = text(answer.get("event_id"))
    if event_id is None:
        raise Unavailable("the homeserver's answer names no event")
    return event_id
