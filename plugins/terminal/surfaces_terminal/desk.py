"""Owns the clients that are attached: what each asks is done, and all of a person's are told what happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from surfaces_core import (
    Address,
    Attachment,
    Inbound,
    Intake,
    Kind,
    SurfaceContext,
    SurfacesError,
    speaking,
)
from surfaces_terminal import words
from surfaces_terminal.mailbox import Mailbox
from surfaces_terminal.rooms import Rooms
from surfaces_terminal.spool import Spool
from surfaces_terminal.wire import (
    ASKED,
    Chat,
    Chats,
    Coming,
    Get,
    Hello,
    Knowledge,
    Known,
    Line,
    Put,
    Refused,
    Running,
    Say,
    Seen,
    Stored,
    Taken,
    Welcome,
    WireError,
    lines,
    pieces,
)

BEHIND = 10_000
"""A client that has not taken so many lines is let go; what it missed comes when it attaches again."""


class Client:
    """One attached client: what it is to be told waits in a line of its own, behind all that it missed."""

    def __init__(self, person: str, writer: asyncio.StreamWriter, missed: Sequence[Line] = ()) -> None:
        self.person = person
        self._writer = writer
        self._missed = missed
        self._waiting: dict[object, Line] = {}
        """In order; of a running answer only its newest look."""
        self._came = asyncio.Event()

    def tell(self, line: Line) -> None:
        """Queue a line."""
        if len(self._waiting) > BEHIND:
            self._writer.transport.abort()  # it may never read what a close would still wait to write
            return
        place = (line.chat, line.key) if isinstance(line, Running) else object()
        self._waiting.pop(place, None)
        self._waiting[place] = line
        self._came.set()

    async def run(self) -> None:
        """Write what it missed and what is queued, until cancelled."""
        for line in self._missed:
            await self._write(line)
        self._missed = ()
        while True:
            await self._came.wait()
            while self._waiting:
                await self._write(self._waiting.pop(next(iter(self._waiting))))
            self._came.clear()

    async def _write(self, line: Line) -> None:
        self._writer.write(line.encoded())
        await self._writer.drain()


class Desk:
    """Serves clients while the surface runs."""

    def __init__(self, context: SurfaceContext, rooms: Rooms, mailbox: Mailbox, spool: Spool) -> None:
        self._context = context
        self._rooms = rooms
        self._mailbox = mailbox
        self._spool = spool
        self._clients: set[Client] = set()
        self._spoken: dict[str, str] = {}
        """The language that each person's clients were told."""
        self._intake: Intake | None = None

    @asynccontextmanager
    async def open(self, intake: Intake) -> AsyncIterator[None]:
        """Take what people say while the block lasts."""
        self._intake = intake
        try:
            yield
        finally:
            self._intake = None

    # Telling

    def tell(self, person: str, line: Line) -> None:
        """Tell all clients of a person."""
        if self._intake is not None and self._intake.language(person) != self._spoken.get(person):
            self._tell_knowledge(person)
        for client in self._clients:
            if client.person == person:
                client.tell(line)

    def tell_chats(self, person: str) -> None:
        """Their conversations are others now."""
        self._tell_knowledge(person)
        live = self._rooms.live(person)
        chats = tuple(Chat(id=room.address.conversation, number=room.number, name=room.name) for room in live)
        self.tell(person, Chats(chats=chats))

    def _tell_knowledge(self, person: str) -> None:
        live = self._rooms.live(person)
        if self._intake is None or not live:
            return
        self._spoken[person] = spoken = self._intake.language(person)
        with speaking(spoken):
            commands = tuple(
                Known(name=command.name, usage=str(command.usage), help=str(command.help))
                for command in self._intake.commands(live[0].address, person)
            )
        self.tell(person, Knowledge(commands=commands, language=spoken))

    # Serving

    async def serve(self, person: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until its client leaves. Raises `OSError` and `WireError`."""
        asked = lines(reader, ASKED)
        match await anext(asked, None):
            case Hello() as hello:
                await self._attached(hello, person, asked, writer)
            case Put() as put:
                await self._take(put, reader, writer)
            case Get() as get:
                await self._give(get, person, writer)
            case None:
                pass
            case _:
                raise WireError("a client begins with hello")

    async def _attached(
        self, hello: Hello, person: str, asked: AsyncIterator[object], writer: asyncio.StreamWriter
    ) -> None:
        unseen = [message for message in self._mailbox.unseen(person) if self._rooms.person_at(message.chat) == person]
        client = Client(person, writer, [Welcome(person=person, prefix=self._context.prefix), *unseen])
        async with asyncio.TaskGroup() as group:
            telling = group.create_task(client.run())
            self._clients.add(client)
            try:
                if self._rooms.live(person):
                    self.tell_chats(person)
                else:
                    await self._call(hello, person)
                async for line in asked:
                    await self._do(line, client)
            finally:
                self._clients.discard(client)
                telling.cancel()

    async def _call(self, hello: Hello, person: str) -> None:
        """Call the bot, as somebody does who has no conversation with it."""
        await self._accept(
            Inbound(
                address=self._rooms.lobby(person),
                event_id=f"start-{hello.life}",
                sender=person,
                sender_name=person,
                sent_at=time.time(),
                kind=Kind.START,
            )
        )

    async def _do(self, line: object, client: Client) -> None:
        match line:
            case Say():
                client.tell(await self._say(line, client.person))
            case Seen():
                await self._mailbox.see(client.person, line.seq)
            case _:
                raise WireError("a client that is attached says or sees")

    async def _say(self, said: Say, person: str) -> Line:
        if said.chat not in {room.address.conversation for room in self._rooms.all() if room.owner == person}:
            return Refused(id=said.id, why=words.NOT_YOURS())
        if not all(self._spool.has(file.ref) for file in said.files):
            return Refused(id=said.id, why=words.FILE_GONE())
        await self._accept(
            Inbound(
                address=Address(surface=self._context.name, conversation=said.chat),
                event_id=f"{person}-{said.id}",
                sender=person,
                sender_name=person,
                sent_at=time.time(),
                text=said.text,
                attachments=tuple(
                    Attachment(ref=file.ref, name=file.name, mime=file.mime, size=file.size) for file in said.files
                ),
            )
        )
        return Taken(id=said.id)

    async def _accept(self, message: Inbound) -> None:
        if self._intake is None:
            raise WireError("the surface ends")
        await self._intake.accept([message], message.event_id)

    # Files, each over a connection of its own

    async def _take(self, put: Put, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer: Line
        try:
            answer = Stored(ref=await self._spool.take(put.size, pieces(reader, put.size)))
        except SurfacesError as error:
            answer = Refused(why=error.public)
        writer.write(answer.encoded())
        await writer.drain()

    async def _give(self, get: Get, person: str, writer: asyncio.StreamWriter) -> None:
        message = self._mailbox.at(get.seq)
        if message is None or message.file is None or self._rooms.person_at(message.chat) != person:
            writer.write(Refused(why=words.FILE_GONE()).encoded())
            return
        try:
            size, content = self._spool.sent(message.key)
        except OSError:
            writer.write(Refused(why=words.FILE_GONE()).encoded())
            return
        writer.write(Coming(size=size).encoded())
        for piece in content:
            writer.write(piece)
            await writer.drain()
