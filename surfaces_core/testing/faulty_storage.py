"""Owns a storage that dies at a chosen transaction, for sweeping over every point of a crash."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Literal, Self

from surfaces_core.contracts import Storage, Tx


class Crash(BaseException):
    """The process is dead from here on; not an `Exception`, so that nothing that handles errors survives it."""


class FaultyStorage(Storage):
    """Wraps a storage and crashes at the n-th transaction that writes.

    `before` it: nothing of it is stored. `after` it: all of it is stored, but its caller never learns.
    Whatever uses the storage from then on meets `Crash`, those too whose commit was under way, and
    nothing more is stored. Without `crash_at` it only counts, which tells a sweep how far to go:

        for n in range(1, count + 1):
            for side in ("before", "after"): ...

    Leave its block as usual after the crash (the kernel would close the files as well) and open the
    next storage on the same state.
    """

    def __init__(
        self, inner: Storage, *, crash_at: int | None = None, side: Literal["before", "after"] = "before"
    ) -> None:
        super().__init__(inner.settings, inner.context)
        self.writes = 0
        """Transactions so far that wrote, the crashed one included."""
        self.crashed = False
        self._inner = inner
        self._crash_at = crash_at
        self._side = side

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._inner.__aexit__(kind, error, trace)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        self.live()
        async with self._inner.transaction() as inner:
            tx = FaultyTx(inner, self)
            yield tx
            self.live()
            fatal = tx.wrote and self._count()
        if fatal:
            self.crashed = True
        self.live()

    def live(self) -> None:
        """Raise `Crash` when the process is dead."""
        if self.crashed:
            raise Crash

    def _count(self) -> bool:
        """Count a transaction that is about to be stored; whether the crash comes behind it."""
        self.writes += 1
        if self._crash_at is None or self.writes < self._crash_at:
            return False
        # One that comes while the fatal one is being stored is late: its process dies first.
        if self._side == "before" or self.writes > self._crash_at:
            self.crashed = True
            raise Crash
        return True


class FaultyTx(Tx):
    """Passes everything on while the process lives, and remembers whether it wrote."""

    def __init__(self, inner: Tx, storage: FaultyStorage) -> None:
        self._inner = inner
        self._storage = storage
        self.wrote = False

    async def get(self, key: bytes) -> bytes | None:
        self._storage.live()
        return await self._inner.get(key)

    async def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        self._storage.live()
        return await self._inner.get_many(keys)

    async def put(self, key: bytes, value: bytes) -> None:
        self._storage.live()
        self.wrote = True
        await self._inner.put(key, value)

    async def delete(self, key: bytes) -> None:
        self._storage.live()
        self.wrote = True
        await self._inner.delete(key)

    async def scan(self, prefix: bytes) -> AsyncIterator[tuple[bytes, bytes]]:
        self._storage.live()
        async for pair in self._inner.scan(prefix):
            yield pair
