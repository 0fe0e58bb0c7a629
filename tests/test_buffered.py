"""A storage over a database: what waits is handed over together and in order, and one failure is the end for all."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager

import pytest
import structlog

from surfaces_core import BufferedStorage, Changes, Context, Database, Page, StateError
from surfaces_core.testing import contract


class Rows(Database):
    """A database in memory with pages of three rows, which can be held up and can fail."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.groups: list[Changes] = []
        self.free = asyncio.Event()
        self.free.set()
        self.asked = asyncio.Event()
        self.held = 0
        self.failure: BaseException | None = None

    async def read(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        return [self.rows.get(key) for key in keys]

    async def page(self, start: bytes, end: bytes) -> Page:
        keys = sorted(self.rows)
        found = keys[bisect_left(keys, start) : bisect_left(keys, end)]
        return Page([(key, self.rows[key]) for key in found[:3]], complete=len(found) <= 3)

    async def write(self, changes: Changes) -> None:
        self.asked.set()
        await self.free.wait()
        if self.failure is not None:
            raise self.failure
        self.groups.append(changes)
        for key, value in changes.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value


class RowsStorage(BufferedStorage):
    """One on such a database."""

    def __init__(self, rows: Rows) -> None:
        super().__init__(self.Settings(), Context(name="storage", log=structlog.get_logger()))
        self.rows = rows

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        if self.rows.held:
            raise StateError("held", exit_code=75)
        self.rows.held += 1
        try:
            yield self.rows
        finally:
            self.rows.held -= 1


@contract.storage
def test_contract() -> Iterator[Callable[[], RowsStorage]]:
    """With a database in memory it keeps the contract."""
    rows = Rows()
    yield lambda: RowsStorage(rows)


async def put(storage: RowsStorage, value: bytes | None, *keys: bytes) -> None:
    async with storage.transaction() as tx:
        for key in keys:
            await (tx.delete(key) if value is None else tx.put(key, value))


async def waiting(storage: RowsStorage, count: int) -> None:
    """Until so many transactions wait for the database."""
    while len(storage._queue._jobs) < count:  # noqa: ASYNC110 - the queue has no event for this
        await asyncio.sleep(0)


async def test_what_waits_is_one_commit_in_order() -> None:
    """Transactions that wait while the database is busy are handed over together; of one key the last counts."""
    rows = Rows()
    async with RowsStorage(rows) as storage:
        rows.free.clear()
        async with asyncio.TaskGroup() as group:
            for number, value in enumerate([b"0", b"1", None, b"3", b"4"]):
                group.create_task(put(storage, value, b"same", b"%d" % number))
                await (waiting(storage, number) if number else rows.asked.wait())
            rows.free.set()
        assert len(rows.groups) == 2
        assert rows.rows == {b"same": b"4", b"0": b"0", b"1": b"1", b"3": b"3", b"4": b"4"}


async def test_nobody_hears_before_it_is_durable() -> None:
    """While the database is busy with a commit, neither its writer nor a reader behind it goes on."""
    rows = Rows()
    async with RowsStorage(rows) as storage, asyncio.TaskGroup() as group:
        rows.free.clear()
        writing = group.create_task(put(storage, b"1", b"a"))
        await asyncio.sleep(0)

        async def read() -> bytes | None:
            async with storage.transaction() as tx:
                return await tx.get(b"a")

        reading = group.create_task(read())
        await waiting(storage, 1)
        for _ in range(5):
            await asyncio.sleep(0)
        assert not writing.done()
        assert not reading.done()
        rows.free.set()
        assert await reading == b"1"


async def test_a_failure_is_told_to_everybody_and_is_the_last() -> None:
    """All who wait are told, with errors of their own, and nothing more is asked of the database."""
    rows = Rows()
    async with RowsStorage(rows) as storage:
        rows.free.clear()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(failing(put(storage, b"x", b"first")))]
            await rows.asked.wait()
            tasks += [group.create_task(failing(put(storage, b"x", b"%d" % number))) for number in range(2)]
            await waiting(storage, 2)
            rows.failure = StateError("broken", exit_code=74)
            rows.free.set()
        rows.failure = None
        errors = [task.result() for task in tasks] + [await failing(put(storage, b"x", b"later"))]
        assert {(str(error), error.exit_code) for error in errors} == {("broken", 74)}
        assert len(set(map(id, errors))) == 4
        assert rows.rows == {}


async def failing(call: object) -> StateError:
    """How it fails."""
    with pytest.raises(StateError) as caught:
        await call  # type: ignore[misc]
    return caught.value


async def test_a_bug_in_a_driver_leaves_nobody_waiting() -> None:
    """What no driver should raise ends the block loudly, and whoever waits is told."""
    rows = Rows()
    rows.failure = ZeroDivisionError()
    told: list[StateError] = []
    with pytest.raises(ExceptionGroup) as caught:
        async with RowsStorage(rows) as storage:
            told.append(await failing(put(storage, b"x", b"a")))
    assert caught.group_contains(ZeroDivisionError)
    assert len(told) == 1


async def test_closing_waits_for_commits_under_way() -> None:
    """A transaction that left its body before closing began is stored; one that comes later is refused."""
    rows = Rows()
    async with asyncio.TaskGroup() as group, RowsStorage(rows) as storage:
        group.create_task(put(storage, b"1", b"late"))
        await asyncio.sleep(0)
    assert rows.rows == {b"late": b"1"}
    assert "closed" in str(await failing(put(storage, b"1", b"later")))


async def test_waiting_for_a_commit_may_be_cancelled() -> None:
    """The change that was handed over comes to its end all the same, and others go on."""
    rows = Rows()
    async with RowsStorage(rows) as storage:
        rows.free.clear()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(put(storage, b"1", b"a"))
            await rows.asked.wait()
            task.cancel()
        rows.free.set()
        await put(storage, b"1", b"b")
    assert rows.rows == {b"a": b"1", b"b": b"1"}
