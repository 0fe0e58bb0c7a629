"""A storage that holds the state in memory and in one file, to which each transaction adds a line."""

import asyncio
import fcntl
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Self

from pydantic import Field

from surfaces_core import Context, Settings, StateError, Storage, Tx


class LinesSettings(Settings):
    path: Path = Field(description="The file that holds the state; its folder must exist.")


class LinesStorage(Storage):
    Settings = LinesSettings

    def __init__(self, settings: LinesSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._path = settings.path
        self._rows: dict[bytes, bytes | None] = {}  # None: deleted
        self._turn = asyncio.Lock()
        self._writing: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._open)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._settled()
        self._files.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        async with self._turn:
            await self._settled()
            tx = LinesTx(self._rows)
            yield tx
            if tx.changes:  # an exception in the block never comes here, so it leaves nothing behind
                self._writing = asyncio.get_running_loop().run_in_executor(None, self._commit, tx.changes)
                await self._writing

    async def _settled(self) -> None:
        if self._writing is not None:  # left by one who was cancelled: it comes to its end all the same
            await asyncio.wait([self._writing])

    def _open(self) -> None:
        with explained(self._path), ExitStack() as files:
            self._file = files.enter_context(self._path.open("a+b", buffering=0))
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._file.seek(0)
            *lines, torn = self._file.read().split(b"\n")
            self._file.truncate(self._file.tell() - len(torn))  # a commit that was cut off: nobody relies on it
            for line in lines:
                self._rows.update(unpacked(json.loads(line)))
            self._files = files.pop_all()

    def _commit(self, changes: dict[bytes, bytes | None]) -> None:
        line = json.dumps({key.hex(): value if value is None else value.hex() for key, value in changes.items()})
        data = f"{line}\n".encode()
        with explained(self._path), ExitStack() as failed:
            failed.callback(self._file.close)  # behind half a line nothing could be read again
            if self._file.closed or self._file.write(data) < len(data):
                raise OSError("a write was cut off; start again")
            os.fsync(self._file.fileno())
            failed.pop_all()
        self._rows.update(changes)


class LinesTx(Tx):
    def __init__(self, rows: dict[bytes, bytes | None]) -> None:
        self._rows = rows
        self.changes: dict[bytes, bytes | None] = {}

    async def get(self, key: bytes) -> bytes | None:
        return self.changes[key] if key in self.changes else self._rows.get(key)

    async def put(self, key: bytes, value: bytes) -> None:
        self.changes[key] = value

    async def delete(self, key: bytes) -> None:
        self.changes[key] = None

    async def scan(self, prefix: bytes) -> AsyncIterator[tuple[bytes, bytes]]:
        for key, value in sorted({**self._rows, **self.changes}.items()):
            if value is not None and key.startswith(prefix):
                yield key, value


def unpacked(line: dict[str, str | None]) -> dict[bytes, bytes | None]:
    return {bytes.fromhex(key): value if value is None else bytes.fromhex(value) for key, value in line.items()}


@contextmanager
def explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        codes = {BlockingIOError: os.EX_TEMPFAIL, PermissionError: os.EX_NOPERM}
        code = os.EX_DATAERR if isinstance(error, ValueError) else codes.get(type(error), os.EX_IOERR)
        raise StateError(f"{path}: {error}", exit_code=code) from error
