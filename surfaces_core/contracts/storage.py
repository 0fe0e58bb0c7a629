"""Contract of a storage: where the host keeps what must survive."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import ClassVar

from surfaces_core.contracts.driver import Context, Driver


class Tx(ABC):
    """One transaction on an ordered map from bytes to bytes. Reads see its own writes.

    Inside the block wait for nothing but the transaction itself: others wait for its end.
    """

    @abstractmethod
    async def get(self, key: bytes) -> bytes | None:
        """The value, or None."""

    @abstractmethod
    async def put(self, key: bytes, value: bytes) -> None:
        """Set a value."""

    @abstractmethod
    async def delete(self, key: bytes) -> None:
        """Remove a key; removing one that is not there is no error."""

    @abstractmethod
    def scan(self, prefix: bytes) -> AsyncIterator[tuple[bytes, bytes]]:
        """Every pair whose key begins with `prefix`, ordered by key as bytes.

        What this transaction writes while it scans may or may not be seen by that scan.
        """

    async def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """The values of several keys, in their order; worth overriding where a call is a round trip."""
        return [await self.get(key) for key in keys]


class Storage(Driver):
    """An ordered, transactional, durable map from bytes to bytes.

    Keys are 1 to 1,024 bytes, values up to 16 MiB. Entering raises `StateError`
    (with its exit code) when the state cannot be used.
    """

    context: Context
    exclusive: bool = True
    """Entering keeps other processes out (`StateError` with exit code 75, naming the holder).

    False: the host's own lease on the state decides, which takes over from a dead host `host.lease_s` later.
    """
    control: Path | None = None
    """Where, beside the state, other commands reach the host that holds it: a UNIX socket's path."""
    place: str = ""
    """Where the state is, as an operator would look for it."""
    lasting: ClassVar[bool] = True
    """What is stored outlives the process; False is for demos and tests, and `surfaces check` says so."""
    remote: ClassVar[bool] = False
    """The state is on a server: to `examine` it needs a network, so `surfaces check --offline` does not."""

    @abstractmethod
    def transaction(self) -> AbstractAsyncContextManager[Tx]:
        """All or nothing: leaving normally returns only when the changes are durable; an exception undoes all.

        Transactions are serialisable. Raises `StateError` when the changes could not be made durable.
        """

    async def erase(self) -> str:
        """Remove all that is kept, for `surfaces reset`; what was removed, in a line. Asked of one that is not opened.

        By itself it opens the storage and removes every row. Raises `StateError`.
        """
        count = 0
        async with self, self.transaction() as tx:
            rows = [row async for row, _ in tx.scan(b"")]
            for row in rows:
                await tx.delete(row)
                count += 1
        return f"{count} rows"
