"""Asks the homeserver what is new behind a position, and notices when it does not know the position any more."""

from __future__ import annotations

import time
from typing import Any

from structlog.typing import FilteringBoundLogger

from surfaces_core import Unavailable
from surfaces_matrix.client import Client, quote
from surfaces_matrix.cursor import Position, went_back
from surfaces_matrix.encryption import Encryption
from surfaces_matrix.errors import Refused, ServerError, TooLarge
from surfaces_matrix.filters import live_filter, nothing_filter, snapshot_filter

TIMELINE = 100
"""Events a room, the most that Synapse gives."""
RECOVERY_TIMELINE = 20
MAX_SYNC_BYTES = 12 * 1024 * 1024
"""Of more, less is asked for first: it would be held and worked on all at once."""
LARGEST_SYNC_BYTES = 128 * 1024 * 1024
LONGEST_TOKEN = 4096
"""What fits into an address, quoted."""
STRIKES = 5
"""Failures in a row of the homeserver itself until its trouble may be with the token alone."""
SILENCE_S = 4.0
"""What is held is not held longer than this beyond its time: a connection that went deaf is soon left."""
LOOKS = 3
"""Vain looks for one message until the homeserver is believed without it."""


class Lost(Exception):
    """The homeserver does not know, or not any more, where we were."""


class Source:
    """The syncs of one account. Each is one try: `Unavailable` and `Refused` are for the caller to bear."""

    def __init__(self, client: Client, encryption: Encryption, log: FilteringBoundLogger, *, timeout_s: float) -> None:
        self._client = client
        self._encryption = encryption
        self._log = log
        self._timeout_s = timeout_s
        self._limit = TIMELINE
        self._strikes = 0
        self._looks = 0
        self._missed = False
        """A message was looked for in vain."""

    async def snapshot(self) -> dict[str, Any]:
        """The state that says which conversations there are."""
        return await self._ask(snapshot_filter(), None, 0.0)

    async def latest(self) -> dict[str, Any]:
        """The latest messages of all rooms, for where no position is known."""
        self._encryption.lost()
        return await self._ask(live_filter(self._client.user_id, RECOVERY_TIMELINE), None, 0.0)

    async def behind(self, position: Position, hold_s: float, *, sure: bool) -> dict[str, Any]:
        """What is new behind a position; held so long by the homeserver where nothing is. Raises `Lost`.

        Unless it is `sure` that the homeserver is the one that it was, it is looked whether it is.
        """
        response = await self._live(position.token, hold_s)
        if went_back(position.token, str(response["next_batch"])):
            raise Lost("the homeserver is back at an earlier time")
        if not sure:
            await self._make_sure(position)
        self._strikes = 0
        return response

    async def _make_sure(self, position: Position) -> None:
        """Raise `Lost` where a homeserver lost what it had: restored from a backup it takes later tokens for good."""
        if position.witness is None:
            return
        room_id, event_id = position.witness
        try:
            await self._client.call("GET", quote("v3", "rooms", room_id, "event", event_id), first=True)
        except Refused as error:
            # One that shows no message, or forgets them, would be taken for another one again and again.
            if error.errcode == "M_NOT_FOUND" and not self._missed:
                self._missed = True
                raise Lost("a message that was there is gone") from error
        except Unavailable:
            self._looks += 1
            if self._looks < LOOKS:
                raise
        else:
            self._missed = False
        self._looks = 0

    async def _live(self, since: str, hold_s: float) -> dict[str, Any]:
        """One live response. Raises `Lost`."""
        try:
            return await self._bounded(since, hold_s)
        except Refused as error:
            if error.status == 400 and await self._answers_otherwise():
                raise Lost(str(error)) from error
            raise
        except ServerError:
            self._strikes += 1
            if self._strikes < STRIKES or not await self._answers_otherwise():
                raise
        try:
            return await self._bounded(since, hold_s)
        except ServerError as error:
            raise Lost(str(error)) from error

    async def _answers_otherwise(self) -> bool:
        """Whether a sync from the beginning can be had."""
        try:
            await self._ask(nothing_filter(), None, 0.0)
        except (Unavailable, Refused):
            return False
        return True

    async def _bounded(self, since: str, hold_s: float) -> dict[str, Any]:
        """One live response; of one that is too large, one with fewer events a room."""
        while True:
            # Below one event a room nothing can be left out: then it may be as big as it is.
            most = MAX_SYNC_BYTES if self._limit > 1 else LARGEST_SYNC_BYTES
            try:
                response = await self._ask(live_filter(self._client.user_id, self._limit), since, hold_s, most)
            except TooLarge:
                if self._limit == 1:
                    raise
                self._limit = max(1, self._limit // 10)
                self._log.warning("sync.too_large", next_timeline_limit=self._limit)
            else:
                self._limit = TIMELINE
                return response

    async def _ask(
        self, filter_: str, since: str | None, hold_s: float, max_bytes: int = LARGEST_SYNC_BYTES
    ) -> dict[str, Any]:
        query = {"filter": filter_, "timeout": str(int(hold_s * 1000))}
        if since is not None:
            query["since"] = since
        else:
            # Synapse does not hold such a sync. It answers the same one for two minutes from a cache, which would
            # not show a conversation made just before a restart: the timeout makes each another one.
            # One that does hold it, does so for less than a second.
            query["timeout"] = str(time.time_ns() // 1_000_000 % 1000)
        response = await self._client.call(
            "GET",
            "/v3/sync",
            query=query,
            timeout_s=hold_s + self._timeout_s,
            max_bytes=max_bytes,
            needs="next_batch",
            first=True,
            silence_s=None if since is None else hold_s + SILENCE_S,
        )
        if len(response["next_batch"]) > LONGEST_TOKEN:
            # Nothing could be asked with it.
            raise Unavailable("a sync token that is too long")
        await self._encryption.notice(response)
        return response
