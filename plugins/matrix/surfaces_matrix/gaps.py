"""Fetches what a limited timeline left out, backwards and within bounds (Matrix spec, "Syncing")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from surfaces_core import Unavailable
from surfaces_matrix.client import Client, quote
from surfaces_matrix.errors import Refused
from surfaces_matrix.filters import messages_filter
from surfaces_matrix.shapes import mapping, seconds, sequence, text

PAGE = 100
TRIES = 5
"""Failures in a row until a room's gap is given up, so that one room can't hold up the others for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """What was fetched, oldest first; `complete` when nothing lies between it and the end that was asked for."""

    events: list[Any]
    complete: bool


class Filler:
    """Fills gaps of one account's rooms; at most `most` events for each."""

    def __init__(self, client: Client, *, most: int, timeout_s: float) -> None:
        self._client = client
        self._most = most
        self._timeout_s = timeout_s
        self._filter = orjson.dumps(messages_filter(client.user_id)).decode()
        self._failures: dict[str, int] = {}

    async def fill(self, room_id: str, start: str, end: str | None, not_before: float) -> Filled:
        """Fetch back from `start` to `end` (both tokens), or to `not_before` (Unix seconds).

        Raises `Unavailable`, but for `TRIES` in a row on one room, which then is a gap.
        """
        try:
            filled = await self._pages(room_id, start, end, not_before)
        except Refused:
            filled = Filled(events=[], complete=False)
        except Unavailable:
            self._failures[room_id] = self._failures.get(room_id, 0) + 1
            if self._failures[room_id] < TRIES:
                raise
            filled = Filled(events=[], complete=False)
        self._failures.pop(room_id, None)
        return filled

    async def _pages(self, room_id: str, start: str, end: str | None, not_before: float) -> Filled:
        newest_first: list[Any] = []
        for _ in range(2 + 2 * self._most // PAGE):
            # One more than may be had tells whether there is more.
            page = await self._page(room_id, start, end, min(PAGE, self._most + 1 - len(newest_first)))
            newest_first += sequence(page.get("chunk"))
            if len(newest_first) > self._most:
                return Filled(events=newest_first[: self._most][::-1], complete=False)
            following = text(page.get("end"))
            if following in (None, start, end) or _older(newest_first, not_before):
                return Filled(events=newest_first[::-1], complete=True)
            start = str(following)
        return Filled(events=newest_first[::-1], complete=False)

    async def _page(self, room_id: str, start: str, end: str | None, limit: int) -> dict[str, Any]:
        query = {"dir": "b", "from": start, "limit": str(limit), "filter": self._filter}
        if end is not None:
            query["to"] = end
        path = quote("v3", "rooms", room_id, "messages")
        return await self._client.call("GET", path, query=query, timeout_s=self._timeout_s)


def _older(newest_first: list[Any], not_before: float) -> bool:
    """The last event is older than anybody wants; events without a time are not."""
    if not newest_first:
        return False
    sent_at = seconds(mapping(newest_first[-1]).get("origin_server_ts"))
    return sent_at is not None and sent_at < not_before
