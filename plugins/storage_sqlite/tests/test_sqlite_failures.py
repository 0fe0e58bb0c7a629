"""Everything that can be wrong with a database file is told in one line with its exit code."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from surfaces_core import StateError
from surfaces_storage_sqlite import SqliteStorage, failures

StorageAt = Callable[[Path], SqliteStorage]
Spoil = Callable[[Path], object]

PATH = Path("/var/lib/surfaces.db")
RESULTS = {
    os.EX_DATAERR: "CORRUPT FORMAT NOTADB",
    os.EX_NOPERM: "AUTH CANTOPEN PERM READONLY",
    os.EX_TEMPFAIL: "BUSY LOCKED PROTOCOL",
    os.EX_IOERR: (
        "ABORT CONSTRAINT EMPTY ERROR FULL INTERNAL INTERRUPT IOERR MISMATCH MISUSE NOLFS NOMEM NOTFOUND RANGE "
        "SCHEMA TOOBIG"
    ),
}
PRIMARY = {getattr(sqlite3, f"SQLITE_{name}"): code for code, names in RESULTS.items() for name in names.split()}
EXTENDED = {
    getattr(sqlite3, constant): exit_code
    for names, exit_code in ((names, code) for code, names in RESULTS.items())
    for name in names.split()
    for constant in dir(sqlite3)
    if constant.startswith(f"SQLITE_{name}_") and getattr(sqlite3, constant) > 0xFF
}


@pytest.mark.parametrize(("result", "exit_code"), [*PRIMARY.items(), *EXTENDED.items()])
def test_every_result_code_has_an_exit_code(result: int, exit_code: int) -> None:
    """Each result code of SQLite, extended ones too, becomes a StateError with the file and its exit code."""
    error = sqlite3.OperationalError("what SQLite says")
    error.sqlite_errorcode = result
    error.sqlite_errorname = "SQLITE_NAME"
    state = failures.from_sqlite(PATH, error)
    assert state.exit_code == exit_code
    assert str(state).startswith(f"{PATH}: ")
    assert str(state).endswith("(SQLITE_NAME: what SQLite says)")
    assert "\n" not in str(state)


def test_no_result_code_is_forgotten() -> None:
    """All of SQLite's primary result codes from ERROR (1) to NOTADB (26) are in the table."""
    assert set(failures.BY_RESULT) == set(PRIMARY) == set(range(1, 27))


@pytest.mark.parametrize("kind", [sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.Error])
def test_errors_of_the_module_itself(kind: type[sqlite3.Error]) -> None:
    """An error that carries no result code is one of input and output."""
    assert failures.from_sqlite(PATH, kind("closed")).exit_code == os.EX_IOERR


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [
        (errno.EACCES, os.EX_NOPERM),
        (errno.EPERM, os.EX_NOPERM),
        (errno.EROFS, os.EX_NOPERM),
        (errno.ENOSPC, os.EX_IOERR),
        (errno.EDQUOT, os.EX_IOERR),
        (errno.EIO, os.EX_IOERR),
        (errno.EMFILE, os.EX_IOERR),
    ],
)
def test_errors_of_the_system(number: int, exit_code: int) -> None:
    """What the system says about the file is told with the file, and its exit code."""
    state = failures.from_os(PATH, OSError(number, os.strerror(number)))
    assert (state.exit_code, str(state).split(":")[0]) == (exit_code, str(PATH))


# Real files ----------------------------------------------------------------------------------------


def spoil_garbage(path: Path) -> None:
    path.write_bytes(b"this is not a database" * 400)


def spoil_other_tables(path: Path) -> None:
    run(path, "CREATE TABLE notes (text)")


def spoil_other_application(path: Path) -> None:
    run(path, "PRAGMA application_id=1234")


def spoil_other_version(path: Path) -> None:
    run(path, "PRAGMA user_version=1")


def spoil_newer(path: Path) -> None:
    run(path, "PRAGMA user_version=2")


def spoil_table(path: Path) -> None:
    run(path, "DROP TABLE kv")


def spoil_cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def spoil_page(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-4096:-3900] = b"\xa5" * 196
    path.write_bytes(content)


