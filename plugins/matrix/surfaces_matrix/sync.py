"""Receives for one account: asks, waits out trouble, and moves the cursor behind what the host has stored."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from structlog.typing import FilteringBoundLogger

from surfaces_core import ConfigError, Inbound, Intake, Unavailable
from surfaces_matrix import words
from surfaces_matrix.backoff import Backoff
from surfaces_matrix.client import MAX_ANSWER_BYTES, Client
from surfaces_matrix.declines import Declines
from surfaces_matrix.encryption import Encryption
from surfaces_matrix.errors import LoggedOut, Refused, TooLarge
from surfaces_matrix.filters import live_filter, snapshot_filter
from surfaces_matrix.gaps import Filler
from surfaces_matrix.login import Login
from surfaces_matrix.memberships import joined_state
from surfaces_matrix.people import People
from surfaces_matrix.reading import Reader, Window
from surfaces_matrix.reconcile import bindings
from surfaces_matrix.rooms import Rooms
from surfaces_matrix.settings import MatrixSettings
from surfaces_matrix.shapes import text

TIMELINE = 100
"""Events a room, the most that Synapse gives."""
RECOVERY_TIMELINE = 20
MAX_SYNC_BYTES = 12 * 1024 * 1024
"""Parsing more would hold up everything else for longer than a quarter of a second."""
AWAY_S = 60.0
"""An outage this long counts as having been away."""
CLOCK_SKEW_S = 300.0


@dataclass(kw_only=True)
class Sync:
    """The receiving side of one account; `run` may be called again after it ended."""

    name: str
    client: Client
    settings: MatrixSettings
    people: People
    login: Login
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
        )
        self._limit = TIMELINE
        self._down_at: float | None = None
        """When it began to fail, on the monotonic clock; None while it goes well."""
        self._last_good: float | None = None
        """Unix seconds of the last response that was stored."""
        self._away = True
        self._may_log_in_again = False
        self.trouble = "NOT_TRIED"
        """Why the last exchange failed, as a stable word; empty when it went well."""

    async def run(self, intake: Intake) -> None:
        """Receive until cancelled. `Unavailable`: not even the login could be done; `ConfigError`: it never can."""
        await self.login()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._declines.run())
                await self._receive(intake)
        except ExceptionGroup as several:
            # The group is ours alone: whoever called must see what happened, not how it is built.
            raise several.exceptions[0] from several.exceptions[0].__cause__

    async def _receive(self, intake: Intake) -> None:
        cursor = await self._start(intake)
        hold_s = 0.0
        while True:
            response, batch = await self._next(cursor, hold_s)
            following = str(response["next_batch"])
            if batch or following != cursor:
                await intake.accept(batch, following)
            self._stored(response)
            intake.ready()
            cursor, hold_s = following, self.settings.sync_timeout_s

    async def _start(self, intake: Intake) -> str:
        """Bring the host's record in step with the rooms; the cursor to go on from."""
        snapshot = await self._ask(snapshot_filter(), None, 0.0)
        joined = joined_state(snapshot)
        seen = bindings(self.name, self._me, joined)
        skipped = Counter(seen.skipped.values())
        self.log.info("snapshot", rooms_seen=len(joined), bindings=len(seen.found), skipped=dict(skipped))
        self.encryption.complete(joined)
        await self.rooms.learn(seen)
        # What is newer than the snapshot must not be taken for gone: nothing is made or changed before this.
        await intake.restore([*seen.found, *await self.rooms.overlooked(joined)])
        self.rooms.settled()
        self._reader.joined = set(joined)
        invited = self._reader.invited(snapshot)
        cursor = await intake.cursor()
        if cursor is None:
            cursor = str(snapshot["next_batch"])
            await intake.accept(invited, cursor)
            self._away = False
            intake.ready()
        else:
            self._away = True
        return cursor

    async def _next(self, cursor: str, hold_s: float) -> tuple[Mapping[str, Any], list[Inbound]]:
        """The next response and what is to be stored of it, however long that takes."""
        while True:
            try:
                try:
                    response = await self._live(cursor, hold_s)
                except Refused as error:
                    self.log.warning("sync.cursor_unknown", error=str(error))
                    return await self._recover()
                return response, await self._reader.batch(response, self._window(cursor))
            except Unavailable as error:
                await self._wait_out(error)

    async def _recover(self) -> tuple[Mapping[str, Any], list[Inbound]]:
        """The homeserver no longer knows where we were: read the latest messages of all rooms again.

        Back to the last good response, or after a restart the whole catch-up time; the host drops
        those that it has seen.
        """
        # One that refuses every cursor must not be asked for everything without a pause.
        await asyncio.sleep(self.backoff.next())
        response = await self._ask(live_filter(self._me, RECOVERY_TIMELINE), None, 0.0)
        horizon = self._horizon()
        if self._last_good is not None:
            horizon = min(horizon, self._last_good - CLOCK_SKEW_S)
        return response, await self._reader.batch(response, self._caught_up(None, horizon, say_old=False))

    def _stored(self, response: Mapping[str, Any]) -> None:
        self._reader.stored(response)
        self._away = False
        self._last_good = self.clock()

    # What is still to be answered

    def _window(self, since: str) -> Window:
        if self._away:
            return self._caught_up(since, self._horizon(), say_old=True)
        return Window(since=since, gap_text=words.MISSED_FLOOD, now=self.clock())

    def _caught_up(self, since: str | None, not_before: float, *, say_old: bool) -> Window:
        return Window(
            since=since,
            not_before=not_before,
            most=self.settings.catch_up_max_messages,
            say_old=say_old,
            gap_text=words.MISSED_AWAY,
            now=self.clock(),
        )

    def _horizon(self) -> float:
        """Messages older than this (Unix seconds) are passed over after a time away."""
        age = self.settings.catch_up_max_age_s
        return self.clock() - age if age else math.inf

    # Asking

    async def _live(self, since: str, hold_s: float) -> dict[str, Any]:
        """One live response. `Refused` when the homeserver does not know `since`."""
        while True:
            # Below one event a room nothing can be left out: then it may be as big as it is.
            most = MAX_SYNC_BYTES if self._limit > 1 else MAX_ANSWER_BYTES
            try:
                response = await self._ask(live_filter(self._me, self._limit), since, hold_s, most)
            except TooLarge:
                self._limit = max(1, self._limit // 10)
                self.log.warning("sync.too_large", next_timeline_limit=self._limit)
            else:
                self._limit = TIMELINE
                return response

    async def _ask(
        self, filter_: str, since: str | None, hold_s: float, max_bytes: int = MAX_ANSWER_BYTES
    ) -> dict[str, Any]:
        """One good response, however long that takes.

        `TooLarge` where asking for less may help, `Refused` where the homeserver does not know `since`.
        """
        while True:
            try:
                return await self._ask_once(filter_, since, hold_s, max_bytes)
            except LoggedOut as error:
                await self._log_in_again(error)
            except TooLarge as error:
                if max_bytes < MAX_ANSWER_BYTES:
                    raise
                await self._wait_out(error)
            except Unavailable as error:
                await self._wait_out(error)
            except Refused as error:
                if since is not None and error.status == 400:
                    raise
                await self._wait_out(Unavailable(str(error), code=error.errcode))

    async def _ask_once(self, filter_: str, since: str | None, hold_s: float, max_bytes: int) -> dict[str, Any]:
        query = {"filter": filter_, "timeout": str(int(hold_s * 1000))}
        if since is not None:
            query["since"] = since
        else:
            # Such a sync is never held. Synapse answers the same one for two minutes from a cache, which would
            # not show a conversation made just before a restart: the timeout makes each another one.
            query["timeout"] = str(time.time_ns() // 1_000_000 % 1_000_000_000)
        timeout_s = hold_s + self.settings.request_timeout_s
        response = await self.client.call("GET", "/v3/sync", query=query, timeout_s=timeout_s, max_bytes=max_bytes)
        if text(response.get("next_batch")) is None:
            raise Unavailable("a sync response without next_batch")
        self._went_well()
        self.encryption.notice(response)
        return response

    async def _log_in_again(self, error: LoggedOut) -> None:
        """The token is no longer good. `ConfigError` when a new login can't or did not help."""
        if self.settings.access_token is None and not self._may_log_in_again:
            raise ConfigError(f"surfaces.{self.name}.password", "the homeserver logs the bot out after each login")
        self.log.warning("login.revoked", error=str(error))
        self._may_log_in_again = False
        while True:
            try:
                return await self.login()
            except Unavailable as trouble:
                await self._wait_out(trouble)

    async def _wait_out(self, error: Unavailable) -> None:
        self.trouble = error.code
        if self._down_at is None:
            self._down_at = time.monotonic()
            self.log.warning("sync.down", code=error.code, error=str(error))
        await asyncio.sleep(self.backoff.next(error.retry_after))

    def _went_well(self) -> None:
        self.backoff.reset()
        self.trouble = ""
        self._may_log_in_again = True
        if self._down_at is not None:
            seconds = time.monotonic() - self._down_at
            self._away = self._away or seconds > AWAY_S
            self._down_at = None
            self.log.info("sync.back", seconds=round(seconds, 1))
