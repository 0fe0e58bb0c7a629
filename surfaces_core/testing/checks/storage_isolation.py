"""Owns the checks that transactions of a storage do not see or spoil each other, whatever ends them."""

from __future__ import annotations

import asyncio

from surfaces_core.contracts import Storage
from surfaces_core.testing.checks.storage_steps import StorageFactory, Undo, expect, promise, put, undo

_PATIENCE_S = 60.0


async def check_raised_leaves_nothing(factory: StorageFactory) -> None:
    """A body that raises undoes all of its transaction."""
    before = {b"kept": b"1", b"also": b"2"}
    async with factory() as storage:
        await put(storage, before)
        try:
            async with storage.transaction() as tx:
                await tx.put(b"new", b"x")
                await tx.put(b"kept", b"changed")
                await tx.delete(b"also")
                undo()
        except Undo:
            pass
        else:
            raise AssertionError("a transaction must let the exception of its body through")
        await expect(storage, before, "a transaction that raised must leave nothing behind")
    async with factory() as storage:
        await expect(storage, before, "a transaction that raised must leave nothing behind on the disk")


async def check_cancelled_leaves_nothing(factory: StorageFactory) -> None:
    """A body that is cancelled undoes all of its transaction, and others may go on."""
    async with factory() as storage:
        written = asyncio.Event()

        async def body() -> None:
            async with storage.transaction() as tx:
                await tx.put(b"half", b"x")
                written.set()
                await asyncio.Event().wait()

        async with asyncio.TaskGroup() as group:
            task = group.create_task(body())
            await written.wait()
            task.cancel()
        async with asyncio.timeout(_PATIENCE_S):
            await expect(storage, {}, "a cancelled transaction must leave nothing behind")


async def check_cancelled_while_waiting(factory: StorageFactory) -> None:
    """Cancelling one that waits for its turn harms nobody."""
    async with factory() as storage:
        async with asyncio.TaskGroup() as group, storage.transaction() as tx:
            waiter = group.create_task(put(storage, {b"waiter": b"x"}))
            await asyncio.sleep(0)
            waiter.cancel()
            await tx.put(b"holder", b"x")
        async with asyncio.timeout(_PATIENCE_S):
            await expect(storage, {b"holder": b"x"}, "a transaction cancelled before its turn must leave no trace")


async def check_no_lost_update(factory: StorageFactory) -> None:
    """A hundred tasks that each add one to a counter end at a hundred."""

    async def increment() -> None:
        async with storage.transaction() as tx:
            count = int(await tx.get(b"count") or b"0")
            await asyncio.sleep(0)
            await tx.put(b"count", b"%d" % (count + 1))

    async with factory() as storage:
        async with asyncio.timeout(_PATIENCE_S), asyncio.TaskGroup() as group:
            for _ in range(100):
                group.create_task(increment())
        await expect(storage, {b"count": b"100"}, "of a hundred concurrent increments none may be lost")


async def check_isolated(factory: StorageFactory) -> None:
    """Nobody sees half of another's transaction, or anything of one that is undone."""
    async with factory() as storage:
        await put(storage, {b"x": b"0", b"y": b"0"})
        async with asyncio.timeout(_PATIENCE_S), asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(_write_both(storage, b"%d" % number, undone=number % 3 == 0))
                group.create_task(_see_both(storage))


async def _write_both(storage: Storage, value: bytes, *, undone: bool) -> None:
    try:
        async with storage.transaction() as tx:
            await tx.put(b"x", value)
            for _ in range(5):
                await asyncio.sleep(0)
            await tx.put(b"y", b"undone" if undone else value)
            if undone:
                undo()
    except Undo:
        pass


async def _see_both(storage: Storage) -> None:
    async with storage.transaction() as tx:
        x = await tx.get(b"x")
        await asyncio.sleep(0)
        y = await tx.get(b"y")
        promise(x == y, "a transaction must not see half of another one, nor one that is undone later")


async def check_all_of_many(factory: StorageFactory) -> None:
    """Of many transactions side by side each is stored whole."""

    async def batch(number: int) -> None:
        await put(storage, {b"%d/%d" % (number, part): b"v" for part in range(5)})

    async with factory() as storage, asyncio.timeout(_PATIENCE_S), asyncio.TaskGroup() as group:
        for number in range(200):
            group.create_task(batch(number))
    rows = {b"%d/%d" % (number, part): b"v" for number in range(200) for part in range(5)}
    async with factory() as storage:
        await expect(storage, rows, "each of two hundred concurrent transactions must be stored whole")


async def check_order_of_commits(factory: StorageFactory) -> None:
    """Who returned first is overwritten by who began afterwards."""
    async with factory() as storage:
        for number in range(50):
            await put(storage, {b"last": b"%d" % number})
            async with storage.transaction() as tx:
                promise(
                    await tx.get(b"last") == b"%d" % number, "a transaction must see all that returned before it began"
                )