FRESH: list[tuple[Spoil, str]] = [
    (spoil_garbage, "not a database of Surfaces"),
    (spoil_other_tables, "not a database of Surfaces"),
    (spoil_other_application, "not a database of Surfaces"),
    (spoil_other_version, "not a database of Surfaces"),
]
OURS: list[tuple[Spoil, str]] = [
    (spoil_newer, "written by a newer version"),
    (spoil_table, "damaged"),
    (spoil_cut, "damaged"),
    (spoil_page, "damaged"),
    (spoil_garbage, "not a database of Surfaces"),
]


@pytest.mark.parametrize(("spoil", "sentence"), FRESH)
async def test_file_of_another_program(spoil: Spoil, sentence: str, storage_at: StorageAt, tmp_path: Path) -> None:
    """A file that another program wrote is refused with exit code 65 and not changed by a byte."""
    path = tmp_path / "surfaces.db"
    spoil(path)
    before = content(path)
    assert sentence in await refusal(storage_at(path), os.EX_DATAERR)
    assert content(path) == before


@pytest.mark.parametrize(("spoil", "sentence"), OURS)
async def test_spoilt_file(spoil: Spoil, sentence: str, storage_at: StorageAt, tmp_path: Path) -> None:
    """A damaged database, or one from a newer version, is refused at opening with exit code 65."""
    path = tmp_path / "surfaces.db"
    async with storage_at(path) as storage, storage.transaction() as tx:
        for number in range(1000):
            await tx.put(b"%04d" % number, b"v" * 100)
    spoil(path)
    assert sentence in await refusal(storage_at(path), os.EX_DATAERR)


async def test_path_is_a_folder(storage_at: StorageAt, tmp_path: Path) -> None:
    """A folder in the place of the file is told as such."""
    assert "this is a folder" in await refusal(storage_at(tmp_path), os.EX_IOERR)


async def test_parent_is_a_file(storage_at: StorageAt, tmp_path: Path) -> None:
    """A file in the place of a folder is told as such, wherever in the path it stands."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "surfaces.db", tmp_path / "file" / "deeper" / "surfaces.db"):
        assert "is a file, not a folder" in await refusal(storage_at(path), os.EX_IOERR)


async def test_locked_by_another_program(storage_at: StorageAt, tmp_path: Path) -> None:
    """A program that keeps the write lock makes transactions fail with exit code 75 until it lets go."""
    path = tmp_path / "surfaces.db"
    async with storage_at(path) as storage:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StateError, match="another program") as caught:
                await put(storage)
            assert caught.value.exit_code == os.EX_TEMPFAIL
            async with storage.transaction() as tx:
                assert await tx.get(b"a") is None
            other.execute("ROLLBACK")
        await put(storage)
        async with storage.transaction() as tx:
            assert await tx.get(b"a") == b"1"


async def test_everybody_in_a_failed_group_is_told(storage_at: StorageAt, tmp_path: Path) -> None:
    """When a commit fails, each of those who shared it gets an error of their own and none is stored."""
    path = tmp_path / "surfaces.db"
    errors: list[StateError] = []

    async def try_to_put() -> None:
        try:
            await put(storage)
        except StateError as error:
            errors.append(error)

    async with storage_at(path) as storage:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            async with asyncio.TaskGroup() as group:
                for _ in range(20):
                    group.create_task(try_to_put())
        async with storage.transaction() as tx:
            assert await tx.get(b"a") is None
    assert {error.exit_code for error in errors} == {os.EX_TEMPFAIL}
    assert len({id(error) for error in errors}) == 20


async def test_opening_while_another_program_holds_it(storage_at: StorageAt, tmp_path: Path) -> None:
    """A new database that another program has locked is refused with exit code 75."""
    path = tmp_path / "surfaces.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert "another program" in await refusal(storage_at(path), os.EX_TEMPFAIL)


async def test_same_process_opens_twice(storage_at: StorageAt, tmp_path: Path) -> None:
    """A second driver in this process is refused like one in another, and told our own pid."""
    path = tmp_path / "surfaces.db"
    async with storage_at(path):
        assert f"process {os.getpid()} on {socket.gethostname()} holds" in await refusal(
            storage_at(path), os.EX_TEMPFAIL
        )


async def test_damage_found_later(storage_at: StorageAt, tmp_path: Path) -> None:
    """Damage that comes while the store is open is told with exit code 65 when it is met."""
    path = tmp_path / "surfaces.db"
    async with storage_at(path) as storage, storage.transaction() as tx:
        for number in range(20_000):
            await tx.put(b"%06d" % number, b"v" * 200)
    async with storage_at(path) as storage:
        overwrite_rest(path)
        with pytest.raises(StateError) as caught:
            async with storage.transaction() as tx:
                _ = [key async for key, _ in tx.scan(b"")]
        assert caught.value.exit_code == os.EX_DATAERR


def remove(path: Path) -> None:
    path.unlink()


def replace_by_a_copy(path: Path) -> None:
    copy = path.with_name("copy")
    shutil.copyfile(path, copy)
    copy.replace(path)


def move_the_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))


@pytest.mark.parametrize("suffix", ["", "-wal", ".lock"])
@pytest.mark.parametrize("take_away", [remove, replace_by_a_copy, move_the_folder])
async def test_taken_away_while_in_use(take_away: Spoil, suffix: str, storage_at: StorageAt, tmp_path: Path) -> None:
    """Nothing is acknowledged once one of the files is no longer at its name: it would be lost, or another's."""
    folder = tmp_path / "state"
    async with storage_at(folder / "surfaces.db") as storage:
        await put(storage)
        take_away(folder / f"surfaces.db{suffix}")
        for _ in range(2):
            with pytest.raises(StateError, match="removed or replaced") as caught:
                await put(storage)
            assert caught.value.exit_code == os.EX_IOERR


