"""Owns the client's end of the socket: attached as long as it can be, nothing said is lost, nothing shown twice."""

from __future__ import annotations

import asyncio
import mimetypes
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

from surfaces_terminal.wire import (
    LONGEST_LINE,
    PIECE,
    TOLD,
    Chats,
    Coming,
    Get,
    Hello,
    Knowledge,
    Line,
    Message,
    Put,
    Refused,
    Running,
    Say,
    Seen,
    Stored,
    Taken,
    Upload,
    Welcome,
    WireError,
    address_of,
    lines,
    pieces,
)

AGAIN_S = 0.2
"""Between two tries to reach the host."""


class Viewer(Protocol):
    """What a client tells whoever looks at it."""

    async def attached(self, attached: bool) -> None:
        """The host is there, or it is away for now."""
        ...

    async def chats(self, told: Chats) -> None:
        """The conversations that there are."""
        ...

    async def knows(self, told: Knowledge) -> None:
        """The commands that there are, and the language."""
        ...

    async def running(self, draft: Running) -> None:
        """How a running answer looks."""
        ...

    async def message(self, message: Message) -> None:
        """Something was said: when this returns it was shown."""
        ...

    async def refused(self, why: str) -> None:
        """What was said cannot be."""
        ...


class FileError(Exception):
    """A file could not be moved; the text is for the person."""


class Client:
    """One person's client. What is said waits until the host has it, over any number of connections."""

    def __init__(self, path: Path, viewer: Viewer) -> None:
        self._path = path
        self._viewer = viewer
        self._life = secrets.token_hex(16)
        self._unsaid: dict[str, Say] = {}
        """What the host has not yet taken, by id, oldest first."""
        self._writer: asyncio.StreamWriter | None = None
        self._shown = 0
        self._changed = asyncio.Condition()
        self.person = ""
        self.prefix = "!"

    async def run(self) -> None:
        """Stay attached until cancelled."""
        while True:
            try:
                async with _connected(self._path) as (reader, writer):
                    await self._attached(reader, writer)
            except (OSError, WireError):
                pass
            finally:
                self._writer = None
            await asyncio.sleep(AGAIN_S)

    async def _attached(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(Hello(life=self._life).encoded())
        self._writer = writer
        for said in self._unsaid.values():
            writer.write(said.encoded())
        try:
            async for line in lines(reader, TOLD):
                await self._told(line, writer)
        finally:
            await self._viewer.attached(False)

    async def _told(self, line: Line, writer: asyncio.StreamWriter) -> None:
        match line:
            case Welcome():
                self.person, self.prefix = line.person, line.prefix
                await self._viewer.attached(True)
            case Message():
                if line.seq > self._shown:
                    await self._viewer.message(line)
                    self._shown = line.seq
                writer.write(Seen(seq=line.seq).encoded())
            case Running():
                await self._viewer.running(line)
            case Chats():
                await self._viewer.chats(line)
            case Knowledge():
                await self._viewer.knows(line)
            case Taken() | Refused():
                await self._settled(line)

    async def _settled(self, line: Taken | Refused) -> None:
        async with self._changed:
            self._unsaid.pop(line.id, None)
            self._changed.notify_all()
        if isinstance(line, Refused):
            await self._viewer.refused(line.why)

    def say(self, chat: str, text: str, *files: Upload) -> None:
        """Say something, now or when the host is there."""
        said = Say(id=secrets.token_hex(16), chat=chat, text=text, files=files)
        self._unsaid[said.id] = said
        if self._writer is not None:
            self._writer.write(said.encoded())

    async def taken(self) -> None:
        """Wait until the host has all that was said."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._unsaid)

    async def upload(self, path: Path) -> Upload:
        """Bring a file to the host. Raises `FileError`."""
        try:
            file = await asyncio.to_thread(path.open, "rb")
            with file:
                size = os.fstat(file.fileno()).st_size
                async with _connected(self._path) as (reader, writer):
                    writer.write(Put(size=size).encoded())
                    while piece := await asyncio.to_thread(file.read, PIECE):
                        writer.write(piece)
                        with suppress(ConnectionError):  # what it has against the file it says
                            await writer.drain()
                    answer = await anext(lines(reader, TOLD), None)
        except (OSError, WireError) as error:
            raise FileError(getattr(error, "strerror", None) or str(error)) from error
        if not isinstance(answer, Stored):
            raise FileError(answer.why if isinstance(answer, Refused) else "…")
        mime = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return Upload(ref=answer.ref, name=path.name, mime=mime, size=size)

    async def download(self, seq: int, take: Callable[[bytes], object]) -> None:
        """Hand on the bytes of a message's file. Raises `FileError`."""
        try:
            async with _connected(self._path) as (reader, writer):
                writer.write(Get(seq=seq).encoded())
                answer = await anext(lines(reader, TOLD), None)
                if not isinstance(answer, Coming):
                    raise FileError(answer.why if isinstance(answer, Refused) else "…")
                async for piece in pieces(reader, answer.size):
                    await asyncio.to_thread(take, piece)
        except (OSError, WireError) as error:
            raise FileError(getattr(error, "strerror", None) or str(error)) from error


@asynccontextmanager
async def _connected(path: Path) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    with address_of(path) as address:
        reader, writer = await asyncio.open_unix_connection(address, limit=LONGEST_LINE)
    try:
        yield reader, writer
    finally:
        writer.close()
