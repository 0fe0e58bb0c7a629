"""Owns the client's end of the socket: attached as long as it can be, nothing said is lost, nothing shown twice."""

from __future__ import annotations

import asyncio
import mimetypes
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

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
TRIES = 5
"""So often a message is shown anew whose file broke off."""


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
        self._broken = (0, 0)
        """The message that could not be shown, and how often."""
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
                    await self._show(line)
                writer.write(Seen(seq=line.seq).encoded())
            case Running():
                await self._viewer.running(line)
            case Chats():
                await self._viewer.chats(line)
            case Knowledge():
                await self._viewer.knows(line)
            case Taken() | Refused():
                await self._settled(line)

    async def _show(self, message: Message) -> None:
        try:
            await self._viewer.message(message)
        except WireError:
            seq, tries = self._broken
            self._broken = (message.seq, tries + 1 if seq == message.seq else 1)
            raise
        self._shown = message.seq

    async def _settled(self, line: Taken | Refused) -> None:
        async with self._changed:
            self._unsaid.pop(line.id, None)
            self._changed.notify_all()
        if isinstance(line, Refused):
            await self._viewer.refused(line.why)

    def say(self, chat: str, text: str, *files: Upload) -> None:
        """Say something, now or when the host is there."""
        said = Say(id=secrets.token_hex(16), chat=chat, text=_unicode(text), files=files)
        self._unsaid[said.id] = said
        if self._writer is not None:
            self._writer.write(said.encoded())

    @property
    def unsaid(self) -> int:
        """How much of what was said the host does not have yet."""
        return len(self._unsaid)

    async def taken(self) -> None:
        """Wait until the host has all that was said."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._unsaid)

    async def upload(self, path: Path) -> Upload:
        """Bring a file to the host. Raises `FileError`, or `WireError` where the host went away."""
        try:
            file = await asyncio.to_thread(path.open, "rb")
        except OSError as error:
            raise FileError(error.strerror or str(error)) from error
        with file:
            size = os.fstat(file.fileno()).st_size
            try:
                answer = await self._put(file, size)
            except (OSError, WireError) as error:
                raise WireError("a file broke off") from error
        if isinstance(answer, Refused):
            raise FileError(answer.why)
        if not isinstance(answer, Stored):
            raise WireError("a file was not taken")
        mime = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return Upload(ref=answer.ref, name=_unicode(path.name), mime=mime, size=size)

    async def _put(self, file: BinaryIO, size: int) -> object:
        async with _connected(self._path) as (reader, writer):
            writer.write(Put(size=size).encoded())
            while piece := await asyncio.to_thread(file.read, PIECE):
                writer.write(piece)
                with suppress(ConnectionError):  # what it has against the file it says
                    await writer.drain()
            return await anext(lines(reader, TOLD), None)

    async def download(self, seq: int, take: Callable[[bytes], object]) -> None:
        """Hand on the bytes of a message's file.

        Raises `FileError` where it cannot be had or kept, `WireError` where it is worth another try.
        """
        try:
            async with _connected(self._path) as (reader, writer):
                writer.write(Get(seq=seq).encoded())
                answer = await anext(lines(reader, TOLD), None)
                if isinstance(answer, Refused):
                    raise FileError(answer.why)
                size = answer.size if isinstance(answer, Coming) else 1  # of which nothing comes
                async for piece in pieces(reader, size):
                    await _kept(take, piece)
        except (OSError, WireError) as error:
            if self._broken >= (seq, TRIES):
                raise FileError(str(error)) from error
            raise WireError("a file broke off") from error


async def _kept(take: Callable[[bytes], object], piece: bytes) -> None:
    try:
        await asyncio.to_thread(take, piece)
    except OSError as error:
        raise FileError(error.strerror or str(error)) from error


def _unicode(text: str) -> str:
    """A text that can be sent: bytes of a file's name or a pipe need be no UTF-8."""
    return text.encode("utf8", "replace").decode("utf8")


@asynccontextmanager
async def _connected(path: Path) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    with address_of(path) as address:
        reader, writer = await asyncio.open_unix_connection(address, limit=LONGEST_LINE)
    try:
        yield reader, writer
    finally:
        writer.close()
