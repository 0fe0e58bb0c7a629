"""Connects one Matrix account: puts the plugin's parts together."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from surfaces_core import (
    Address,
    Agent,
    Attachment,
    Command,
    Condition,
    Conversations,
    Draft,
    Finding,
    Inbound,
    Intake,
    Outbound,
    Pace,
    Receipt,
    Said,
    Surface,
    SurfaceContext,
)
from surfaces_matrix.account import Account
from surfaces_matrix.backoff import Backoff
from surfaces_matrix.client import Client
from surfaces_matrix.departing import BY_HAND, depart
from surfaces_matrix.drafts import Drafts
from surfaces_matrix.encryption import Encryption, machine_for
from surfaces_matrix.errors import Refused
from surfaces_matrix.examining import examine
from surfaces_matrix.history import History
from surfaces_matrix.login import Login
from surfaces_matrix.lookup import Lookup
from surfaces_matrix.media import fetch
from surfaces_matrix.people import People
from surfaces_matrix.quotes import Quotes
from surfaces_matrix.receipts import Receipts
from surfaces_matrix.reports import REPORTS
from surfaces_matrix.rooms import Rooms
from surfaces_matrix.say import Say
from surfaces_matrix.send import Sender
from surfaces_matrix.settings import MatrixSettings
from surfaces_matrix.split import MAX_PART_BYTES, MAX_SEALED_BYTES, split
from surfaces_matrix.sync import Sync
from surfaces_matrix.tempo import Tempo
from surfaces_matrix.trusted import Trusted
from surfaces_matrix.waiting import Waiting

USER_ID = re.compile(r"@[^:\s]+:[^\s@/]+")


class MatrixSurface(Surface):
    """One bot account that serves many people."""

    Settings = MatrixSettings
    settings: MatrixSettings
    reports = REPORTS
    by_hand = BY_HAND

    def __init__(self, settings: MatrixSettings, context: SurfaceContext) -> None:
        super().__init__(settings, context)
        self._people = People(settings.allow_users or (f"@*:{settings.server_name}",), settings.deny_users)
        self._client = Client(settings.homeserver, settings.user_id, timeout_s=settings.request_timeout_s)
        self._login = Login(name=context.name, settings=settings, client=self._client, store=context.store)
        machine = machine_for(settings, self._client, context, lambda: self._login.session, self._people.allowed)
        self._encryption = Encryption(self._client, context.store, context.log, machine, wait_s=settings.decrypt_wait_s)
        quotes = Quotes(self._client, self._encryption, context.log)
        say = Say(self._client, self._encryption, self._login)
        lookup = Lookup(self._client, self._login, self._encryption, window_s=settings.replay_window_s)
        tempo = Tempo(settings.stream_edits_per_s)
        self._drafts = Drafts(self._client, say, lookup, tempo, timeout_s=settings.request_timeout_s)
        self._receipts = Receipts(self._client, settings.read_receipts)
        self._waiting = Waiting(self._client, context.store, settings.ack_reaction)
        self._sender = Sender(self._client, say, lookup, context.store, context.files, self._drafts, quotes, settings)
        self._rooms = self._make_rooms()
        self._history = History(
            self._client,
            self._encryption,
            surface=context.name,
            prefix=context.prefix,
            allowed=self._people.allowed,
        )
        self._account = Account(name=context.name, client=self._client, store=context.store, log=context.log)
        self._sync = self._make_sync(quotes)
        self._trusted = Trusted(
            context=context,
            settings=settings,
            client=self._client,
            login=self._login,
            encryption=self._encryption,
            say=say,
            rooms=self._rooms,
            people=self._people,
        )
        self._sync.beside = [self._trusted.run, self._waiting.run]
        self.conversations: Conversations = self._rooms
        self.pace = Pace(
            first_s=settings.stream_first_s,
            first_chars=settings.stream_first_chars,
            interval_s=settings.stream_interval_s,
            budget=settings.stream_budget if settings.streaming else 0,
        )

    def _make_rooms(self) -> Rooms:
        settings, context = self.settings, self.context
        return Rooms(
            surface=context.name,
            client=self._client,
            store=context.store,
            space_name=settings.space_name,
            group_rooms=settings.group_rooms,
            prefix=context.prefix,
            encrypt=settings.encrypt_new_rooms,
            expect=self._encryption.expect,
            log=context.log,
        )

    def _make_sync(self, quotes: Quotes) -> Sync:
        settings, context = self.settings, self.context
        return Sync(
            name=context.name,
            client=self._client,
            settings=settings,
            people=self._people,
            encryption=self._encryption,
            quotes=quotes,
            receipts=self._receipts,
            rooms=self._rooms,
            login=self._login,
            account=self._account,
            log=context.log,
            backoff=Backoff(),
            clock=self._client.now,
        )

    @classmethod
    def account(cls, settings: MatrixSettings) -> str:
        """The bot's own id, which is the only one of its kind."""
        return settings.user_id

    @classmethod
    def misnamed(cls, person: str) -> str:
        """As the Matrix specification has it: `@localpart:server` (Appendices, 4.2.1 User Identifiers)."""
        return "" if USER_ID.fullmatch(person) else "people are @name:server there"

    async def __aenter__(self) -> Self:
        await self._login.recall()
        await self._encryption.recall()
        await self._waiting.recall()
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    def commands(self) -> Sequence[Command]:
        """`!verify`, where the bot can encrypt."""
        return self._trusted.commands()

    def report(self, name: str) -> AsyncIterator[str]:
        """How the encryption is, or the recovery key."""
        return self._trusted.report(name) if name in self.reports else super().report(name)

    @property
    def device(self) -> str:
        """The login, for the homeserver recognises what was sent under this one alone."""
        return self._login.session

    async def depart(self, *, pretend: bool) -> AsyncIterator[str]:
        """Every room that the bot has joined."""
        await self._login()
        async for line in depart(self._client, pretend=pretend):
            yield line

    async def examine(self, agents: Sequence[Agent]) -> Sequence[Finding]:
        """The homeserver, the clock, the login, and who is let in."""
        return [finding async for finding in examine(self.settings)]

    def condition(self) -> Condition:
        """How the account is right now."""
        trouble, admits = self._sync.trouble, self._people.any_allowed()
        encrypted, unread = self._encryption.seen, self._encryption.trouble
        reasons = {
            f"the homeserver does not answer ({trouble})": trouble,
            "nobody may talk to the bot: `deny_users` denies everybody whom `allow_users` lets in": not admits,
            unread: encrypted and unread,
            f"{self._account.shared_with} speaks for this account, too": self._account.shared_with,
        }
        return Condition(
            connected=not trouble,
            admits=admits,
            decrypts=not unread if encrypted else None,
            reasons=(*(reason for reason, holds in reasons.items() if holds), *self._trusted.problems),
        )

    async def run(self, intake: Intake) -> None:
        """Receive until cancelled."""
        await self._sync.run(intake)

    async def send(self, message: Outbound) -> Receipt:
        """Say something for good; the same key twice shows once."""
        try:
            return await self._sender.send(message)
        except Refused:
            room = message.address.conversation
            there = await self._rooms.now_at(room)
            if there == room:
                raise
        return await self._sender.send(replace(message, address=replace(message.address, conversation=there)))

    async def show(self, draft: Draft) -> None:
        """Show a running turn by typing and, from its first version on, by one edited message."""
        await self._drafts.show(draft)

    async def acknowledge(self, message: Inbound, *, waiting: bool) -> None:
        """Show that a message was taken up, by a read receipt, or that it waits, by a reaction; when these may go."""
        if waiting:
            self._waiting.waits(message)
        else:
            self._waiting.taken_up(message)
            self._receipts.take_up(message)

    def fetch(self, attachment: Attachment) -> AsyncIterator[bytes]:
        """The bytes of a file that a person sent, within `max_file_bytes` and `transfer_timeout_s`."""
        settings = self.settings
        return fetch(self._client, attachment.ref, most=settings.max_file_bytes, timeout_s=settings.transfer_timeout_s)

    async def history(self, address: Address, *, before: str, limit: int, thread: str = "") -> Sequence[Said]:
        """What the room shows ahead of an event; of people that may talk to the bot."""
        return await self._history.before(address.conversation, before, limit=limit, thread=thread)

    def split(self, text: str) -> Sequence[str]:
        """Cut an answer into parts that each fit one event, encrypted where that may be."""
        return split(text, max_bytes=MAX_PART_BYTES if self._encryption.machine is None else MAX_SEALED_BYTES)