async def test_emptied_file(storage_at: StorageAt, tmp_path: Path) -> None:
    """A file that lost all its content is not taken for a new one, as often as one tries; a removed one is."""
    path = tmp_path / "surfaces.db"
    async with storage_at(path) as storage:
        await put(storage)
    os.truncate(path, 0)
    for _ in range(2):
        assert "held state before" in await refusal(storage_at(path), os.EX_DATAERR)
    path.unlink()
    async with storage_at(path) as storage, storage.transaction() as tx:
        assert await tx.get(b"a") is None


async def test_a_start_that_was_cut_short_is_no_emptied_file(storage_at: StorageAt, tmp_path: Path) -> None:
    """A file that never held anything may be empty, as a crash in the very first start leaves it."""
    path = tmp_path / "surfaces.db"
    path.touch()
    async with storage_at(path) as storage:
        await put(storage)


async def test_second_name_of_the_file(storage_at: StorageAt, tmp_path: Path) -> None:
    """A hard link has a log and a lock of its own, so neither name is used."""
    path, second = tmp_path / "surfaces.db", tmp_path / "second.db"
    async with storage_at(path) as storage:
        await put(storage)
        second.hardlink_to(path)
        assert "hard link" in await refusal(storage_at(second), os.EX_TEMPFAIL)
    assert "hard link" in await refusal(storage_at(path), os.EX_TEMPFAIL)


def test_full_database_is_a_full_disk(tmp_path: Path) -> None:
    """SQLite's own word for a disk without space is exit code 74 and says what to do."""
    with closing(sqlite3.connect(tmp_path / "full.db", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE kv (value)")
        connection.execute("PRAGMA max_page_count=3")
        with pytest.raises(sqlite3.Error) as caught:
            connection.execute("INSERT INTO kv VALUES (zeroblob(100000))")
    state = failures.from_sqlite(PATH, caught.value)
    assert (state.exit_code, "free some space" in str(state)) == (os.EX_IOERR, True)


def run(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)


def content(path: Path) -> bytes:
    return path.read_bytes()


def overwrite_rest(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))


async def put(storage: SqliteStorage) -> None:
    async with storage.transaction() as tx:
        await tx.put(b"a", b"1")


async def refusal(storage: SqliteStorage, exit_code: int) -> str:
    """The one line with which opening is refused."""
    with pytest.raises(StateError) as caught:
        async with storage:
            pass
    assert caught.value.exit_code == exit_code
    assert str(caught.value).startswith(f"{storage.settings.path}: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)
