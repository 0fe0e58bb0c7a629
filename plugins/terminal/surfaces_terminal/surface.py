"""Owns the surface: what people say in their terminals comes in, and what is said to them is kept until they saw it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from surfaces_core import (
    Attachment,
    Command,
    CommandCall,
    ConfigError,
    Draft,
    Intake,
    Outbound,
    Pace,
    Receipt,
    Rejected,
    StateError,
    Surface,
    SurfaceContext,
)
from surfaces_terminal import door, words
from surfaces_terminal.desk import Desk
from surfaces_terminal.mailbox import Mailbox
from surfaces_terminal.rooms import LOBBY, Rooms
from surfaces_terminal.settings import TerminalSettings
from surfaces_terminal.spool import Spool
from surfaces_terminal.wire import MARK, Message, Running, SentFile


class TerminalSurface(Surface):
    """The terminals of this machine's user."""

    Settings = TerminalSettings
    settings: TerminalSettings
    conversations: Rooms
    pace = Pace(typing_after_s=0.15, first_s=0.15, first_chars=1, interval_s=0.08, budget=400, heartbeat_s=5.0)

    def __init__(self, settings: TerminalSettings, context: SurfaceContext) -> None:
        super().__init__(settings, context)
        self._mailbox = Mailbox(context.store, settings.keep)
        self._spool = Spool(_files(settings), settings.max_file_bytes, self._mailbox.with_files)
        self.conversations = Rooms(context.name, context.store, lambda person: self._desk.tell_chats(person))
        self._desk = Desk(context, self.conversations, self._mailbox, self._spool)

    @classmethod
    def account(cls, settings: TerminalSettings) -> str:
        """Two surfaces cannot share a socket."""
        return str(settings.socket.absolute())

    @classmethod
    def residue(cls, settings: TerminalSettings) -> Sequence[Path]:
        """Files that were on their way."""
        return (_files(settings),)

    async def __aenter__(self) -> Self:
        await self._mailbox.open()
        try:
            await asyncio.to_thread(self._spool.open)
        except OSError as error:
            problem = f"{self.context.name}: no files can be kept beside {self.settings.socket}: {error.strerror}"
            raise StateError(problem, exit_code=os.EX_IOERR) from error
        await self.conversations.load()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def commands(self) -> Sequence[Command]:
        """One by which a client that reads from a pipe knows when everything is answered."""
        return [Command(name=MARK, help=words.MARK_HELP, usage=words.MARK_USAGE, handler=_marked)]

    async def run(self, intake: Intake) -> None:
        """Serve clients until cancelled."""
        await intake.restore(self.conversations.all())
        try:
            async with self._desk.open(intake), door.opened(self.settings.socket, self._desk.serve, self.context.log):
                intake.ready()
                await asyncio.Event().wait()
        except OSError as error:
            place = f"surfaces.{self.context.name}.socket"
            raise ConfigError(place, error.strerror or str(error)) from error

    async def send(self, message: Outbound) -> Receipt:
        """Keep it for its reader, durably, and show it to their clients."""
        chat = message.address.conversation
        reader = self.conversations.person_at(chat)
        if not reader:
            raise Rejected(f"no conversation {chat}", code="NO_CONVERSATION")
        if chat.startswith(LOBBY) and self.conversations.live(reader):
            return Receipt(remote_id=message.key)  # they are in already: nothing to be told at the door
        if message.file is not None:
            await self._spool.keep(message.key, self._content(message))
        posted = await self._mailbox.post(_message(message), reader)
        if posted is not None:
            self._desk.tell(reader, posted)
        return Receipt(remote_id=message.key)

    async def _content(self, message: Outbound) -> AsyncIterator[bytes]:
        assert message.file is not None
        async with await self.context.files.open(message.file.workspace, message.file.path) as opened:
            async for chunk in opened.chunks():
                yield chunk

    async def show(self, draft: Draft) -> None:
        """Show it to whoever is attached."""
        chat = draft.address.conversation
        reader = self.conversations.person_at(chat)
        self._desk.tell(
            reader, Running(chat=chat, key=draft.key, text=draft.text, status=draft.status, done=draft.done)
        )

    async def fetch(self, attachment: Attachment) -> AsyncIterator[bytes]:
        """What a person uploaded."""
        for piece in self._spool.taken(attachment.ref):
            yield piece
            await asyncio.sleep(0)


async def _marked(call: CommandCall) -> str:
    return call.rest or MARK


def _message(message: Outbound) -> Message:
    file = message.file
    return Message(
        seq=0,
        chat=message.address.conversation,
        key=message.key,
        text=message.text,
        notice=message.notice,
        file=SentFile(name=file.name, size=file.size, mime=file.mime) if file else None,
        replaces=message.replaces,
    )


def _files(settings: TerminalSettings) -> Path:
    return settings.socket.with_name(f"{settings.socket.name}.files")
