import asyncio
import itertools
import json
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from surfaces_core import Address
from surfaces_core.testing import contract
from surfaces_core.testing.checks.surface import SurfaceBench
from surfaces_core.testing.driver_contexts import MemoryStore
from surfaces_core.testing.memory_surface import memory_context

from surfaces_socket import LONGEST, SocketSurface


class Person:
    """A client: what was not seen is said again, one text after the other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._texts: asyncio.Queue[str] = asyncio.Queue()

    async def say(self, text: str) -> None:
        await self._texts.put(text)

    async def talk(self) -> None:
        for number in itertools.count():
            text = await self._texts.get()
            while not await self._seen(str(number), text):
                await asyncio.sleep(0.01)  # the bot is away

    async def _seen(self, number: str, text: str) -> bool:
        try:
            reader, writer = await asyncio.open_unix_connection(self._path, limit=4 * LONGEST)
        except OSError:
            return False
        writer.write(json.dumps({"id": number, "text": text}).encode() + b"\n")
        seen = False
        while not seen and (line := await reader.readline()):
            seen = json.loads(line).get("seen") == number
        writer.close()
        return seen


@contract.surface
async def test_contract(tmp_path: Path) -> AsyncIterator[SurfaceBench]:
    """Every promise of a surface, with one person on the socket."""
    store, person = MemoryStore(), Person(tmp_path / "socket")
    settings = SocketSurface.Settings(path=tmp_path / "socket")

    async def shown() -> Sequence[str]:
        return [text.decode() for text in (await store.scan()).values()]

    async def nothing() -> None:
        """The store forgets no key, and there are no devices."""

    async with asyncio.TaskGroup() as group:
        talking = group.create_task(person.talk())
        yield SurfaceBench(
            make=lambda: SocketSurface(settings, memory_context("socket", store=store)),
            address=Address(surface="socket", conversation=str(os.getuid())),
            push=person.say,
            shown=shown,
            forget=nothing,
            other_device=nothing,
        )
        talking.cancel()
