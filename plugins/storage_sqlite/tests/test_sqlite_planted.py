"""The contract checks see faults that are planted into the SQLite storage."""

from __future__ import annotations

import pytest

from surfaces_core import BufferedTx, Page, buffered
from surfaces_core.testing import contract, planted
from surfaces_storage_sqlite import SqliteStorage, table


def raised_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    """How a body ended makes no difference."""
    original = BufferedTx.__aexit__

    async def leave(self: BufferedTx, *error: object) -> None:
        await original(self, None, None, None)

    monkeypatch.setattr(BufferedTx, "__aexit__", leave)


def get_before_own_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading looks at the file alone."""

    async def get(self: BufferedTx, key: bytes) -> bytes | None:
        (value,) = await self._queue.read([key])
        return value

    monkeypatch.setattr(BufferedTx, "get", get)


def scan_before_own_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan shows what the file has."""
    monkeypatch.setattr(BufferedTx, "_merged", lambda self, rows, own: rows)


def one_page_of_a_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan ends with its first page."""
    original = table.page
    monkeypatch.setattr(table, "page", lambda *args, **given: Page(original(*args, **given).rows, complete=True))


def range_ends_at_ff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is thought to sort behind a prefix and one 0xff."""
    monkeypatch.setattr(buffered, "_successor", lambda prefix: prefix + b"\xff")


def empty_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty value is taken for none."""
    original = BufferedTx.get_many

    async def get_many(self: BufferedTx, keys: list[bytes]) -> list[bytes | None]:
        return [value or None for value in await original(self, keys)]

    monkeypatch.setattr(BufferedTx, "get_many", get_many)


def deleting_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is deleted stays."""

    async def delete(self: BufferedTx, key: bytes) -> None:
        """Nothing."""

    monkeypatch.setattr(BufferedTx, "delete", delete)


def made_with_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making one touches its file."""
    original = SqliteStorage.__init__

    def make(self: SqliteStorage, settings: SqliteStorage.Settings, context: object) -> None:
        settings.path.touch()
        original(self, settings, context)  # type: ignore[arg-type]

    monkeypatch.setattr(SqliteStorage, "__init__", make)


def bodies_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for another's transaction."""

    class NoLock:
        async def acquire(self) -> None:
            """At once."""

        def release(self) -> None:
            """Nothing."""

    original = SqliteStorage.transaction

    def transaction(self: SqliteStorage) -> BufferedTx:
        self._lock = NoLock()  # type: ignore[assignment]
        return original(self)

    monkeypatch.setattr(SqliteStorage, "transaction", transaction)


test_planted = planted.are_caught(
    contract.storage(SqliteStorage),
    {
        raised_is_committed: "raised_leaves_nothing",
        get_before_own_writes: "own_writes",
        scan_before_own_writes: "own_writes",
        one_page_of_a_scan: "scan_thousands",
        range_ends_at_ff: "scan_prefix",
        empty_is_nothing: "empty_value",
        deleting_is_forgotten: "put_get_delete",
        made_with_a_file: "made_quietly",
        bodies_overlap: "no_lost_update",
    },
)
