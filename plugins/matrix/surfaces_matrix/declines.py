"""Declines the invites of people who may not talk to the bot, beside the sync and one at a time."""

from __future__ import annotations

import asyncio

from structlog.typing import FilteringBoundLogger

from surfaces_core import Unavailable
from surfaces_matrix.backoff import Backoff
from surfaces_matrix.client import Client, quote
from surfaces_matrix.errors import Refused

MOST_WAITING = 1000
TRIES = 5


class Declines:
    """Room ids wait in memory only: an invite that is still open is seen again at the next start."""

    def __init__(self, client: Client, log: FilteringBoundLogger, *, timeout_s: float) -> None:
        self._client = client
        self._log = log
        self._timeout_s = timeout_s
        self._waiting: dict[str, None] = {}
        self._more = asyncio.Event()

    def add(self, room_id: str, inviter: str) -> None:
        """Decline one; logged once however often it is seen."""
        if room_id not in self._waiting and len(self._waiting) < MOST_WAITING:
            self._log.info("invite.declined", room=room_id, inviter=inviter)
            self._waiting[room_id] = None
            self._more.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._more.wait()
            room_id = next(iter(self._waiting))
            await self._leave(room_id)
            del self._waiting[room_id]
            if not self._waiting:
                self._more.clear()

    async def _leave(self, room_id: str) -> None:
        backoff, path = Backoff(), quote("v3", "rooms", room_id, "leave")
        for _ in range(TRIES):
            try:
                await self._client.call("POST", path, {}, timeout_s=self._timeout_s)
            except Unavailable as error:
                await asyncio.sleep(backoff.next(error.retry_after))
            except Refused as error:
                self._log.warning("invite.stays", room=room_id, errcode=error.errcode)
                return
            else:
                return
