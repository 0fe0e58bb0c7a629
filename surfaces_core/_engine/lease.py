"""Who holds a state: one life of a host, until it lets go or is seen to be dead.

A storage that keeps other processes out is the lease itself. Where it doesn't, a row of the state
says which life holds it and how often that life has renewed it. Who wants to take over watches that
count on its own monotonic clock: clocks of two machines need not agree, and none is believed. Each
life has a number, the fence: what a life writes is refused once a later one has begun, so that one
that was only asleep cannot undo what its successor did.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import NoReturn

from pydantic import BaseModel, ValidationError

from surfaces_core.contracts import Storage, Tx
from surfaces_core.errors import StateError

ROW = b"meta\0lease"
RENEWALS = 3
"""How often a lease is renewed before it would end."""


class Held(BaseModel):
    """The row of a lease."""

    life: int = 0
    beat: int = 0
    """Counts the renewals of this life."""
    lease_s: float = 0.0
    """Unchanged for so long, it is over."""
    holder: str = ""
    """For people; empty when it was let go."""


class Lease:
    """This process's hold on a state."""

    def __init__(self, storage: Storage, lease_s: float) -> None:
        self._storage = storage
        self._held = Held(lease_s=lease_s, holder=f"process {os.getpid()} on {socket.gethostname()}")

    @property
    def life(self) -> int:
        """The number of this life, from 1."""
        return self._held.life

    async def take(self) -> None:
        """Begin a life. Raises `StateError` (exit code 75) while another one lives."""
        seen = None if self._storage.exclusive else await self._outlast()
        async with self._storage.transaction() as tx:
            now = _parse(await tx.get(ROW))
            if seen is not None and (now.life, now.beat) != (seen.life, seen.beat):
                raise _taken(now)
            self._held.life = now.life + 1
            await self._store(tx)

    async def _outlast(self) -> Held:
        """Wait until nobody holds the state, by this process's clock alone; the row as it then was."""
        loop, seen = asyncio.get_running_loop(), await self._read()
        if not seen.holder:
            return seen
        end = loop.time() + seen.lease_s
        while (left := end - loop.time()) > 0:
            await asyncio.sleep(min(left, seen.lease_s / (2 * RENEWALS)))
            now = await self._read()
            if (now.life, now.beat) != (seen.life, seen.beat):
                raise _taken(now)
        return seen

    @asynccontextmanager
    async def kept(self, lost: Callable[[BaseException], None]) -> AsyncIterator[None]:
        """Hold it while the block lasts, then let go; `lost` is told at once why the block is cancelled.

        Raises `StateError` (exit code 75) when it is lost.
        """
        if self._storage.exclusive:
            yield
            return

        async def keep() -> None:
            try:
                await self.keep()
            except StateError as error:
                lost(error)
                raise

        try:
            async with asyncio.TaskGroup() as group:
                keeping = group.create_task(keep())
                yield
                keeping.cancel()
        finally:
            await self.release()

    async def keep(self) -> NoReturn:
        """Renew it until cancelled. Raises `StateError` (exit code 75) when it is lost."""
        while True:
            await asyncio.sleep(self._held.lease_s / RENEWALS)
            self._held.beat += 1
            async with self._storage.transaction() as tx:
                await self.check(tx)
                await self._store(tx)

    async def release(self) -> None:
        """Let go, so that the next life need not wait. One that cannot be let go ends by itself."""
        if self._storage.exclusive:
            return
        with suppress(StateError):
            async with self._storage.transaction() as tx:
                await self.check(tx)
                await tx.put(ROW, self._held.model_copy(update={"holder": ""}).model_dump_json().encode())

    async def check(self, tx: Tx) -> None:
        """Refuse what a life writes that is over. Raises `StateError` (exit code 75)."""
        if not self._storage.exclusive:
            now = _parse(await tx.get(ROW))
            if now.life != self._held.life:
                raise _taken(now)

    async def _read(self) -> Held:
        async with self._storage.transaction() as tx:
            return _parse(await tx.get(ROW))

    async def _store(self, tx: Tx) -> None:
        await tx.put(ROW, self._held.model_dump_json().encode())


def _parse(row: bytes | None) -> Held:
    try:
        return Held() if row is None else Held.model_validate_json(row)
    except ValidationError as error:
        raise StateError(f"the lease on the state cannot be read: {error}", exit_code=65) from error


def _taken(now: Held) -> StateError:
    return StateError(f"{now.holder or 'another process'} holds this state; stop it first", exit_code=75)
