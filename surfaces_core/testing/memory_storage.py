"""Owns a storage in memory that keeps the whole contract, for tests that need no disk."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from threading import Lock
from types import TracebackType
from typing import Self

import structlog
from pydantic import BaseModel

from surfaces_core.contracts import Context, Storage, Tx
from surfaces_core.errors import StateError


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryDisk:
    """What outlives one `MemoryStorage`: hand it to the next one and the host has restarted."""

    rows: dict[bytes, bytes] = field(default_factory=dict)
    held: Lock = field(default_factory=Lock)
    """Taken while a storage has the disk open."""


class MemoryStorage(Storage):
    """A storage on a `MemoryDisk`; one process at a time means one open storage for each disk.

    It gives way to other tasks wherever a real one would wait, so that races show in tests.
    """

    def __init__(
        self, settings: BaseModel | None = None, context: Context | None = None, *, disk: MemoryDisk | None = None
    ) -> None:
        super().__init__(
            settings or self.Settings(), context or Context(name="memory", log=structlog.get_logger("memory"))
        )
        self.disk = disk or MemoryDisk()
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        if not self.disk.held.acquire(blocking=False):
            raise StateError("this disk is held by another storage; leave that one first", exit_code=os.EX_TEMPFAIL)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disk.held.release()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        if not self.disk.held.locked():
            raise StateError("this storage is not open")
        async with self._turn:
            tx = MemoryTx(self.disk.rows)
            try:
                yield tx
            finally:
                tx.over = True
            self._commit(tx.changes)
        await asyncio.sleep(0)

    def _commit(self, changes: dict[bytes, bytes | None]) -> None:
        for key, value in changes.items():
            if value is None:
                self.disk.rows.pop(key, None)
            else:
                self.disk.rows[key] = value


class MemoryTx(Tx):
    """A transaction that keeps its changes beside the rows until its block is left."""

    def __init__(self, rows: Mapping[bytes, bytes]) -> None:
        self.changes: dict[bytes, bytes | None] = {}
        """What the transaction did by key; None deleted it."""
        self.over = False
        self._rows = rows

    async def get(self, key: bytes) -> bytes | None:
        await self._wait()
        return self.changes[key] if key in self.changes else self._rows.get(key)

    async def put(self, key: bytes, value: bytes) -> None:
        self._refuse_when_over()
        if not 0 < len(key) <= 1024 or len(value) > 16 * 1024 * 1024:
            raise ValueError(f"a key of {len(key)} bytes with a value of {len(value)} is out of bounds")
        self.changes[key] = value

    async def delete(self, key: bytes) -> None:
        self._refuse_when_over()
        self.changes[key] = None

    async def scan(self, prefix: bytes) -> AsyncIterator[tuple[bytes, bytes]]:
        await self._wait()
        rows: dict[bytes, bytes | None] = {key: value for key, value in self._rows.items() if key.startswith(prefix)}
        rows |= {key: value for key, value in self.changes.items() if key.startswith(prefix)}
        for key, value in sorted(rows.items()):
            if value is not None:
                yield key, value

    async def _wait(self) -> None:
        self._refuse_when_over()
        await asyncio.sleep(0)

    def _refuse_when_over(self) -> None:
        if self.over:
            raise RuntimeError("this transaction is over")
