"""SQLite storage keeps the contract of storages, and what it adds to it."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import ValidationError

from surfaces_core import StateError, Tx
from surfaces_core.testing import contract
from surfaces_storage_sqlite import SqliteStorage

StorageAt = Callable[[Path], SqliteStorage]


test_contract = contract.storage(SqliteStorage)


async def test_file_and_folder_are_private(storage_at: StorageAt, tmp_path: Path) -> None:
    """A new folder is for its owner alone, and so are all files in it."""
    folder = tmp_path / "deep" / "var"
    async with storage_at(folder / "surfaces.db") as storage, storage.transaction() as tx:
        await tx.put(b"a", b"1")
    async with storage_at(folder / "surfaces.db") as storage:
        async with storage.transaction() as tx:
            await tx.put(b"a", b"2")
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in [folder, *folder.iterdir()]}
    private = ["surfaces.db", "surfaces.db-shm", "surfaces.db-wal", "surfaces.db.lock"]
    assert modes == {"var": 0o700, **dict.fromkeys(private, 0o600)}


def test_every_name_of_a_file_leads_to_one_door(storage_at: StorageAt, tmp_path: Path) -> None:
    """Commands find the running host, whichever name of its file their config says."""
    (tmp_path / "other").symlink_to(tmp_path)
    doors = {storage_at(folder / "surfaces.db").control for folder in (tmp_path, tmp_path / "other")}
    assert doors == {tmp_path.resolve() / "surfaces.db.sock"}


async def test_file_says_whose_it_is(storage_at: StorageAt, tmp_path: Path) -> None:
    """The header names the program and the schema, and the log is written ahead."""
    path = tmp_path / "surfaces.db"
    async with storage_at(path):
        pass
    with closing(sqlite3.connect(path)) as connection:
        facts = [
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version", "journal_mode")
        ]
    assert facts == [0x53524643, 1, "wal"]


async def test_closing_leaves_one_whole_file(storage_at: StorageAt, tmp_path: Path) -> None:
    """After closing the database file alone holds everything; no log is left behind."""
    path = tmp_path / "surfaces.db"
    async with storage_at(path) as storage, asyncio.TaskGroup() as group:
        for number in range(100):
            group.create_task(put(storage, b"%d" % number))
    assert names_in(tmp_path) == ["surfaces.db", "surfaces.db.lock"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM kv").fetchone() == (100,)


async def test_closing_waits_for_commits_under_way(storage_at: StorageAt, tmp_path: Path) -> None:
    """A transaction that left its body before closing began is stored."""
    path = tmp_path / "surfaces.db"
    async with asyncio.TaskGroup() as group, storage_at(path) as storage:
        group.create_task(put(storage, b"late"))
        await asyncio.sleep(0)
    assert await keys_in(storage_at(path)) == [b"late"]


async def test_waiting_for_a_commit_may_be_cancelled(storage_at: StorageAt, tmp_path: Path) -> None:
    """A cancellation while the commit runs goes through at once, and the change is whole or absent."""
    path = tmp_path / "surfaces.db"
    async with storage_at(path) as storage:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(put(storage, b"a", b"b"))
            await asyncio.sleep(0)
            task.cancel()
        assert task.cancelled()
        await put(storage, b"c")
    assert await keys_in(storage_at(path)) in ([b"a", b"b", b"c"], [b"c"])


async def test_many_share_one_commit(storage_at: StorageAt, tmp_path: Path) -> None:
    """Transactions side by side are committed in groups: a thousand of them take far fewer syncs."""
    path = tmp_path / "surfaces.db"
    async with storage_at(path) as storage:
        await put(storage, b"a")
        before = wal_commits(path)
        async with asyncio.TaskGroup() as group:
            for number in range(1000):
                group.create_task(put(storage, b"%d" % number))
        assert wal_commits(path) - before < 100


async def test_only_reading_writes_nothing(storage_at: StorageAt, tmp_path: Path) -> None:
    """A transaction that wrote nothing leaves the log as it was."""
    path = tmp_path / "surfaces.db"
    async with storage_at(path) as storage:
        await put(storage, b"a")
        before = log_of(path)
        async with storage.transaction() as tx:
            await tx.get(b"a")
            assert [key async for key, _ in tx.scan(b"")] == [b"a"]
        assert log_of(path) == before


async def test_every_commit_is_synced(storage_at: StorageAt, tmp_path: Path) -> None:
    """The connection waits for the disk at every commit: synchronous is FULL, which SQLite calls 2."""
    async with storage_at(tmp_path / "surfaces.db") as storage:
        row = await storage._writer.ask(lambda connection: connection.execute("PRAGMA synchronous").fetchone())
    assert row == (2,)


async def test_a_failed_query_fails_its_own_group_alone(storage_at: StorageAt, tmp_path: Path) -> None:
    """What SQLite refuses reaches its caller as StateError; the next transaction works."""
    async with storage_at(tmp_path / "surfaces.db") as storage:
        with pytest.raises(StateError):
            await put(storage, (1, 2))  # type: ignore[arg-type]
        await put(storage, b"a")
    assert await keys_in(storage_at(tmp_path / "surfaces.db")) == [b"a"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_bug_in_the_thread_leaves_nobody_waiting(storage_at: StorageAt, tmp_path: Path) -> None:
    """What no driver expects ends the thread loudly: everybody gets StateError, and the file is let go."""
    path = tmp_path / "surfaces.db"
    async with storage_at(path) as storage:
        with pytest.raises(StateError, match="closed"):
            await put(storage, "\ud800")  # type: ignore[arg-type]
        with pytest.raises(StateError, match="closed"):
            await put(storage, b"a")
    assert await keys_in(storage_at(path)) == []


CALLS: dict[str, Callable[[Tx], Awaitable[object]]] = {
    "get": lambda tx: tx.get(b"a"),
    "get_many": lambda tx: tx.get_many([b"a"]),
    "put": lambda tx: tx.put(b"a", b""),
    "delete": lambda tx: tx.delete(b"a"),
    "scan": lambda tx: anext(tx.scan(b"")),
}


@pytest.mark.parametrize("late", CALLS)
async def test_sqlite_transaction_is_refused_when_over(late: str, storage_at: StorageAt, tmp_path: Path) -> None:
    """Using a transaction behind its block is a bug that is told, not a change that is lost."""
    async with storage_at(tmp_path / "surfaces.db") as storage:
        async with storage.transaction() as tx:
            pass
        with pytest.raises(RuntimeError):
            await CALLS[late](tx)


@pytest.mark.parametrize(("key", "value"), [(b"", b""), (b"k" * 1025, b""), (b"k", b"v" * (16 * 1024 * 1024 + 1))])
async def test_sqlite_storage_refuses_what_is_out_of_bounds(
    key: bytes, value: bytes, storage_at: StorageAt, tmp_path: Path
) -> None:
    """Keys and values beyond the contract's bounds are refused where they are put."""
    async with storage_at(tmp_path / "surfaces.db") as storage:
        with pytest.raises(ValueError, match="out of bounds"):
            async with storage.transaction() as tx:
                await tx.put(key, value)


