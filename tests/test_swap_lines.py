"""One line of a config swaps the messenger: the same host, the same conversation, another surface."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from surfaces_terminal.client import Client
from surfaces_terminal.wire import Chats, Knowledge, Message, Running
from surfaces_testing.homeserver import PASSWORD, FakeHomeserver

pytestmark = [pytest.mark.slow]
BOT = "@bot:hs.test"
CONFIG = """
storage: {{use: sqlite, path: ./state.db}}
files: {{use: volume, root: ./agents}}
surfaces: {surface}
transports: {{echo: {{}}}}
agents: [{{id: echo, label: Echo, transport: echo}}]
hooks: [context, chats, staging]
"""
LINES = ("one **two** three", "history", "!clear", "history", "!rename work", "!nosuch", "the end")
"""What a person says; the agent, the host and a command set answer."""
EXPECTED = [
    "one **two** three",
    "1. one **two** three",
    "Done: the agent starts afresh here and remembers nothing of what was said before.",
    "1. …",
    "This conversation is now called **work**.",
    "I don't know `!nosuch`. `!help` lists what there is.",
    "the end",
]
Say = Callable[[str], Awaitable[str]]
"""Says a line; gives the answer."""


@asynccontextmanager
async def running(folder: Path, surface: str) -> AsyncIterator[None]:
    """The host as a process, with its one line about the messenger."""
    (folder / "surfaces.yaml").write_text(CONFIG.format(surface=surface))
    (folder / "agents/echo").mkdir(parents=True)
    host = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "surfaces_core.cli", "run"),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert host.stdout is not None
        assert (await host.stdout.readline()).startswith(b"READY")
        yield
    finally:
        host.terminate()
        assert await host.wait() == 0


@asynccontextmanager
async def in_matrix(folder: Path) -> AsyncIterator[Say]:
    """A person whom the bot has invited to their first room."""
    async with FakeHomeserver() as homeserver:
        homeserver.register(BOT)
        ann = homeserver.person("@ann:hs.test", display_name="Ann")
        line = f'{{matrix: {{homeserver: "{homeserver.url}", user_id: "{BOT}", password: "{PASSWORD}"}}}}'
        async with running(folder, line):
            ann.create_dm(BOT)
            await homeserver.until(lambda: _invited(homeserver), timeout=30)
            (room,) = _invited(homeserver)
            ann.join(room)

            def said() -> list[str]:
                return [shown.body for shown in homeserver.shown(room) if shown.sender == BOT]

            async def say(text: str) -> str:
                before = len(said())
                ann.say(room, text)
                await homeserver.until(lambda: len(said()) > before, timeout=30)
                return said()[-1]

            await homeserver.until(said, timeout=30)
            yield say


def _invited(homeserver: FakeHomeserver) -> list[str]:
    """The conversations that wait for the person."""
    return [
        room
        for room in homeserver.rooms
        if ("io.surfaces.binding", "") in homeserver.state(room)
        and homeserver.members(room).get("@ann:hs.test") == "invite"
    ]


class Viewer:
    """Remembers what a terminal shows."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.chat = ""
        self.changed = asyncio.Event()

    async def attached(self, attached: bool) -> None:
        pass

    async def chats(self, told: Chats) -> None:
        self.chat = told.chats[0].id
        self.changed.set()

    async def knows(self, told: Knowledge) -> None:
        pass

    async def running(self, draft: Running) -> None:
        pass

    async def message(self, message: Message) -> None:
        self.said.append(message.text)
        self.changed.set()

    async def refused(self, why: str) -> None:
        raise AssertionError(why)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def in_a_terminal(folder: Path) -> AsyncIterator[Say]:
    """A person on the host's own machine."""
    async with running(folder, "{terminal: {socket: ./chat.sock}}"), asyncio.TaskGroup() as group:
        viewer = Viewer()
        client = Client(folder / "chat.sock", viewer)
        attached = group.create_task(client.run())
        await viewer.until(lambda: viewer.chat and viewer.said)

        async def say(text: str) -> str:
            before = len(viewer.said)
            client.say(viewer.chat, text)
            await viewer.until(lambda: len(viewer.said) > before)
            return viewer.said[-1]

        yield say
        attached.cancel()


@pytest.mark.parametrize("place", [in_matrix, in_a_terminal])
async def test_the_same_conversation(place: Callable[[Path], AbstractAsyncContextManager[Say]], tmp_path: Path) -> None:
    """Agent, host and command sets answer alike, whatever connects the person."""
    async with place(tmp_path) as say:
        answers = [await say(line) for line in LINES]
    assert answers == EXPECTED
