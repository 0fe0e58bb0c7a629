"""Storages on servers under kills: of the process that writes, of the server under it, of the line between them.

Nothing that was acknowledged is lost, nothing is half there, and whoever is told of a failure gets one line.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import pytest
import structlog

from proof import servers
from surfaces_core import Context, StateError, Storage
from surfaces_storage_postgres import PostgresStorage
from surfaces_storage_redis import RedisStorage

pytestmark = pytest.mark.slow
KINDS: dict[str, Any] = {"postgres": servers.postgres, "redis": servers.redis}
DRIVERS: dict[str, tuple[type[Storage], str, str]] = {
    "postgres": (PostgresStorage, "dsn", "schema_name"),
    "redis": (RedisStorage, "url", "prefix"),
}
_WRITE_FOR_EVER = """
    import asyncio, json, sys, structlog
    from surfaces_core import Context, StateError
    from surfaces_storage_postgres import PostgresStorage
    from surfaces_storage_redis import RedisStorage

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    kind = {"postgres": PostgresStorage, "redis": RedisStorage}[sys.argv[1]]
    settings = kind.Settings.model_validate(json.loads(sys.argv[2]))

    async def work(store, numbers):
        for number in numbers:
            async with store.transaction() as tx:
                await tx.put(b"%06d/a" % number, b"v" * 700)
                await tx.put(b"%06d/b" % number, b"v" * 700)
            print(number, flush=True)

    async def main():
        async with kind(settings, Context(name="storage", log=structlog.get_logger())) as store:
            numbers = iter(range(10**6))
            async with asyncio.TaskGroup() as group:
                for _ in range(8):
                    group.create_task(work(store, numbers))

    try:
        asyncio.run(main())
    except* StateError as group:
        print(group.exceptions[0], flush=True)
        sys.exit(group.exceptions[0].exit_code)
"""


@dataclass(frozen=True)
class House:
    """One server, and storages on it."""

    kind: str
    server: servers.Server

    def settings(self, name: str, url: str = "") -> dict[str, object]:
        """Those of a state of its own."""
        _, url_key, name_key = DRIVERS[self.kind]
        return {url_key: url or self.server.url, name_key: name, "reconnect_s": 0.2}

    def storage(self, name: str, url: str = "") -> Storage:
        """An unopened one."""
        driver = DRIVERS[self.kind][0]
        settings = driver.Settings.model_validate(self.settings(name, url))
        return driver(settings, Context(name="storage", log=structlog.get_logger()))

    async def keys(self, name: str) -> list[bytes]:
        """What a state holds."""
        async with self.storage(name) as storage, storage.transaction() as tx:
            return [key async for key, _ in tx.scan(b"")]

    @asynccontextmanager
    async def proxy(self) -> AsyncIterator[tuple[servers.Proxy, str]]:
        """Another door to the server, and its URL."""
        door = {"postgres": ".s.PGSQL.5432", "redis": "redis.sock"}[self.kind]
        folder = self.server.folder / "proxy"
        folder.mkdir(exist_ok=True)
        async with servers.Proxy(self.server.folder / door, folder / door).open() as proxy:
            yield proxy, self.server.url.replace(str(self.server.folder), str(folder))


@pytest.fixture(scope="module", params=list(KINDS))
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    """A server of each kind."""
    with KINDS[request.param]() as server:
        yield House(request.param, server)


@pytest.fixture
def writer(house: House, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A process that writes in eight tasks, and says what was acknowledged."""
    settings = json.dumps(house.settings(request.node.name))
    command = [sys.executable, "-c", textwrap.dedent(_WRITE_FOR_EVER), house.kind, settings]
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        )
        stack.callback(process.kill)
        yield process


async def judge(house: House, request: pytest.FixtureRequest, said: list[str]) -> None:
    """All that was acknowledged is there, in order without a hole, and nothing is half there."""
    keys = await house.keys(request.node.name)
    stored = sorted({int(key[:6]) for key in keys})
    assert keys == [b"%06d/%s" % (number, part) for number in stored for part in (b"a", b"b")]
    assert stored == list(range(len(stored)))
    assert {int(number) for number in said if number.isdecimal()} <= set(stored)


def first_lines(process: subprocess.Popen[str], count: int) -> list[str]:
    """What it acknowledges first."""
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(count)]


@pytest.mark.parametrize("acknowledged", [1, 300])
async def test_a_killed_writer(
    house: House, request: pytest.FixtureRequest, writer: subprocess.Popen[str], acknowledged: int
) -> None:
    """SIGKILL to the host in the middle of its writes; the state is free at once and whole."""
    said = first_lines(writer, acknowledged)
    writer.kill()
    said += writer.communicate()[0].split("\n")[:-1]  # the last line may be cut
    assert len(said) >= acknowledged
    await judge(house, request, said)


@pytest.mark.parametrize("acknowledged", [1, 300])
async def test_a_killed_server(
    house: House, request: pytest.FixtureRequest, writer: subprocess.Popen[str], acknowledged: int
) -> None:
    """The server crashes in the middle of writes: the host ends with one line, and its successor finds everything."""
    said = first_lines(writer, acknowledged)
    house.server.end(signal.SIGKILL if house.kind == "redis" else signal.SIGQUIT)
    lines = writer.communicate()[0].splitlines()
    house.server.start()
    # Between two commits nothing is in doubt, and the server would be waited for.
    known = {os.EX_IOERR: "the connection was lost during a commit", os.EX_UNAVAILABLE: "cannot be reached"}
    assert known[writer.returncode] in lines[-1]
    await judge(house, request, said + lines[:-1])


@pytest.mark.parametrize("side", ["before", "after"])
async def test_a_line_that_is_cut_in_a_commit(house: House, side: Literal["before", "after"]) -> None:
    """Both ways the host is told that it is not known; what the server did shows at the next start, once."""
    async with house.proxy() as (proxy, url), house.storage(f"cut_{side}", url) as storage:
        await put(storage, b"first")
        proxy.cut_at(b"fatal-key", side)
        for key in (b"fatal-key", b"later"):
            with pytest.raises(StateError, match="during a commit") as caught:
                await put(storage, key)
            assert caught.value.exit_code == os.EX_IOERR
    assert await house.keys(f"cut_{side}") == [*([b"fatal-key"] if side == "after" else []), b"first"]


async def put(storage: Storage, key: bytes) -> None:
    async with storage.transaction() as tx:
        await tx.put(key, b"1")
