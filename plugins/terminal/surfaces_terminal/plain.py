"""Owns `surfaces chat` in a pipe: each line that is read is said, each answer is written, and nothing else."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from threading import Thread
from typing import TextIO

from surfaces_terminal.render import clean, with_ways
from surfaces_terminal.talk import Left, Talk
from surfaces_terminal.wire import MARKED, PIECE, Chats, Knowledge, Message, Running

AHEAD = 20
"""Lines that are said before the first of them is answered, so that no host has too many waiting."""


class Plain:
    """Looks at a talk line by line."""

    def __init__(self, talk: Talk, read: int, out: TextIO) -> None:
        self._talk = talk
        self._read = read
        self._out = out
        self._marks: set[str] = set()
        self._changed = asyncio.Condition()

    async def tell(self, line: str) -> None:
        """A line of the program's own goes beside the answers."""
        sys.stderr.write(f"{line}\n")

    async def attached(self, attached: bool) -> None:
        """Nothing to show."""

    async def chats(self, told: Chats) -> None:
        """Nothing to show."""
        await self._talk.take_chats(told)

    async def knows(self, told: Knowledge) -> None:
        """Nothing to show."""
        self._talk.take_knowledge(told)

    async def running(self, draft: Running) -> None:
        """What may change is not written."""

    async def message(self, message: Message) -> None:
        """Write an answer."""
        if message.text in self._marks:
            async with self._changed:
                self._marks.discard(message.text)
                self._changed.notify_all()
        if MARKED.fullmatch(message.text):
            return
        lines = [with_ways(clean(message.text))] if message.text else []
        if message.file is not None:
            lines.append(await self._talk.saved(message))
        self._out.write("".join(f"{line}\n" for line in lines))
        self._out.flush()

    async def refused(self, why: str) -> None:
        """Said beside the answers."""
        await self.tell(clean(why))

    async def run(self) -> None:
        """Say every line, and wait for what is answered."""
        said = 0
        async for line in _lines(self._read):
            try:
                await self._talk.enter(line)
            except Left:
                break
            said += 1
            if said % AHEAD == 0:
                await self._answered()
        await self._answered()

    async def _answered(self) -> None:
        word = secrets.token_hex(16)
        self._marks.add(word)
        self._talk.mark(word)
        async with self._changed:
            await self._changed.wait_for(lambda: word not in self._marks)


async def _lines(descriptor: int) -> AsyncIterator[str]:
    """What is read, line by line."""
    rest = b""
    while piece := await _read(descriptor):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line.decode("utf8", "replace")
    if rest:
        yield rest.decode("utf8", "replace")


async def _read(descriptor: int) -> bytes:
    """What comes next. In a thread that nobody waits for: who leaves does not first have to type a line."""
    loop = asyncio.get_running_loop()
    came: asyncio.Future[bytes] = loop.create_future()

    def settle(piece: bytes) -> None:
        if not came.done():
            came.set_result(piece)

    def wait() -> None:
        try:
            piece = os.read(descriptor, PIECE)
        except OSError:  # the terminal is gone
            piece = b""
        with suppress(RuntimeError):  # and so may the loop be
            loop.call_soon_threadsafe(settle, piece)

    Thread(target=wait, daemon=True).start()
    return await came
