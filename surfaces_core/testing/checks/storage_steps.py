"""Owns the small steps that the checks of storages are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Never

from surfaces_core.contracts import Storage, Tx

StorageFactory = Callable[[], Storage]


class Undo(Exception):
    """Ends a transaction that is to be undone."""


def undo() -> Never:
    """Leave a transaction so that it is undone."""
    raise Undo


def promise(kept: bool, sentence: str) -> None:
    if not kept:  # an assert statement would be gone under python -O
        raise AssertionError(sentence)


async def put(storage: Storage, rows: Mapping[bytes, bytes]) -> None:
    async with storage.transaction() as tx:
        for key, value in rows.items():
            await tx.put(key, value)


async def delete(storage: Storage, keys: Iterable[bytes]) -> None:
    async with storage.transaction() as tx:
        for key in keys:
            await tx.delete(key)


async def scan(tx: Tx, prefix: bytes) -> list[tuple[bytes, bytes]]:
    return [pair async for pair in tx.scan(prefix)]


async def expect(storage: Storage, rows: Mapping[bytes, bytes], sentence: str) -> None:
    """The whole state is these rows, by scan and by key."""
    async with storage.transaction() as tx:
        promise(await scan(tx, b"") == sorted(rows.items()), sentence)
        promise(list(await tx.get_many(list(rows))) == list(rows.values()), sentence)