async def test_largest_key_and_value(storage_at: StorageAt, tmp_path: Path) -> None:
    """The contract's largest pair is stored, found by scan and got back."""
    key, value = b"\xff" * 1024, b"v" * (16 * 1024 * 1024)
    async with storage_at(tmp_path / "surfaces.db") as storage:
        async with storage.transaction() as tx:
            await tx.put(key, value)
        async with storage.transaction() as tx:
            assert [pair async for pair in tx.scan(b"\xff")] == [(key, value)]


async def test_use_after_closing(storage_at: StorageAt, tmp_path: Path) -> None:
    """A store that was closed says so instead of waiting for ever."""
    async with storage_at(tmp_path / "surfaces.db") as storage:
        pass
    with pytest.raises(StateError, match="closed"):
        await put(storage, b"a")


async def test_opening_can_be_cancelled(storage_at: StorageAt, tmp_path: Path) -> None:
    """An opening that was cancelled leaves the store free for the next one."""
    path = tmp_path / "surfaces.db"

    async def enter() -> None:
        async with storage_at(path):
            raise AssertionError("cancelled before it was open")

    async with asyncio.TaskGroup() as group:
        task = group.create_task(enter())
        await asyncio.sleep(0)
        task.cancel()
    assert await keys_in(storage_at(path)) == []


@pytest.mark.parametrize("settings", [{}, {"path": "x", "busy_timeout_s": -1}, {"path": "x", "pth": "y"}])
def test_settings_are_checked(settings: dict[str, object]) -> None:
    """A missing path, a negative time and an unknown key are errors."""
    with pytest.raises(ValidationError):
        SqliteStorage.Settings.model_validate(settings)


async def put(storage: SqliteStorage, *keys: bytes) -> None:
    async with storage.transaction() as tx:
        for key in keys:
            await tx.put(key, key)


async def keys_in(unopened: SqliteStorage) -> list[bytes]:
    async with unopened as storage, storage.transaction() as tx:
        return [key async for key, _ in tx.scan(b"")]


def names_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def log_of(path: Path) -> bytes:
    return Path(f"{path}-wal").read_bytes()


def wal_commits(path: Path) -> int:
    """Commit frames in the log: those whose second word, the size after the commit, is not zero.

    https://sqlite.org/fileformat.html#the_write_ahead_log
    """
    log = log_of(path)
    page_size = int.from_bytes(log[8:12], "big")
    return sum(any(log[start + 4 : start + 8]) for start in range(32, len(log), 24 + page_size))
