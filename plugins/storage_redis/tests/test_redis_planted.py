"""The contract checks see faults that are planted into the Redis storage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from surfaces_core import Changes, Page
from surfaces_core.testing import contract, planted
from surfaces_storage_redis import RedisStorage
from surfaces_storage_redis.database import RedisDatabase

pytestmark = pytest.mark.slow


def deleting_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is deleted stays."""
    original = RedisDatabase.write

    async def write(self: RedisDatabase, changes: Changes) -> None:
        kept = {key: value for key, value in changes.items() if value is not None}
        if kept:
            await original(self, kept)

    monkeypatch.setattr(RedisDatabase, "write", write)


def empty_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty value is taken for none."""
    original = RedisDatabase.read

    async def read(self: RedisDatabase, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        return [value or None for value in await original(self, keys)]

    monkeypatch.setattr(RedisDatabase, "read", read)


def one_page_of_a_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan ends with its first page."""
    original = RedisDatabase.page

    async def page(self: RedisDatabase, start: bytes, end: bytes) -> Page:
        return Page((await original(self, start, end)).rows, complete=True)

    monkeypatch.setattr(RedisDatabase, "page", page)


def out_of_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page comes backwards."""
    original = RedisDatabase.page

    async def page(self: RedisDatabase, start: bytes, end: bytes) -> Page:
        found = await original(self, start, end)
        return Page(found.rows[::-1], found.complete)

    monkeypatch.setattr(RedisDatabase, "page", page)


@contract.storage
def storage(tmp_path: Path, storage_under: Callable[..., RedisStorage]) -> RedisStorage:
    """One on a real server, with a place of its own there."""
    return storage_under(tmp_path.name)


test_planted = planted.are_caught(
    storage,
    {
        deleting_is_forgotten: "put_get_delete",
        empty_is_nothing: "empty_value",
        one_page_of_a_scan: "scan_thousands",
        out_of_order: "scan_order",
    },
)
