"""What the tests of this plugin share: a surface on a socket, and a client that remembers what it was shown."""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from surfaces_core import SurfaceContext
from surfaces_core.testing.memory_files import MemoryFiles
from surfaces_terminal.client import Client
from surfaces_terminal.settings import TerminalSettings
from surfaces_terminal.surface import TerminalSurface
from surfaces_terminal.wire import Chats, Knowledge, Message, Running

ME = pwd.getpwuid(os.geteuid()).pw_name


class MemoryStore:
    """A driver's store in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, bytes] = {}
        self.changed = asyncio.Event()

    async def get(self, key: str) -> bytes | None:
        return self.rows.get(key)

    async def put(self, key: str, value: bytes) -> None:
        self.rows[key] = value
        self.changed.set()

    async def delete(self, key: str) -> None:
        self.rows.pop(key, None)

    async def scan(self, prefix: str = "") -> dict[str, bytes]:
        return {key: self.rows[key] for key in sorted(self.rows) if key.startswith(prefix)}

    async def write(self, changes: Mapping[str, bytes | None]) -> None:
        for key, value in changes.items():
            self.rows.pop(key, None)
            if value is not None:
                self.rows[key] = value


class Watcher:
    """Remembers what a client was told."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.drafts: list[Running] = []
        self.told: list[Chats] = []
        self.knowledge: list[Knowledge] = []
        self.refusals: list[str] = []
        self.there = False
        self.changed = asyncio.Event()

    async def attached(self, attached: bool) -> None:
        self.there = attached
        self.changed.set()

    async def chats(self, told: Chats) -> None:
        self.told.append(told)
        self.changed.set()

    async def knows(self, told: Knowledge) -> None:
        self.knowledge.append(told)
        self.changed.set()

    async def running(self, draft: Running) -> None:
        self.drafts.append(draft)
        self.changed.set()

    async def message(self, message: Message) -> None:
        before = [at for at, old in enumerate(self.messages) if old.key == message.replaces]
        self.messages[slice(before[0], before[0] + 1) if before else slice(len(self.messages), None)] = [message]
        self.changed.set()

    async def refused(self, why: str) -> None:
        self.refusals.append(why)
        self.changed.set()

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


class House:
    """Surfaces over one store and one socket, life after life."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.keep = 200
        self.store = MemoryStore()
        self.files = MemoryFiles()
        self.watcher = Watcher()
        self.store.changed = self.watcher.changed
        self.client = Client(socket, self.watcher)

    def make(self) -> TerminalSurface:
        context = SurfaceContext(name="terminal", log=structlog.get_logger(), store=self.store, files=self.files)
        return TerminalSurface(TerminalSettings(socket=self.socket, keep=self.keep), context)

    async def caught_up(self) -> None:
        """Wait until the client was shown everything that is kept."""
        last = int(self.store.rows.get("count", b"0"))
        await self.watcher.until(
            lambda: self.watcher.there and (not last or any(m.seq == last for m in self.watcher.messages))
        )
