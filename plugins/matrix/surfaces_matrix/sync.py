"""Receives for one account: stores what is new, and moves the cursor behind what the host has stored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from structlog.typing import FilteringBoundLogger

from surfaces_core import Inbound, Intake, Kind, Unavailable
from surfaces_matrix import words
from surfaces_matrix.account import Account
from surfaces_matrix.backoff import Backoff
from surfaces_matrix.client import Client
from surfaces_matrix.cursor import Position, Reach
from surfaces_matrix.declines import Declines
from surfaces_matrix.encryption import Encryption
from surfaces_matrix.gaps import Filler
from surfaces_matrix.login import Login
from surfaces_matrix.memberships import aside, joined_state
from surfaces_matrix.patience import AWAY_S, Patience
from surfaces_matrix.people import People
from surfaces_matrix.quotes import Quotes
from surfaces_matrix.reading import Read, Reader, Window
from surfaces_matrix.receipts import Receipts
from surfaces_matrix.rooms import Rooms
from surfaces_matrix.settings import MatrixSettings
from surfaces_matrix.source import Lost, Source

LEAST_S = 0.55
"""Between two syncs that bring nothing; two a second are the most."""
FREE = 2
"""So many in a row may bring nothing at once before they are spaced."""
REFRESH_S = 600.0
"""The cursor's time is stored at least so often, though nothing is said."""
SLICE = 2000
"""The most entries that the host is given at once."""


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
    quotes: Quotes
    receipts: Receipts
    """Sent while this receives."""
    log: FilteringBoundLogger
    backoff: Backoff
    beside: Sequence[Callable[[], Coroutine[Any, Any, None]]] = ()
    """What else runs while this receives."""
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        settings, timeout_s = self.settings, self.settings.request_timeout_s
        self._me = settings.user_id
        self.patience = Patience(self.login, self.backoff, self.log)
        self._source = Source(self.client, self.encryption, self.log, timeout_s=timeout_s)
        self._declines = Declines(self.client, self.log, timeout_s=timeout_s)
        self._reader = Reader(
            surface=self.name,
            me=self._me,
            people=self.people,
            filler=Filler(self.client, most=settings.catch_up_max_messages, timeout_s=timeout_s),
            declines=self._declines,
            quotes=self.quotes,
            groups=self.rooms.groups,
            encryption=self.encryption,
            log=self.log,
            backoff=replace(self.backoff),
            made=self.rooms.made,
        )
        self._away = True
        self._last = Position(token="")
        """The last position in this process."""
        self._lost_token = ""
        """The token that the homeserver does not know."""
        self._rooms_known = False
        """Nothing but `_start` has told yet what there is."""
        self._stored_at = -REFRESH_S
        """When the cursor was stored, on the monotonic clock."""
        self._empty = 0
        """Syncs in a row that brought nothing, and that at once."""
        self._last_ids: set[str] = set()
        """What the last sync brought."""

    @property
    def trouble(self) -> str:
        """Why the last exchange failed, as a stable word; empty when it went well."""
        return self.patience.trouble

    async def run(self, intake: Intake) -> None:
        """Receive until cancelled.

        `Unavailable`: not even the login could be done, or the rooms have to be looked at again;
        `ConfigError`: it never can; `StateError`: another host speaks for the account.
        """
        await self.patience.log_in()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._declines.run())
                group.create_task(self.receipts.run())
                await self.account.claim()
                group.create_task(self.account.keep())
                await self.encryption.open(self.client.device_id)
                group.create_task(self.encryption.run())
                for work in self.beside:
                    group.create_task(work())
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
            await self.rooms.renamed(entry for entry in read.entries if entry.kind is Kind.RENAMED)
            await self.encryption.keep()
            await self._store(intake, position, following, read.entries)
            await self.encryption.settle()
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
        self.patience.calm = self._rooms_known = False
        snapshot = await self.patience(self._source.snapshot)
        joined = joined_state(snapshot)
        self.encryption.complete(joined)
        await self.rooms.reconcile(intake, joined, aside(snapshot))
        self._rooms_known = True
        self._reader.joined = set(joined)
        return await self._resumed(intake, snapshot)

    async def _resumed(self, intake: Intake, snapshot: Mapping[str, Any]) -> Position:
        """Where the last life ended; at the very first start, behind the snapshot."""
        invited = [*self._reader.invited(snapshot), *self._reader.moved(snapshot)]
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
            response = await self._response(position, hold_s)
            self._away = self._away or self.patience.away
            return response, await self._reader.batch(response, self._window(position), position.holes)

        while True:
            try:
                return await self.patience(attempt)
            except Lost as error:
                self.log.warning("sync.cursor_unknown", error=str(error))
                self._lost_token = position.token
                if not self._rooms_known:
                    # Rooms may be gone, too.
                    raise Unavailable("the homeserver has forgotten where we were", code="CURSOR_UNKNOWN") from error

    async def _response(self, position: Position, hold_s: float) -> dict[str, Any]:
        """What is new behind a position, or all that is latest where it is lost. Raises `Lost`."""
        if position.token == self._lost_token:
            # One that refuses every token must not be asked for everything without a pause.
            await asyncio.sleep(2 * self.patience.backoff.next())
            return await self._source.latest()
        sure = self.patience.calm
        response = await self._source.behind(position, hold_s if sure else 0.0, sure=sure)
        self.patience.calm = True
        self.patience.backoff.reset()
        self._rooms_known = False
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
            return Window(reach=reach, gap_text=words.MISSED_FLOOD.text, now=self.clock())
        most = self.settings.catch_up_max_messages
        return Window(reach=reach, most=most, gap_text=words.MISSED_AWAY.text, now=self.clock())

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
