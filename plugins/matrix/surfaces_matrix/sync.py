"""Receives for one account: asks, waits out trouble, and moves the cursor behind what the host has stored."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from structlog.typing import FilteringBoundLogger

from surfaces_core import ConfigError, Inbound, Intake, Kind, Unavailable
from surfaces_matrix import words
from surfaces_matrix.account import Account
from surfaces_matrix.backoff import Backoff
from surfaces_matrix.client import Client, quote
from surfaces_matrix.cursor import Position, Reach, went_back
from surfaces_matrix.declines import Declines
from surfaces_matrix.encryption import Encryption
from surfaces_matrix.errors import LoggedOut, Refused, ServerError, TooLarge
from surfaces_matrix.filters import live_filter, nothing_filter, snapshot_filter
from surfaces_matrix.gaps import Filler
from surfaces_matrix.login import Login
from surfaces_matrix.memberships import joined_state
from surfaces_matrix.people import People
from surfaces_matrix.reading import Read, Reader, Window
from surfaces_matrix.reconcile import bindings
from surfaces_matrix.rooms import Rooms
from surfaces_matrix.settings import MatrixSettings

TIMELINE = 100
"""Events a room, the most that Synapse gives."""
RECOVERY_TIMELINE = 20
MAX_SYNC_BYTES = 12 * 1024 * 1024
"""Of more, less is asked for first: it would be held and worked on all at once."""
LARGEST_SYNC_BYTES = 128 * 1024 * 1024
AWAY_S = 60.0
"""An outage this long counts as having been away."""
LONGEST_WAIT_S = 60.0
"""Whatever a homeserver asks for: to look once a minute harms nobody, and a wrong number would make the bot deaf."""
LEAST_S = 0.55
"""Between two syncs that bring nothing; two a second are the most."""
FREE = 2
"""So many in a row may bring nothing at once before they are spaced."""
STRIKES = 5
"""Failures in a row of the homeserver itself until its trouble may be with the token alone."""
REFRESH_S = 600.0
"""The cursor's time is stored at least so often, though nothing is said."""
LONGEST_TOKEN = 4096
"""What fits into an address, quoted."""
SLICE = 2000
"""The most entries that the host is given at once."""

_T = TypeVar("_T")


class _Lost(Exception):
    """The homeserver does not know, or not any more, where we were."""


