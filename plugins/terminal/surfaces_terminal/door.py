"""Owns the UNIX socket: who may come in, and that it is gone when nobody serves it."""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
import stat
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from structlog.typing import FilteringBoundLogger

from surfaces_terminal.wire import LONGEST_LINE, WireError, address_of, is_served

Serve = Callable[[str, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Talks with a person's client until it leaves."""
AT_ONCE = 32
"""Connections that are served at the same time."""
_PEER = struct.Struct("3i")


@asynccontextmanager
async def opened(path: Path, serve: Serve, log: FilteringBoundLogger) -> AsyncIterator[None]:
    """Serve at a path while the block lasts. Raises `OSError` where that cannot be."""
    door = _Door(serve, log)
    server = await asyncio.start_unix_server(door.enter, sock=_bound(path), limit=LONGEST_LINE)
    try:
        yield
    finally:
        server.close()
        await door.empty()
        _remove(path)


def _bound(path: Path) -> socket.socket:
    """A socket that its owner and root alone can connect to, in the place of one that a dead host left."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if is_served(path):
        raise OSError(f"{path} is served by another host")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with address_of(path) as address:
            with suppress(FileNotFoundError):
                if stat.S_ISSOCK(os.lstat(address).st_mode):
                    Path(address).unlink()
            listening.bind(address)
            Path(address).chmod(0o600)  # nobody can connect before it listens
    except BaseException:
        listening.close()
        raise
    return listening


def _remove(path: Path) -> None:
    with suppress(OSError), address_of(path) as address:
        Path(address).unlink()


class _Door:
    """Those who came in."""

    def __init__(self, serve: Serve, log: FilteringBoundLogger) -> None:
        self._serve = serve
        self._log = log
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            person = self._person(writer)
            if person and not self._closed and len(self._tasks) <= AT_ONCE:
                await self._served(person, reader, writer)
        except asyncio.CancelledError:
            pass  # the door closes: that is all that this task was for
        except Exception:  # noqa: BLE001 - who only talks must not end what works
            self._log.exception("terminal.bug")
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _served(self, person: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(person, reader, writer)
        except* (OSError, WireError) as broken:  # who leaves in the middle of something is no bug
            self._log.info("terminal.broken", reason=type(broken.exceptions[0]).__name__)

    def _person(self, writer: asyncio.StreamWriter) -> str:
        """The login name of whoever is at the other end; empty where they have no business here."""
        peer = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        _, user, _ = _PEER.unpack(peer)
        if user not in (os.geteuid(), 0):
            self._log.warning("terminal.refused", user=user)
            return ""
        try:
            return pwd.getpwuid(user).pw_name
        except KeyError:
            return str(user)

    async def empty(self) -> None:
        """Let nobody stay."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
