"""Knows which rooms are encrypted: this bot can say nothing there, for it would go out as plain text.

A room that was encrypted once stays so, whatever its state says later (Matrix spec, "End-to-end
encryption"). Where nothing has told yet, the room's own state is asked before the first word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from structlog.typing import FilteringBoundLogger

from surfaces_core import Unavailable
from surfaces_matrix.client import Client
from surfaces_matrix.errors import Encrypted, Refused
from surfaces_matrix.memberships import joined_state
from surfaces_matrix.roomstate import state_path
from surfaces_matrix.shapes import mapping, sequence, user_id

ENCRYPTION = "m.room.encryption"
_NO_SUCH_STATE = frozenset({"M_NOT_FOUND", "M_UNRECOGNIZED"})
"""A homeserver that knows no encryption may not know the path either."""
VERIFICATION = "m.key.verification.request"
"""In a room as a message, else to the device (Matrix spec, "Key verification framework")."""
MOST_UNANSWERED = 1000


class Encryption:
    """What one account knows of its rooms."""

    def __init__(self, client: Client, log: FilteringBoundLogger) -> None:
        self._client = client
        self._log = log
        self._encrypted: dict[str, bool] = {}
        """By room id; a room that is not here has to be asked."""
        self._unanswered: set[str] = set()

    @property
    def seen(self) -> int:
        """How many of the bot's rooms are known to be encrypted."""
        return sum(self._encrypted.values())

    def notice(self, response: Mapping[str, Any]) -> None:
        """Learn from a sync response which rooms became encrypted, and who waits for this bot to prove itself."""
        for room_id, events in joined_state(response).items():
            for event in map(mapping, events):
                if event.get("type") == ENCRYPTION:
                    self._note(room_id)
                elif mapping(event.get("content")).get("msgtype") == VERIFICATION:
                    self._leave_unanswered(user_id(event.get("sender")), room_id)
        for event in map(mapping, sequence(mapping(response.get("to_device")).get("events"))):
            if event.get("type") == VERIFICATION:
                self._leave_unanswered(user_id(event.get("sender")), "")

    def complete(self, rooms: Iterable[str]) -> None:
        """All state of these rooms was noticed: the others among them are not encrypted."""
        for room_id in rooms:
            self._encrypted.setdefault(room_id, False)

    async def check(self, room_id: str, *, timeout_s: float) -> None:
        """Pass where words may go out. Raises `Encrypted`, and `Unavailable` or `Refused` where it can't be told."""
        if room_id not in self._encrypted:
            await self._ask(room_id, timeout_s)
        if self._encrypted[room_id]:
            raise Encrypted(f"{room_id} is encrypted and this bot cannot encrypt")

    async def _ask(self, room_id: str, timeout_s: float) -> None:
        try:
            content = await self._client.call("GET", state_path(room_id, ENCRYPTION), timeout_s=timeout_s)
        except Refused as error:
            if error.status != 404 or error.errcode not in _NO_SUCH_STATE:
                raise
            self._encrypted.setdefault(room_id, False)
            return
        if not content:
            # A homeserver that answers so to everything says nothing; of a real event the sync tells, too.
            raise Unavailable("the homeserver does not tell whether the room is encrypted")
        self._note(room_id)

    def _note(self, room_id: str) -> None:
        if not self._encrypted.get(room_id):
            self._encrypted[room_id] = True
            self._log.warning("room.encrypted", room=room_id, effect="nothing is read or said there")

    def _leave_unanswered(self, sender: str | None, room_id: str) -> None:
        """Say once for each person why their client waits in vain."""
        if sender is not None and sender not in self._unanswered and len(self._unanswered) < MOST_UNANSWERED:
            self._unanswered.add(sender)
            self._log.warning("verification.unanswered", sender=sender, room=room_id)
