"""`surfaces storage copy`: a resting state goes from the storage of one config into that of another.

The target is marked while it is filled, and a marked state is refused by everything but another copy. The
mark goes once the target was opened anew and read back with the same count and checksum.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from surfaces_core._config.config import load
from surfaces_core._config.discovery import make
from surfaces_core._engine import lease, log
from surfaces_core._engine.journal import UNFINISHED, key
from surfaces_core._engine.killpoints import point
from surfaces_core._engine.lease import Lease
from surfaces_core._program.arguments import log_level
from surfaces_core._program.tables import say
from surfaces_core.contracts import Context, Storage, Tx
from surfaces_core.errors import ConfigError, StateError

NEEDED = ("storage", "host")
CHUNK_BYTES = 1024 * 1024
CHUNK_ROWS = 1000
OWN = frozenset({lease.ROW, UNFINISHED})
"""Rows that belong to a place, not to what is kept there."""


def run(options: argparse.Namespace) -> int:
    """`surfaces storage copy`."""
    log.configure(log_level(options))
    source, target = Place(options.source), Place(options.target)
    if source.storage.settings == target.storage.settings and type(source.storage) is type(target.storage):
        raise ConfigError("", f"{options.source} and {options.target} name the same storage")
    for place in (source, target):
        if not place.storage.lasting:
            raise ConfigError("storage", f"{place.use} keeps nothing, so nothing can be copied to or from it")
    copied = asyncio.run(_copied(source, target))
    say(f"{copied.rows} rows, sha256 {copied.hash.hexdigest()}: read back from {options.target} ({target.use})")
    say(f"{options.source} ({source.use}) is as it was: start the host with {options.target} alone from now on")
    return os.EX_OK


class Place:
    """The storage that a config names."""

    def __init__(self, path: Path) -> None:
        config = load(path, needed=NEEDED)
        self.path = path
        self.use = config.storage.use
        self._lease_s = config.host.lease_s
        self.is_target = False
        """It is filled while this very command holds another one."""
        self.storage = make(
            "surfaces.storage", Storage, config.storage, Context(name="storage", log=log.logger(config=str(path)))
        )

    @asynccontextmanager
    async def held(self) -> AsyncIterator[Storage]:
        """The storage while no host runs on it. Raises `StateError` when one does."""
        try:
            await self.storage.__aenter__()
        except StateError as error:
            raise self._explained(error) from error
        try:
            async with self._leased():
                yield self.storage
        finally:
            await self.storage.__aexit__(None, None, None)

    @asynccontextmanager
    async def _leased(self) -> AsyncIterator[None]:
        if self.storage.exclusive:
            yield
            return
        holding = Lease(self.storage, self._lease_s)
        try:
            await holding.take()
        except StateError as error:
            raise self._explained(error) from error
        async with holding.kept(lambda error: None):
            yield

    def _explained(self, error: StateError) -> StateError:
        if error.exit_code != os.EX_TEMPFAIL:
            return error
        if self.is_target and f"process {os.getpid()} on " in str(error):  # another name for what is held already
            return StateError(
                f"{self.path}: names the same storage as the other config; name another one", exit_code=78
            )
        return StateError(f"{self.path}: the host must rest while its state is copied: {error}", exit_code=75)


@dataclass(slots=True)
class Sum:
    """How many rows there were, and what they come to."""

    rows: int = 0
    hash: Any = field(default_factory=hashlib.sha256)

    def add(self, row: bytes, value: bytes) -> None:
        """One more; rows come in their order."""
        self.rows += 1
        for part in (row, value):
            self.hash.update(len(part).to_bytes(8, "big"))
            self.hash.update(part)

    def same(self, other: Sum) -> bool:
        """Whether the rows were the same."""
        return (self.rows, self.hash.digest()) == (other.rows, other.hash.digest())


async def _copied(source: Place, target: Place) -> Sum:
    target.is_target = True
    async with source.held() as old, aclosing(_stored(old)) as rows:
        return await fill(target, rows)


async def fill(target: Place, rows: AsyncIterator[tuple[bytes, bytes]]) -> Sum:
    """Put a whole state into an empty storage, and read it back; what it came to. Raises `StateError`."""
    async with target.held() as new:
        await _mark(new, target)
        sent = await _put_all(new, rows)
    async with target.held() as new:  # what is read back was kept, not only remembered
        if not sent.same(await _read(new)):
            raise StateError(f"{target.path}: what was read back differs from what was written", exit_code=74)
        async with new.transaction() as tx:
            await tx.delete(UNFINISHED)
    return sent


async def _mark(storage: Storage, place: Place) -> None:
    """Refuse a target that is in use; empty one whose copy was not finished. Raises `StateError`."""
    async with storage.transaction() as tx:
        unfinished = await tx.get(UNFINISHED) is not None
        if not unfinished and await _rows(tx, 1):
            raise StateError(f"{place.path}: this storage holds a state already; name an empty one", exit_code=65)
        await tx.put(UNFINISHED, b"1")
    while unfinished:
        async with storage.transaction() as tx:
            rows = await _rows(tx, CHUNK_ROWS)
            for row in rows:
                await tx.delete(row)
        unfinished = bool(rows)


async def _rows(tx: Tx, most: int) -> list[bytes]:
    """The first rows of what is kept."""
    found: list[bytes] = []
    async for row, _ in tx.scan(b""):
        if row not in OWN:
            found.append(row)
        if len(found) == most:
            break
    return found


async def _stored(source: Storage) -> AsyncGenerator[tuple[bytes, bytes], None]:
    async with source.transaction() as tx:
        if await tx.get(UNFINISHED) is not None:
            raise StateError("the state to copy is itself an unfinished copy", exit_code=65)
        if await tx.get(key("meta", "layout")) is None:
            raise StateError("there is nothing to copy: no host has run on this state", exit_code=65)
        async for row, value in tx.scan(b""):
            if row not in OWN:
                yield row, value


async def _put_all(target: Storage, rows: AsyncIterator[tuple[bytes, bytes]]) -> Sum:
    total, chunk, size = Sum(), list[tuple[bytes, bytes]](), 0
    async for row, value in rows:
        total.add(row, value)
        chunk.append((row, value))
        size += len(row) + len(value)
        if size >= CHUNK_BYTES or len(chunk) >= CHUNK_ROWS:
            await _put(target, chunk)
            chunk, size = [], 0
    await _put(target, chunk)
    return total


async def _put(storage: Storage, rows: list[tuple[bytes, bytes]]) -> None:
    async with storage.transaction() as tx:
        for row, value in rows:
            await tx.put(row, value)
    point("copy.chunk")


async def _read(storage: Storage) -> Sum:
    total = Sum()
    async with storage.transaction() as tx:
        async for row, value in tx.scan(b""):
            if row not in OWN:
                total.add(row, value)
    return total
