"""A small chat in the terminal: what the person types is said in the room, what the bot says is printed."""

from __future__ import annotations

import asyncio
import sys
from typing import TextIO

from surfaces_demo.person import Person
from surfaces_demo.script import UNFINISHED
from surfaces_demo.timeline import Room

PROMPT = "> "


class Chat:
    """Talks in one room, and moves to the room of a new conversation when one is opened."""

    def __init__(self, person: Person, room: Room, bot: str, out: TextIO) -> None:
        self._person = person
        self._room = room
        self._bot = bot
        self._out = out
        self._shown: dict[str, str] = {message.event_id: message.text for message in room.messages.values()}
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()

    async def run(self) -> None:
        """Until the end of what is typed."""
        loop = asyncio.get_running_loop()
        # A terminal hands over whole lines, so reading one when it is readable does not block.
        loop.add_reader(sys.stdin.fileno(), self._read)
        try:
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(self._listen())
                self._prompt()
                while (line := await self._lines.get()) is not None:
                    if line.strip():
                        await self._person.say(self._room, line.strip())
                    self._prompt()
                listening.cancel()
        finally:
            loop.remove_reader(sys.stdin.fileno())

    def _read(self) -> None:
        line = sys.stdin.readline()
        self._lines.put_nowait(line or None)

    async def _listen(self) -> None:
        while True:
            await self._person.changes()
            await self._follow()
            for message in self._room.by(self._bot):
                self._print(message.event_id, message.text.removesuffix(UNFINISHED).rstrip())

    async def _follow(self) -> None:
        """Accept what the bot invites to, and talk there from now on."""
        for room in list(self._person.timeline.rooms.values()):
            if room.membership == "invite" and not room.space:
                await self._person.join(room)
                self._room = room
                self._write(f"\r\033[K-- {room.name}\n{PROMPT}")

    def _print(self, event_id: str, text: str) -> None:
        """A message, or what was added to it since it was printed."""
        before = self._shown.get(event_id)
        if text == before:
            return
        self._shown[event_id] = text
        added = text[len(before) :].lstrip() if before and text.startswith(before) else text
        self._write(f"\r\033[K{added}\n{PROMPT}")

    def _prompt(self) -> None:
        self._write(PROMPT)

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
