"""Keeps the machine's state durable: changes are collected, and written together before anything follows from them."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from surfaces_core import Store

PREFIX = "e2ee/"
_KEY_ROW = PREFIX + "pickle_key"

Value = bytes | Callable[[], bytes] | None
"""What a row is to hold; a function is asked when it is written, so that many changes cost one spelling."""


async def pickle_key(store: Store, secret: str | None) -> bytes:
    """The key that pickles are encrypted with: made from the operator's secret, or made once and kept beside them."""
    if secret is not None:
        return hashlib.sha256(b"surfaces-matrix pickle key\0" + secret.encode()).digest()
    kept = await store.get(_KEY_ROW)
    if kept is None:
        kept = secrets.token_bytes(32)
        await store.put(_KEY_ROW, kept)
    return kept


class Keep:
    """A part of the surface's store that is written all or nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changed: dict[str, Value] = {}
        self._writing: dict[str, bytes | None] = {}
        self._whole = asyncio.Lock()

    @asynccontextmanager
    async def together(self) -> AsyncIterator[None]:
        """What changes inside is written in one, or not at all; nothing can be flushed meanwhile, not even here."""
        async with self._whole:
            yield

    async def get(self, key: str) -> bytes | None:
        """A row as it is or will be."""
        if key in self._changed:
            return _spelled(self._changed[key])
        if key in self._writing:
            return self._writing[key]
        return await self._store.get(PREFIX + key)

    async def scan(self, prefix: str) -> Mapping[str, bytes]:
        """All rows whose key begins so, as they are or will be."""
        stored = await self._store.scan(PREFIX + prefix)
        rows: dict[str, bytes | None] = {key.removeprefix(PREFIX): value for key, value in stored.items()}
        for changes in (self._writing, self._changed):
            rows |= {key: _spelled(value) for key, value in changes.items() if key.startswith(prefix)}
        return {key: value for key, value in rows.items() if value is not None}

    def set(self, key: str, value: Value) -> None:
        """Change a row with the next `flush`; None removes it."""
        self._changed[key] = value

    async def flush(self) -> None:
        """Make all changes so far durable, together. Raises `StateError`, and then none is lost."""
        async with self._whole:
            if not self._changed:
                return
            self._writing = {key: _spelled(value) for key, value in self._changed.items()}
            self._changed = {}
            try:
                await self._store.write({PREFIX + key: value for key, value in self._writing.items()})
            except BaseException:
                self._changed = {**self._writing, **self._changed}
                raise
            finally:
                self._writing = {}


def _spelled(value: Value) -> bytes | None:
    return value() if callable(value) else value
