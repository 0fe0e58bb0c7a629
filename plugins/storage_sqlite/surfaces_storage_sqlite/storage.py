"""Owns the storage driver: transactions of the host on one SQLite file."""

from __future__ import annotations

import asyncio
import os
from bisect import bisect_left
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import Field

import surfaces_core
from surfaces_core import Agent, Context, Finding, Storage, Tx
from surfaces_storage_sqlite import examining, table
from surfaces_storage_sqlite.writer import Writer

MAX_KEY_BYTES = 1024
MAX_VALUE_BYTES = 16 * 1024 * 1024
_BEYOND = b"\xff" * (MAX_KEY_BYTES + 1)
"""Sorts behind every key."""


class SqliteStorage(Storage):
    """The host's durable state in one file, held by one process; made when it is missing.

    Entering and every transaction raise `StateError` with its exit code: 65 damaged, foreign or from a
    newer version, 74 disk full or input/output, 75 held by another process or program, 77 file rights.
    """

    class Settings(surfaces_core.Settings):
        """What the operator says under `storage:`."""

        path: Path = Field(
            description="The database file; its folder is made when it is missing.", examples=["./var/surfaces.db"]
        )
        busy_timeout_s: float = Field(
            default=5.0, ge=0, description="How long to wait while another program, a backup say, locks the database."
        )

    settings: Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings, context)
        self.control = Path(f"{os.path.realpath(settings.path)}.sock")  # two names of one file have one door

    async def __aenter__(self) -> Self:
        self._lock = asyncio.Lock()
        self._writer = Writer(self.settings.path, self.settings.busy_timeout_s)
        await self._writer.start()
        self.context.log.info("storage.opened", path=str(self.settings.path))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._writer.stop()
        self.context.log.info("storage_closed", path=str(self.settings.path))

    async def examine(self, agents: Sequence[Agent]) -> Sequence[Finding]:
        """Its file, folder and space."""
        return await asyncio.to_thread(lambda: list(examining.examine(self.settings.path)))

    async def erase(self) -> str:
        """Remove the file with what stands beside it, where no process holds it."""
        async with self:  # so that nobody else has it, and that it is ours to remove
            pass
        path = self.settings.path.resolve()
        await asyncio.to_thread(_remove, path)
        return str(path)

    def transaction(self) -> SqliteTx:
        """One at a time in their bodies; their commits overlap, so many at once share an fsync.

        Who is cancelled while the commit runs does not learn whether it came through.
        """
        return SqliteTx(self._writer, self._lock)


class SqliteTx(Tx):
    """One transaction: its changes are kept here until its block is left, then queued as one job."""

    __slots__ = ("_changes", "_lock", "_over", "_writer")

    def __init__(self, writer: Writer, lock: asyncio.Lock) -> None:
        self._writer = writer
        self._lock = lock
        self._changes: dict[bytes, bytes | None] = {}
        self._over = False

    async def __aenter__(self) -> Self:
        await self._lock.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        try:
            # Queued under the lock, so the next body reads behind these changes; waited for outside
            # of it, so the next body can join this commit.
            committed = self._writer.write(self._changes) if kind is None and self._changes else None
        finally:
            self._lock.release()
        if committed is not None:
            await committed

    async def get(self, key: bytes) -> bytes | None:
        (value,) = await self.get_many([key])
        return value

    async def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        self._refuse_when_over()
        stored: Mapping[bytes, bytes] = {}
        unknown = [key for key in keys if key not in self._changes]
        if unknown:
            stored = await self._writer.read(partial(table.select, keys=unknown))
        return [self._changes[key] if key in self._changes else stored.get(key) for key in keys]

    async def put(self, key: bytes, value: bytes) -> None:
        self._refuse_when_over()
        if not 0 < len(key) <= MAX_KEY_BYTES or len(value) > MAX_VALUE_BYTES:
            raise ValueError(f"a key of {len(key)} bytes with a value of {len(value)} is out of bounds")
        self._changes[key] = value

    async def delete(self, key: bytes) -> None:
        self._refuse_when_over()
        self._changes[key] = None

    async def scan(self, prefix: bytes) -> AsyncIterator[tuple[bytes, bytes]]:
        own = sorted(key for key in self._changes if key.startswith(prefix))
        start, end, last = prefix, _successor(prefix), False
        while not last:
            self._refuse_when_over()
            rows, last = await self._writer.read(partial(table.page, start=start, end=end))
            start = end if last else rows[-1][0] + b"\0"
            cut = bisect_left(own, start)
            for pair in self._merged(rows, own[:cut]):
                yield pair
            own = own[cut:]

    def _merged(self, rows: table.Page, own: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
        if not own:
            return rows
        values: dict[bytes, bytes | None] = dict(rows)
        values.update((key, self._changes[key]) for key in own)
        return [(key, value) for key, value in sorted(values.items()) if value is not None]

    def _refuse_when_over(self) -> None:
        if self._over:  # a late change would be lost without a word
            raise RuntimeError("this transaction is over")


def _remove(path: Path) -> None:
    for beside in ("-wal", "-shm", ".lock", ""):  # the file last: until then it is a state that can be opened
        Path(f"{path}{beside}").unlink(missing_ok=True)


def _successor(prefix: bytes) -> bytes:
    """The first key behind all those that begin with `prefix`."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else _BEYOND
