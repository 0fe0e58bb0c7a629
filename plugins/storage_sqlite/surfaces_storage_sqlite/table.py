"""Owns the statements on the one table; each is run in the writer's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache

from surfaces_core import Changes, Page

PAGE_ROWS = 500
_PAGE_BYTES = 1024 * 1024
_CHUNK = 64
"""Rows per statement. Each step of a statement gives up the interpreter lock and then waits for it
beside a busy event loop, up to 5 ms each time, so few large statements are worth their longer texts."""
_CHUNK_BYTES = 128 * 1024


def read(connection: sqlite3.Connection, keys: Sequence[bytes]) -> Sequence[bytes | None]:
    """The values of some keys, in their order, with None for each that is not there."""
    found: dict[bytes, bytes] = {}
    for chunk in _chunks(keys):
        found.update(connection.execute(_select(len(chunk)), chunk))
    return [found.get(key) for key in keys]


def page(connection: sqlite3.Connection, start: bytes, end: bytes) -> Page:
    """The pairs from `start` up to but without `end`, cut by count and size."""
    rows: list[tuple[bytes, bytes]] = []
    size = 0
    for row in connection.execute(_PAGE, (start, end)):
        rows.append(row)
        size += len(row[1])
        if size >= _PAGE_BYTES:
            return Page(rows, complete=False)
    return Page(rows, complete=len(rows) < PAGE_ROWS)


def apply(connection: sqlite3.Connection, changes: Changes) -> None:
    """Store and delete inside the open transaction."""
    for chunk in _pairs(changes):
        connection.execute(_upsert(len(chunk) // 2), chunk)
    for gone in _chunks([key for key, value in changes.items() if value is None]):
        connection.execute(_delete(len(gone)), gone)


def _chunks(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(keys), _CHUNK):
        yield keys[start : start + _CHUNK]


def _pairs(changes: Changes) -> Iterator[list[bytes]]:
    """Keys and values in turn, cut by count and size: SQLite copies them while it holds up the loop."""
    chunk: list[bytes] = []
    size = 0
    for key, value in changes.items():
        if value is None:
            continue
        chunk += (key, value)
        size += len(value)
        if len(chunk) == 2 * _CHUNK or size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


# The texts are put together from constants and counts alone.
_PAGE = f"SELECT key, value FROM kv WHERE key >= ? AND key < ? ORDER BY key LIMIT {PAGE_ROWS}"  # noqa: S608


@cache
def _select(count: int) -> str:
    return f"SELECT key, value FROM kv WHERE key IN ({_marks('?', count)})"  # noqa: S608


@cache
def _upsert(count: int) -> str:
    rows = _marks("(?,?)", count)
    return f"INSERT INTO kv VALUES {rows} ON CONFLICT (key) DO UPDATE SET value = excluded.value"  # noqa: S608


@cache
def _delete(count: int) -> str:
    return f"DELETE FROM kv WHERE key IN ({_marks('?', count)})"  # noqa: S608


def _marks(mark: str, count: int) -> str:
    return ",".join([mark] * count)
