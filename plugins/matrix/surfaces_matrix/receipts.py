"""Shows people how far the bot has read: one receipt for a room at a time, and none that anybody waits for."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from contextlib import suppress
from typing import Literal, TypeVar

from surfaces_core import Inbound, Kind, Rejected, Unavailable
from surfaces_matrix.client import Client, quote
from surfaces_matrix.relations import event_id

EVERY_S = 3.0
"""Between two receipts in a room; the later one says all that those between would have said."""
TIMEOUT_S = 5.0
PAUSE_S = 30.0
"""A homeserver that fails at this is left alone for so long; what it missed the next receipts say."""
MOST_ROOMS = 4096

_T = TypeVar("_T")
_KINDS = {"public": "m.read", "private": "m.read.private"}


class Receipts:
    """The read receipts of one account (Matrix spec, "Receipts"); `run` is a task that sends them."""

    def __init__(self, client: Client, kind: Literal["public", "private", "off"]) -> None:
        self._client = client
        self._kind = _KINDS.get(kind, "")
        self._due: OrderedDict[str, str] = OrderedDict()
        """The last event that was taken up, by room."""
        self._sent: OrderedDict[str, float] = OrderedDict()
        """When a room had its last one, on the monotonic clock."""
        self._changed = asyncio.Event()

    def take_up(self, message: Inbound) -> None:
        """A message was taken up: all up to it is read."""
        if self._kind and message.kind is Kind.MESSAGE and event_id(message.event_id):
            _put(self._due, message.address.conversation, message.event_id)
            self._changed.set()

    async def run(self) -> None:
        """Send what is due, until cancelled."""
        while True:
            self._changed.clear()
            wait_s = await self._pass()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()

    async def _pass(self) -> float | None:
        """Send what may go now; seconds until the next may, None where there is none."""
        waits_s = []
        for room_id in list(self._due):
            wait_s = self._sent.get(room_id, -EVERY_S) + EVERY_S - time.monotonic()
            if wait_s > 0:
                waits_s.append(wait_s)
            elif not await self._send(room_id, self._due.pop(room_id)):
                await asyncio.sleep(PAUSE_S)
        return min(waits_s, default=None)

    async def _send(self, room_id: str, read: str) -> bool:
        """Whether the homeserver is well; where it is not, or refuses, this one is dropped."""
        _put(self._sent, room_id, time.monotonic())
        try:
            path = quote("v3", "rooms", room_id, "receipt", self._kind, read)
            await self._client.call("POST", path, {}, timeout_s=TIMEOUT_S)
        except Unavailable:
            return False
        except Rejected:
            pass
        return True


def _put(rooms: OrderedDict[str, _T], room_id: str, value: _T) -> None:
    rooms[room_id] = value
    rooms.move_to_end(room_id)
    while len(rooms) > MOST_ROOMS:
        rooms.popitem(last=False)