@dataclass(kw_only=True)
class Sync:
    """The receiving side of one account; `run` may be called again after it ended."""

    name: str
    client: Client
    settings: MatrixSettings
    people: People
    login: Login
    account: Account
    rooms: Rooms
    """Told what the rooms show, at each start."""
    encryption: Encryption
    log: FilteringBoundLogger
    backoff: Backoff
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        settings, timeout_s = self.settings, self.settings.request_timeout_s
        self._me = settings.user_id
        self._declines = Declines(self.client, self.log, timeout_s=timeout_s)
        self._reader = Reader(
            surface=self.name,
            me=self._me,
            people=self.people,
            filler=Filler(self.client, most=settings.catch_up_max_messages, timeout_s=timeout_s),
            declines=self._declines,
            log=self.log,
            backoff=replace(self.backoff),
            made=self.rooms.made,
        )
        self._limit = TIMELINE
        self._down_at: float | None = None
        """When it began to fail, on the monotonic clock; None while it goes well."""
        self._away = True
        self._may_log_in_again = False
        self.trouble = "NOT_TRIED"
        """Why the last exchange failed, as a stable word; empty when it went well."""
        self._last = Position(token="")
        """The last position in this process."""
        self._lost_token = ""
        """The token that the homeserver does not know."""
        self._sure = False
        """The homeserver is the one that it was: nothing has gone wrong since it was looked at."""
        self._rooms_known = False
        """Nothing but `_start` has told yet what there is."""
        self._strikes = 0
        self._stored_at = -REFRESH_S
        """When the cursor was stored, on the monotonic clock."""
        self._empty = 0
        """Syncs in a row that brought nothing, and that at once."""
        self._last_ids: set[str] = set()
        """What the last sync brought."""

    async def run(self, intake: Intake) -> None:
        """Receive until cancelled.

        `Unavailable`: not even the login could be done, or the rooms have to be looked at again;
        `ConfigError`: it never can; `StateError`: another host speaks for the account.
        """
        try:
            await self.login()
        except Unavailable as error:
            self.trouble = error.code
            raise
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._declines.run())
                await self.account.claim()
                group.create_task(self.account.keep())
                await self._receive(intake)
        except ExceptionGroup as several:
            # The group is ours alone: whoever called must see what happened, not how it is built.
            raise several.exceptions[0] from several.exceptions[0].__cause__

    async def _receive(self, intake: Intake) -> None:
        position = await self._start(intake)
        hold_s = 0.0
        while True:
            began = time.monotonic()
            response, read = await self._next(position, hold_s)
            following = self._behind(position, response, read)
            await self._store(intake, position, following, read.entries)
            self._reader.stored(response, read.holes)
            self._away, self._lost_token = False, ""
            intake.ready()
            await self._space(began, position, following, read.entries)
            position = self._last = following
            hold_s = self.settings.sync_timeout_s
            if position.holes:
                hold_s = min(hold_s, self._reader.pause_s)

    # The start

    async def _start(self, intake: Intake) -> Position:
        """Bring the host's record in step with the rooms; the position to go on from."""
        self._sure = self._rooms_known = False
        snapshot = await self._patiently(lambda: self._ask(snapshot_filter(), None, 0.0))
        joined = joined_state(snapshot)
        seen = bindings(self.name, self._me, joined)
        skipped = Counter(seen.skipped.values())
        self.log.info("snapshot", rooms_seen=len(joined), bindings=len(seen.found), skipped=dict(skipped))
        self.encryption.complete(joined)
        await self.rooms.learn(seen)
        # What is newer than the snapshot must not be taken for gone: nothing is made or changed before this.
        await intake.restore([*seen.found, *await self.rooms.overlooked(joined)])
        self.rooms.settled()
        self._rooms_known = True
        self._reader.joined = set(joined)
        invited = self._reader.invited(snapshot)
        cursor = await intake.cursor()
        if cursor is not None:
            position = Position.read(cursor)
            if position.token == self._last.token:
                position = self._last  # the same, with a later time
            self._away = self._away or self.clock() - position.at > AWAY_S
            return position
        now = self.clock()
        position = Position(token=str(snapshot["next_batch"]), began=now, at=now)
        await self._store(intake, position, position, invited)
        self._away = False
        intake.ready()
        return position

    # The next response

    async def _next(self, position: Position, hold_s: float) -> tuple[Mapping[str, Any], Read]:
        """The next response and what is to be stored of it, however long that takes."""

        async def attempt() -> tuple[Mapping[str, Any], Read]:
            response = await self._response(position, hold_s if self._sure else 0.0)
            return response, await self._reader.batch(response, self._window(position), position.holes)

        while True:
            try:
                return await self._patiently(attempt)
            except _Lost as error:
                self.log.warning("sync.cursor_unknown", error=str(error))
                self._lost_token = position.token
                if not self._rooms_known:
                    # Rooms may be gone, too.
                    raise Unavailable("the homeserver has forgotten where we were", code="CURSOR_UNKNOWN") from error

    async def _response(self, position: Position, hold_s: float) -> dict[str, Any]:
        """What is new behind a position. Raises `_Lost`."""
        if position.token == self._lost_token:
            # One that refuses every token must not be asked for everything without a pause.
            await asyncio.sleep(2 * self.backoff.next())
            response = await self._ask(live_filter(self._me, RECOVERY_TIMELINE), None, 0.0)
            self._went_well()
            return response
        if not self._sure:
            await self._make_sure(position)
        response = await self._live(position.token, hold_s)
        if went_back(position.token, str(response["next_batch"])):
            raise _Lost("the homeserver is back at an earlier time")
        self._sure = True
        self._rooms_known = False
        self.backoff.reset()
        self._strikes = 0
        return response

    async def _make_sure(self, position: Position) -> None:
        """Raise `_Lost` where a homeserver lost what it had: restored from a backup it takes later tokens for good."""
        if position.witness is None:
            return
        room_id, event_id = position.witness
        try:
            await self.client.call("GET", quote("v3", "rooms", room_id, "event", event_id), first=True)
        except Refused as error:
            if error.errcode == "M_NOT_FOUND":
                raise _Lost("a message that was there is gone") from error

    async def _live(self, since: str, hold_s: float) -> dict[str, Any]:
        """One live response. Raises `_Lost`."""
        try:
            return await self._bounded(since, hold_s)
        except Refused as error:
            if error.status == 400:
                raise _Lost(str(error)) from error
            raise
        except ServerError:
            self._strikes += 1
            if self._strikes < STRIKES or not await self._answers_otherwise():
                raise
        try:
            return await self._bounded(since, hold_s)
        except ServerError as error:
            raise _Lost(str(error)) from error

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
                response = await self._ask(live_filter(self._me, self._limit), since, hold_s, most)
            except TooLarge:
                if self._limit == 1:
                    raise
                self._limit = max(1, self._limit // 10)
                self.log.warning("sync.too_large", next_timeline_limit=self._limit)
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
            # Such a sync is never held. Synapse answers the same one for two minutes from a cache, which would
            # not show a conversation made just before a restart: the timeout makes each another one.
            query["timeout"] = str(time.time_ns() // 1_000_000 % 1_000_000_000)
        timeout_s = hold_s + self.settings.request_timeout_s
        response = await self.client.call(
            "GET", "/v3/sync", query=query, timeout_s=timeout_s, max_bytes=max_bytes, needs="next_batch", first=True
        )
        if len(response["next_batch"]) > LONGEST_TOKEN:
            # Nothing could be asked with it.
            raise Unavailable("a sync token that is too long")
        self.encryption.notice(response)
        return response

    # What is still to be answered

    def _window(self, position: Position) -> Window:
        reach = Reach(
            token=position.token,
            known=position.token != self._lost_token,
            at=position.at,
            seen=position.seen,
            began=position.began,
            not_before=self._horizon() if self._away else 0.0,
        )
        if reach.known and not self._away:
            return Window(reach=reach, gap_text=words.MISSED_FLOOD, now=self.clock())
        most = self.settings.catch_up_max_messages
        return Window(reach=reach, most=most, gap_text=words.MISSED_AWAY, now=self.clock())

    def _horizon(self) -> float:
        """Messages older than this (Unix seconds) are passed over after a time away."""
        age = self.settings.catch_up_max_age_s
        # No message counts as sent more than a day ahead.
        return self.clock() - age if age else self.clock() + 86_400.0

    # What was taken

    def _behind(self, position: Position, response: Mapping[str, Any], read: Read) -> Position:
        """The position behind a response."""
        messages = [entry for entry in read.entries if entry.kind is Kind.MESSAGE]
        witness = None if position.token == self._lost_token else position.witness
        if messages:
            witness = (messages[-1].address.conversation, messages[-1].event_id)
        elif any(entry.kind is Kind.LEFT for entry in read.entries):
            witness = None  # it may have been in a room where the bot may not look any more
        return Position(
            token=str(response["next_batch"]),
            began=position.began,
            at=self.clock(),
            seen=max([position.seen, *(message.sent_at for message in messages)]),
            witness=witness,
            holes=read.holes,
        )

    async def _store(self, intake: Intake, position: Position, following: Position, entries: list[Inbound]) -> None:
        """Store entries and the position behind them; very many in slices, of which only the last moves the cursor."""
        moved = following.token != position.token or following.holes != position.holes or following is position
        if not entries and not moved and time.monotonic() - self._stored_at < REFRESH_S:
            return
        rest = max(0, len(entries) - 1) // SLICE * SLICE
        for start in range(0, rest, SLICE):
            await intake.accept(entries[start : start + SLICE], position.cursor)
        await intake.accept(entries[rest:], following.cursor)
        self._stored_at = time.monotonic()

    async def _space(self, began: float, position: Position, following: Position, entries: list[Inbound]) -> None:
        """Let a homeserver that answers at once with nothing new not be asked without a pause."""
        ids = {entry.event_id for entry in entries}
        new = following.token != position.token and not ids <= self._last_ids
        self._last_ids = ids
        took_s = time.monotonic() - began
        self._empty = 0 if new or took_s >= LEAST_S else self._empty + 1
        if self._empty > FREE:
            await asyncio.sleep(LEAST_S - took_s)

    # Trouble

    async def _patiently(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """What comes of an attempt in the end, however long the trouble lasts."""
        while True:
            began = time.monotonic()
            try:
                result = await attempt()
            except LoggedOut as error:
                await self._log_in_again(error)
            except Unavailable as error:
                await self._wait_out(error, began)
            except Refused as error:
                await self._wait_out(Unavailable(str(error), code=error.errcode), began)
            else:
                self._went_well()
                return result

    async def _log_in_again(self, error: LoggedOut) -> None:
        """The token is no longer good. `ConfigError` when a new login can't or did not help."""
        if self.settings.access_token is None and not self._may_log_in_again:
            raise ConfigError(f"surfaces.{self.name}.password", "the homeserver logs the bot out after each login")
        self.log.warning("login.revoked", error=str(error))
        self._may_log_in_again = False
        while True:
            began = time.monotonic()
            try:
                return await self.login()
            except Unavailable as trouble:
                await self._wait_out(trouble, began)

    async def _wait_out(self, error: Unavailable, began: float) -> None:
        """Wait before the next try; one that hung has used up some of the time."""
        self._sure, self.trouble = False, error.code
        if self._down_at is None:
            self._down_at = time.monotonic()
            self.log.warning("sync.down", code=error.code, error=str(error))
        told_s = None if error.retry_after is None else min(error.retry_after, LONGEST_WAIT_S)
        wait_s = self.backoff.next(told_s)
        if told_s is None:
            wait_s = max(min(wait_s, self.backoff.least_s), wait_s - (time.monotonic() - began))
        await asyncio.sleep(wait_s)

    def _went_well(self) -> None:
        self._may_log_in_again, self.trouble = True, ""
        if self._down_at is not None:
            seconds = time.monotonic() - self._down_at
            self._away = self._away or seconds > AWAY_S
            self._down_at = None
            self.log.info("sync.back", seconds=round(seconds, 1))
