"""Finds in a room what the bot said there, where its transaction id may no longer be recognised.

A homeserver drops a repeated transaction id for a while and for one login only (Matrix spec,
"Transaction identifiers", which names no time). Synapse keeps them in its database for a day, and
drops those of a device with the device. Whatever may have been sent before that, or under another
login, is looked for by the `io.surfaces.id` that every message of the bot carries.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import orjson

from surfaces_core import Draft, Outbound, Rejected, Unavailable
from surfaces_matrix.client import Client, quote
from surfaces_matrix.content import KEY, MARK, mark
from surfaces_matrix.encryption import ENCRYPTED, Encryption
from surfaces_matrix.login import Login
from surfaces_matrix.shapes import mapping, text

MESSAGES = ("m.room.message", ENCRYPTED)
PAGE = 100
"""So many of the bot's last messages are looked at whatever the clocks say."""
MOST_PAGES = 50
"""Before that it is found: a conversation's parts are sent one after the other, so few can come behind one."""
FEW_PAGES = 5
"""So far back is what something else may show in the place of."""
MARGIN_S = 3600.0
"""How much older than the part a message must be to end the search.

Compared are ages, each by the clock that saw its beginning, so two clocks may tell different times;
what is left is how far one of them was set since.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Something that is to show once."""

    room_id: str
    txn: str
    turn: str
    part: int
    device: str
    since: float
    """Unix seconds: nothing was sent under it any earlier."""

    @classmethod
    def of(cls, what: Outbound | Draft) -> Self:
        """A draft and the part that replaces it are one thing."""
        since = what.frozen_at if isinstance(what, Outbound) else what.first_at
        return cls(
            room_id=what.address.conversation,
            txn=what.key,
            turn=what.turn,
            part=what.part,
            device=what.device,
            since=since,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A message that shows, or that somebody took back."""

    event_id: str
    content: Mapping[str, Any]
    """What it says now, as far as the bot knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What is known before something is said."""

    session: str
    """The login that this holds for: under another one look again."""
    found: Found | None = None
    """None: say it. It does not show, or the homeserver recognises that it does."""


class Lookup:
    """Looks for one account."""

    def __init__(
        self,
        client: Client,
        login: Login,
        encryption: Encryption,
        *,
        window_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._login = login
        self._encryption = encryption
        self._window_s = window_s
        self._clock = clock
        self._filter = orjson.dumps({"senders": [client.user_id], "types": MESSAGES}).decode()

    async def __call__(self, key: Key, *, timeout_s: float) -> Looked:
        """Look, unless the homeserver surely recognises a repeat; each request may take `timeout_s`.

        Raises `Unavailable`, and `Rejected` where it can't be told whether it shows.
        """
        session = await self._login.confirmed(timeout_s)
        age_s = self._clock() - key.since
        if session and session == key.device and 0 <= age_s < self._window_s:
            return Looked(session=session)
        oldest_s = age_s + MARGIN_S if key.since and age_s >= 0 else float("inf")
        return Looked(session=session, found=await self._find(key, oldest_s, timeout_s))

    async def _find(self, key: Key, oldest_s: float, timeout_s: float) -> Found | None:
        """Read the bot's own messages backwards; those older than `oldest_s` are not the one."""
        start, blank = "", False
        for _ in range(MOST_PAGES):
            page = await self._page(key.room_id, start, timeout_s)
            own = [event for event in map(mapping, page["chunk"]) if self._is_own(event)]
            events = [await self._encryption.opened(key.room_id, event, hold=False) for event in own]
            for event in events:
                if (found := _judge(event, key)) is not None:
                    return found
            ages = [self._age(event) for event in events]
            blank = blank or any(_is_blank(event) for event, age in zip(events, ages, strict=True) if age <= oldest_s)
            following = text(page.get("end"))
            if following in (None, start) or (ages and ages[-1] > oldest_s):
                break
            start = str(following)
        else:
            raise Rejected(f"{key.txn} is not among so many messages", code="UNSURE")
        if blank:
            raise Rejected(f"{key.txn} may be a message that was taken back", code="UNSURE")
        return None

    async def named(self, room_id: str, key: str, *, timeout_s: float) -> str | None:
        """The message that lately was said under a key, or that shows in the place of one that was. As `__call__`."""
        start = ""
        for _ in range(FEW_PAGES):
            page = await self._page(room_id, start, timeout_s)
            for sealed in filter(self._is_own, map(mapping, page["chunk"])):
                event = await self._encryption.opened(room_id, sealed, hold=False)
                if _is_named(event, key):
                    return _original(event)[0]
            following = text(page.get("end"))
            if following in (None, start):
                return None
            start = str(following)
        return None

    def _is_own(self, event: Mapping[str, Any]) -> bool:
        return event.get("sender") == self._client.user_id and event.get("type") in MESSAGES

    def _age(self, event: Mapping[str, Any]) -> float:
        """Seconds since an event was sent, by the homeserver's clock where it says so."""
        age_ms = mapping(event.get("unsigned")).get("age")
        if isinstance(age_ms, int):
            return age_ms / 1000
        sent_ms = event.get("origin_server_ts")
        return self._clock() - sent_ms / 1000 if isinstance(sent_ms, int) else 0.0

    async def _page(self, room_id: str, start: str, timeout_s: float) -> dict[str, Any]:
        query = {"dir": "b", "limit": str(PAGE), "filter": self._filter}
        if start:
            query["from"] = start
        path = quote("v3", "rooms", room_id, "messages")
        page = await self._client.call("GET", path, query=query, timeout_s=timeout_s)
        if not isinstance(page.get("chunk"), list):
            raise Unavailable(f"GET {path}: the answer has no chunk")
        return page


def _judge(event: Mapping[str, Any], key: Key) -> Found | None:
    """The message that an event is, or edits, if it is the one; they come newest first, so an edit says what shows."""
    content, event_id = mapping(event.get("content")), text(event.get("event_id"))
    if content.get(MARK) == mark(key.turn, key.part):
        event_id, content = _original(event)
    elif mapping(event.get("unsigned")).get("transaction_id") != key.txn:
        return None
    return None if event_id is None else Found(event_id=event_id, content=content)


def _original(event: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any]]:
    """The message that an event is, or edits, and what it makes it say."""
    content = mapping(event.get("content"))
    relation = mapping(content.get("m.relates_to"))
    if relation.get("rel_type") == "m.replace":
        return text(relation.get("event_id")), mapping(content.get("m.new_content"))
    return text(event.get("event_id")), content


def _is_named(event: Mapping[str, Any], key: str) -> bool:
    content = mapping(event.get("content"))
    marked = mapping(content.get(MARK))
    said_as = content.get(KEY, f"{marked.get('turn')}.{marked.get('part')}")
    return key in (said_as, mapping(event.get("unsigned")).get("transaction_id"))


def _is_blank(event: Mapping[str, Any]) -> bool:
    """A message that was taken back, and nothing tells which one it was."""
    return not event.get("content") and "transaction_id" not in mapping(event.get("unsigned"))
