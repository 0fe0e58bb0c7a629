"""Puts messages into rooms, each under a transaction id, and none as plain text into a room that is encrypted."""

from __future__ import annotations

from surfaces_core import Unavailable
from surfaces_matrix.client import Client, quote
from surfaces_matrix.content import Content
from surfaces_matrix.encryption import Encryption
from surfaces_matrix.login import Login

SILENCE_S = 8.0
"""A homeserver that says nothing for so long is asked once more: it knows a repeat."""


class Say:
    """The one way by which words leave."""

    def __init__(self, client: Client, encryption: Encryption, login: Login) -> None:
        self._client = client
        self._encryption = encryption
        self._login = login

    async def allowed(self, room_id: str, *, timeout_s: float) -> bool:
        """Pass where something may be said; True where it will be encrypted. Raises `Unavailable` or `Rejected`."""
        return await self._encryption.check(room_id, timeout_s=timeout_s)

    async def __call__(
        self,
        room_id: str,
        txn: str,
        content: Content,
        *,
        timeout_s: float,
        session: str | None = None,
        type_: str = "m.room.message",
    ) -> str:
        """The id of the message that shows; the homeserver drops a repeat of `txn` (Matrix spec, "Sending events").

        Under another login than `session` nothing is sent. Raises `Unavailable` or `Rejected`.
        """
        type_, body = await self._encryption.seal(room_id, type_, content, timeout_s=timeout_s)
        if session is not None and session != self._login.session:
            raise Unavailable("there was another login meanwhile", code="LOGIN_CHANGED")
        path = quote("v3", "rooms", room_id, "send", type_, txn)
        answer = await self._client.call("PUT", path, body, timeout_s=timeout_s, needs="event_id", silence_s=SILENCE_S)
        return str(answer["event_id"])
