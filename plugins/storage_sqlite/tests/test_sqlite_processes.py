"""SQLite storage among processes: one holds it, a killed one loses nothing that it acknowledged."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from surfaces_core import StateError
from surfaces_storage_sqlite import SqliteStorage

Child = Callable[[str, Path], "subprocess.Popen[str]"]
StorageAt = Callable[[Path], SqliteStorage]

pytestmark = pytest.mark.slow

_HOLD = """
    async def main():
        async with storage():
            say("open")
            sys.stdin.readline()

    asyncio.run(main())
"""
_WRITE_FOR_EVER = """
    async def work(store, numbers):
        for number in numbers:
            await put(store, b"%06d/a" % number, b"%06d/b" % number, value=b"v" * 700)
            say(number)

    async def main():
        async with storage() as store, asyncio.TaskGroup() as group:
            numbers = iter(range(10**6))
            for _ in range(8):
                group.create_task(work(store, numbers))

    asyncio.run(main())
"""
_FULL = """
    async def main():
        async with storage() as store:
            await put(store, b"before")
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (256 * 1024, hard))
            try:
                await put(store, *[b"half/%d" % number for number in range(40)], value=b"x" * 100_000)
            except StateError as error:
                say(error.exit_code, error)
            await put(store, b"small")
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            await put(store, *[b"after/%d" % number for number in range(3)], value=b"x" * 100_000)

    asyncio.run(main())
"""
_NO_MEMORY = """
    import sqlite3

    async def main():
        async with storage() as store:
            await put(store, b"before")
            sqlite3.connect(":memory:").execute("PRAGMA hard_heap_limit=400000").fetchall()  # of the process
            try:
                await put(store, *[b"half/%d" % number for number in range(40)], value=b"x" * 100_000)
            except StateError as error:
                say(error.exit_code, error)
            await put(store, b"after")

    asyncio.run(main())
"""
_UNSYNCED = f"""
    sys.path.insert(0, {str(Path(__file__).parents[3])!r})
    from proof import broken_disk

    async def main():
        async with storage() as store:
            await put(store, b"before")
            broken_disk.from_now_on(5, ["fsync", "fdatasync"])
            for key in (b"one", b"two"):
                try:
                    await put(store, key)
                except StateError as error:
                    say(error.exit_code, error)
            try:
                async with store.transaction() as tx:
                    await tx.get(b"before")
            except StateError as error:
                say(error.exit_code, error)

    asyncio.run(main())
"""
_AS_NOBODY = """
    async def main():
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        try:
            async with storage():
                say("opened")
        except StateError as error:
            say(error.exit_code, error)

    asyncio.run(main())
"""


async def test_second_process_is_refused_and_told_who_holds_it(
    child: Child, storage_at: StorageAt, tmp_path: Path
) -> None:
    """While another process has the store open, opening fails at once with exit code 75 and its pid."""
    path = tmp_path / "surfaces.db"
    holder = child(_HOLD, path)
    assert read_line(holder) == "open"
    with pytest.raises(StateError, match=rf"process {holder.pid} on \S+ holds") as caught:
        async with storage_at(path):
            pass
    assert caught.value.exit_code == os.EX_TEMPFAIL


async def test_a_killed_process_holds_nothing(child: Child, storage_at: StorageAt, tmp_path: Path) -> None:
    """The lock dies with its process, whatever its file still says."""
    path = tmp_path / "surfaces.db"
    holder = child(_HOLD, path)
    assert read_line(holder) == "open"
    kill(holder)
    async with storage_at(path):
        pass


async def test_two_names_of_one_file_meet_at_one_lock(child: Child, storage_at: StorageAt, tmp_path: Path) -> None:
    """A symbolic link to the database does not get around the lock."""
    path, link = tmp_path / "surfaces.db", tmp_path / "link.db"
    link.symlink_to(path)
    assert read_line(child(_HOLD, path)) == "open"
    with pytest.raises(StateError, match="holds this store"):
        async with storage_at(link):
            pass


@pytest.mark.parametrize("acknowledged", [1, 50, 400])
async def test_killed_while_writing(acknowledged: int, child: Child, storage_at: StorageAt, tmp_path: Path) -> None:
    """After SIGKILL everything acknowledged is there, in order without a hole, and nothing is half there."""
    path = tmp_path / "surfaces.db"
    writer = child(_WRITE_FOR_EVER, path)
    said = [read_line(writer) for _ in range(acknowledged)]
    said += kill(writer).split("\n")[:-1]  # the last line may be cut
    assert unfinished(path), "the kill must have come before a clean end"
    async with storage_at(path) as storage, storage.transaction() as tx:
        keys = [key async for key, _ in tx.scan(b"")]
    stored = sorted({int(key[:6]) for key in keys})
    assert keys == [b"%06d/%s" % (number, part) for number in stored for part in (b"a", b"b")]
    assert stored == list(range(len(stored)))
    assert {int(number) for number in said} <= set(stored)


async def test_full_disk(child: Child, storage_at: StorageAt, tmp_path: Path) -> None:
    """When a file may not grow the transaction fails with exit code 74 and leaves nothing; later ones work."""
    path = tmp_path / "surfaces.db"
    said, _ = child(_FULL, path).communicate()
    assert said.startswith("74 ")
    assert str(path) in said
    async with storage_at(path) as storage, storage.transaction() as tx:
        keys = [key async for key, _ in tx.scan(b"")]
    assert keys == [b"after/0", b"after/1", b"after/2", b"before", b"small"]


async def test_a_sync_that_failed_is_the_last(child: Child, storage_at: StorageAt, tmp_path: Path) -> None:
    """Nobody knows what is on the disk then: nothing more is written or read, and the same is said to everybody."""
    path = tmp_path / "surfaces.db"
    said, _ = child(_UNSYNCED, path).communicate()
    assert len(said.splitlines()) == 3
    (line,) = set(said.splitlines())
    assert line.startswith("74 ")
    assert "SQLITE_IOERR_FSYNC" in line
    async with storage_at(path) as storage, storage.transaction() as tx:
        assert await tx.get(b"before") == b"v"


async def test_no_memory(child: Child, storage_at: StorageAt, tmp_path: Path) -> None:
    """A transaction that finds no memory fails with exit code 74 and leaves nothing; later ones work."""
    path = tmp_path / "surfaces.db"
    said, _ = child(_NO_MEMORY, path).communicate()
    assert said.startswith("74 ")
    assert "out of memory" in said
    async with storage_at(path) as storage, storage.transaction() as tx:
        assert [key async for key, _ in tx.scan(b"")] == [b"after", b"before"]


RIGHTS = {
    "all rights": (0o666, 0o777, "opened"),
    "file read-only": (0o444, 0o777, "77 "),
    "folder read-only": (0o666, 0o555, "77 "),
    "neither readable": (0o000, 0o777, "77 "),
}


@pytest.mark.parametrize(("file_mode", "folder_mode", "said"), RIGHTS.values(), ids=RIGHTS)
def test_rights(file_mode: int, folder_mode: int, said: str, child: Child, open_folder: Path) -> None:
    """Who may not write the file and its folder is refused with exit code 77 and told the file."""
    path = open_folder / "surfaces.db"
    path.touch()
    path.chmod(file_mode)
    open_folder.chmod(folder_mode)
    words, _ = child(_AS_NOBODY, path).communicate()
    assert words.startswith(said)
    assert said == "opened" or str(path) in words


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach; pytest's own are for their owner alone."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


def unfinished(path: Path) -> bool:
    return Path(f"{path}-wal").exists()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> str:
    """SIGKILL; what it had said before."""
    process.kill()
    return process.communicate()[0]
