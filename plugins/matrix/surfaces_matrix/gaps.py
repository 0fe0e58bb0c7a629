"""Fetches what a limited timeline left out, backwards and within bounds (Matrix spec, "Syncing")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from surfaces_core import Unavailable
from surfaces_matrix.client import Client, quote
from surfaces_matrix.cursor import Reach
from surfaces_matrix.errors import Refused
from surfaces_matrix.filters import SIGN_TYPES, messages_filter
from surfaces_matrix.shapes import mapping, seconds, text

PAGE = 100
NOW = float("inf")
"""The time of what can't be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """What was fetched, oldest first."""

    events: list[Any]
    left_out: float | None = None
    """Unix seconds of the newest event that lies between it and the end that was asked for, if there is one."""
    unreadable: bool = False
    """The homeserver shows nothing of this room's past."""
    reach: Reach
    """How far back it was looked in the end."""


class Filler:
    """Fills gaps of one account's rooms; at most `most` messages for each."""

    def __init__(self, client: Client, *, most: int, timeout_s: float) -> None:
        self._client = client
        self.most = most
        self._timeout_s = timeout_s
        self._filter = orjson.dumps(messages_filter(client.user_id)).decode()

    async def fill(self, room_id: str, start: str, reach: Reach) -> Filled:
        """Fetch back from the token `start`. `Unavailable`."""
        try:
            return await self._pages(room_id, start, reach)
        except Refused as error:
            if error.status != 400 or not reach.known:
                return Filled(events=[], unreadable=True, reach=reach)
        # The token to stop at may be the one that it doesn't know.
        return await self.fill(room_id, start, reach.model_copy(update={"known": False}))

    async def _pages(self, room_id: str, start: str, reach: Reach) -> Filled:
        newest_first: list[Any] = []
        messages: list[int] = []
        end = reach.token if reach.known else None
        for _ in range(2 + 2 * self.most // PAGE):
            # One more than may be had tells whether there is more.
            page = await self._page(room_id, start, end, min(PAGE, self.most + 1 - len(messages)))
            newest_first += page["chunk"]
            messages = [n for n, event in enumerate(newest_first) if mapping(event).get("type") not in SIGN_TYPES]
            if len(messages) > self.most:
                first_left_out = messages[self.most]
                kept = newest_first[:first_left_out]
                return Filled(events=kept[::-1], left_out=_sent_at(newest_first[first_left_out]), reach=reach)
            following = text(page.get("end"))
            if following in (None, start, end) or _older(newest_first, reach.floor):
                return Filled(events=newest_first[::-1], reach=reach)
            start = str(following)
        return Filled(events=newest_first[::-1], left_out=NOW, reach=reach)

    async def _page(self, room_id: str, start: str, end: str | None, limit: int) -> dict[str, Any]:
        query = {"dir": "b", "from": start, "limit": str(limit), "filter": self._filter}
        if end is not None:
            query["to"] = end
        path = quote("v3", "rooms", room_id, "messages")
        page = await self._client.call("GET", path, query=query, timeout_s=self._timeout_s)
        if not isinstance(page.get("chunk"), list):
            raise Unavailable(f"GET {path}: the answer has no chunk")
        return page


def _sent_at(event: object) -> float:
    sent_at = seconds(mapping(event).get("origin_server_ts"))
    return NOW if sent_at is None else sent_at


def _older(newest_first: list[Any], than: float) -> bool:
    """The last event is older than anybody wants; events without a time are not."""
    return bool(newest_first) and _sent_at(newest_first[-1]) < than
