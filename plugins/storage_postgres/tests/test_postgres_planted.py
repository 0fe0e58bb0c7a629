"""The contract checks see faults that are planted into the PostgreSQL storage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from surfaces_core import Changes, Page
from surfaces_core.testing import contract, planted
from surfaces_storage_postgres import PostgresStorage
from surfaces_storage_postgres.database import PostgresDatabase

pytestmark = pytest.mark.slow


def deleting_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is deleted stays."""
    original = PostgresDatabase.write

    async def write(self: PostgresDatabase, changes: Changes) -> None:
        kept = {key: value for key, value in changes.items() if value is not None}
        if kept:
            await original(self, kept)

    monkeypatch.setattr(PostgresDatabase, "write", write)


def empty_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty value is taken for none."""
    original = PostgresDatabase.read

    async def read(self: PostgresDatabase, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        return [value or None for value in await original(self, keys)]

    monkeypatch.setattr(PostgresDatabase, "read", read)


def one_page_of_a_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan ends with its first page."""
    original = PostgresDatabase.page

    async def page(self: PostgresDatabase, start: bytes, end: bytes) -> Page:
        return Page((await original(self, start, end)).rows, complete=True)

    monkeypatch.setattr(PostgresDatabase, "page", page)


def out_of_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page comes backwards."""
    original = PostgresDatabase.page

    async def page(self: PostgresDatabase, start: bytes, end: bytes) -> Page:
        found = await original(self, start, end)
        return Page(found.rows[::-1], found.complete)

    monkeypatch.setattr(PostgresDatabase, "page", page)


@contract.storage
def storage(tmp_path: Path, storage_in: Callable[..., PostgresStorage]) -> PostgresStorage:
    """One on a real server, with a place of its own there."""
    return storage_in(tmp_path.name)


test_planted = planted.are_caught(
    storage,
    {
        deleting_is_forgotten: "put_get_delete",
        empty_is_nothing: "empty_value",
        one_page_of_a_scan: "scan_thousands",
        out_of_order: "scan_order",
    },
)
