"""Owns what goes through the socket: lines of JSON both ways, the bytes of a file behind its line."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

LONGEST_LINE = 32 * 1024 * 1024
"""More than any stored message needs."""
LONGEST_TEXT = 1_000_000
PIECE = 64 * 1024
LONGEST_ADDRESS = 100
"""Bytes of a path that surely fit into the address of a socket (unix(7): 108)."""
MARK = "mark"
"""The command that says its word back, once everything before it in the conversation is answered."""
MARKED = re.compile(r"[0-9a-f]{32}")
"""A word that a client asked for: nothing to show."""
Id = Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")]


class WireError(Exception):
    """The other side does not speak this protocol."""


class Line(BaseModel):
    """Base of all lines."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def encoded(self) -> bytes:
        """As it goes through the socket."""
        return self.model_dump_json().encode() + b"\n"


# What a client says -------------------------------------------------------------------------------


class Hello(Line):
    """Attaches a client: what was not seen yet comes, and then what happens."""

    do: Literal["hello"] = "hello"
    life: Id
    """Of the client's process, so that attaching again calls the bot once."""


class Upload(Line):
    """A file that a person sends."""

    ref: str = Field(max_length=100)
    """What `Stored` called it."""
    name: str = Field(max_length=1000)
    mime: str = Field(default="application/octet-stream", max_length=200)
    size: int = Field(ge=0)


class Say(Line):
    """Something that a person says. Answered with `Taken` or `Refused`; may be repeated."""

    do: Literal["say"] = "say"
    id: Id
    chat: str
    text: str = Field(default="", max_length=LONGEST_TEXT)
    files: tuple[Upload, ...] = Field(default=(), max_length=20)


class Seen(Line):
    """All up to this message was shown."""

    do: Literal["seen"] = "seen"
    seq: int


class Put(Line):
    """So many bytes of a file follow. Answered with `Stored` or `Refused`; nothing else goes over the connection."""

    do: Literal["put"] = "put"
    size: int = Field(ge=0)


class Get(Line):
    """Asks for the file of a message. Answered with `Coming` and its bytes, or `Refused`."""

    do: Literal["get"] = "get"
    seq: int


# What the host says -------------------------------------------------------------------------------


class Welcome(Line):
    """The first line to a client that attached."""

    say: Literal["welcome"] = "welcome"
    person: str
    prefix: str


class Chat(Line):
    """A conversation."""

    id: str
    number: int
    name: str


class Chats(Line):
    """The person's live conversations, by number."""

    say: Literal["chats"] = "chats"
    chats: tuple[Chat, ...]


class Known(Line):
    """A command."""

    name: str
    usage: str
    help: str


class Knowledge(Line):
    """The commands that the person may use, and the language they are spoken to in."""

    say: Literal["knowledge"] = "knowledge"
    commands: tuple[Known, ...]
    language: str


class SentFile(Line):
    """A file of the bot's."""

    name: str
    size: int
    mime: str


class Message(Line):
    """What the bot said; `seq` counts all that it says in this state."""

    say: Literal["message"] = "message"
    seq: int
    chat: str
    key: str
    text: str
    notice: bool = False
    file: SentFile | None = None
    replaces: str = ""


class Running(Line):
    """How a running answer looks; `done`: nothing more comes."""

    say: Literal["running"] = "running"
    chat: str
    key: str
    text: str = ""
    status: str = ""
    done: bool = False


class Taken(Line):
    """What was said is durable."""

    say: Literal["taken"] = "taken"
    id: str


class Refused(Line):
    """What was asked cannot be done; `why` is a sentence for the person."""

    say: Literal["refused"] = "refused"
    id: str = ""
    why: str


class Stored(Line):
    """A file is durable and may be said."""

    say: Literal["stored"] = "stored"
    ref: str


class Coming(Line):
    """So many bytes of a file follow."""

    say: Literal["coming"] = "coming"
    size: int


Asked = Annotated[Hello | Say | Seen | Put | Get, Field(discriminator="do")]
Told = Annotated[
    Welcome | Chats | Knowledge | Message | Running | Taken | Refused | Stored | Coming, Field(discriminator="say")
]
ASKED: TypeAdapter[Hello | Say | Seen | Put | Get] = TypeAdapter(Asked)
TOLD: TypeAdapter[Welcome | Chats | Knowledge | Message | Running | Taken | Refused | Stored | Coming] = TypeAdapter(
    Told
)
T = TypeVar("T")


async def lines(reader: asyncio.StreamReader, kind: TypeAdapter[T]) -> AsyncIterator[T]:
    """What comes until the other side closes. Raises `WireError` for what is none of it."""
    while True:
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            return
        except asyncio.LimitOverrunError as error:
            raise WireError("a line is too long") from error
        try:
            yield kind.validate_json(line)
        except ValidationError as error:
            raise WireError("a line is none of this protocol; is the other side another version?") from error


async def pieces(reader: asyncio.StreamReader, size: int) -> AsyncIterator[bytes]:
    """The bytes behind a line. Raises `WireError` where they break off."""
    while size:
        piece = await reader.read(min(PIECE, size))
        if not piece:
            raise WireError("a file broke off")
        size -= len(piece)
        yield piece


@contextmanager
def address_of(path: Path) -> Iterator[str]:
    """What a socket can be told for a path, however long that is."""
    if len(os.fsencode(path)) <= LONGEST_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def is_served(path: Path) -> bool:
    """Whether somebody listens at a socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            with address_of(path) as address:
                probe.connect(address)
        except OSError:
            return False
    return True
