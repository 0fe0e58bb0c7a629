"""Owns the contract checks of storages: what a `Storage` promises, one function for each promise.

    test_contract = contract.storage(MyStorage)          # in a file of tests: surfaces_core.testing.contract
    await check_empty_value(lambda: MyStorage(settings, context))                              # or one by one

Each check is given a factory: every call makes an unopened driver, all of them over the same state,
which is empty at first. A broken promise is an AssertionError that names it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

from surfaces_core.contracts import Storage
from surfaces_core.errors import StateError
from surfaces_core.testing.checks import storage_isolation as isolation
from surfaces_core.testing.checks.making import made_quietly
from surfaces_core.testing.checks.storage_steps import StorageFactory, delete, expect, promise, put, scan

StorageCheck = Callable[[StorageFactory], Awaitable[None]]


async def check_made_quietly(factory: StorageFactory) -> None:
    """Making one touches nothing outside: its block is its lifetime."""
    made_quietly(factory)


async def check_put_get_delete(factory: StorageFactory) -> None:
    """What was put is got, until it is put anew or deleted."""
    async with factory() as storage:
        await put(storage, {b"a": b"1", b"b": b"2"})
        await expect(storage, {b"a": b"1", b"b": b"2"}, "what one transaction puts the next one must get")
        await put(storage, {b"a": b"3"})
        await expect(storage, {b"a": b"3", b"b": b"2"}, "a second put must replace the first, and that one alone")
        await delete(storage, [b"a", b"never there"])
        await expect(storage, {b"b": b"2"}, "what was deleted must be gone, and that alone")


async def check_missing_is_none(factory: StorageFactory) -> None:
    """A key that is not there gives None."""
    async with factory() as storage, storage.transaction() as tx:
        promise(await tx.get(b"nothing") is None, "a missing key must give None")


async def check_empty_value(factory: StorageFactory) -> None:
    """An empty value is a value."""
    async with factory() as storage:
        await put(storage, {b"empty": b""})
        async with storage.transaction() as tx:
            promise(await tx.get(b"empty") == b"", "an empty value must come back as an empty value, not as None")
        await expect(storage, {b"empty": b""}, "a scan must show a pair with an empty value")


async def check_large_values(factory: StorageFactory) -> None:
    """Values of 1 MiB, one of 16 MiB, and keys of 1,024 bytes come back unchanged."""
    rows = {bytes([number]) * 1024: bytes(range(number, number + 128)) * 8192 for number in range(3)}
    largest = {b"\xff" * 1024: bytes(range(256)) * (1 << 16)}
    async with factory() as storage:
        await put(storage, rows)
        await expect(storage, rows, "a value of 1 MiB under a key of 1,024 bytes must come back unchanged")
        await put(storage, largest)
        await expect(storage, rows | largest, "a value of 16 MiB must come back unchanged")


async def check_own_writes(factory: StorageFactory) -> None:
    """A transaction sees what it has written itself, by every way of reading."""
    async with factory() as storage:
        await put(storage, {b"k/1": b"old", b"k/2": b"old", b"k/4": b"old"})
        async with storage.transaction() as tx:
            await tx.put(b"k/1", b"new")
            await tx.delete(b"k/2")
            await tx.put(b"k/3", b"new")
            after = {b"k/1": b"new", b"k/3": b"new", b"k/4": b"old"}
            got = [await tx.get(key) for key in (b"k/1", b"k/2", b"k/3")]
            promise(got == [b"new", None, b"new"], "get must see the transaction's own writes")
            promise(await scan(tx, b"k/") == list(after.items()), "scan must see the transaction's own writes")
            many = await tx.get_many([b"k/2", b"k/3", b"k/4"])
            promise(list(many) == [None, b"new", b"old"], "get_many must see the transaction's own writes")
        await expect(storage, after, "what a transaction saw of its own writes must be what is stored")


async def check_get_many(factory: StorageFactory) -> None:
    """Values come in the order of the keys asked for, with None for each one missing."""
    async with factory() as storage:
        await put(storage, {b"a": b"1", b"b": b"2", b"c": b"3"})
        async with storage.transaction() as tx:
            many = await tx.get_many([b"c", b"gone", b"a", b"c"])
            promise(
                list(many) == [b"3", None, b"1", b"3"],
                "get_many must answer in the order of its keys, with None for a missing one, repeats included",
            )
            promise(list(await tx.get_many([])) == [], "get_many of no keys must give nothing")


async def check_many_keys(factory: StorageFactory) -> None:
    """Thousands of keys in one transaction are no matter."""
    rows = {b"many/%05d" % number: b"%d" % number for number in range(3000)}
    async with factory() as storage:
        await put(storage, rows)
        async with storage.transaction() as tx:
            promise(list(await tx.get_many(list(rows))) == list(rows.values()), "get_many of 3,000 keys must find all")
        await delete(storage, list(rows)[1:])
        await expect(storage, dict([*rows.items()][:1]), "3,000 deletes of one transaction must all be done")


async def check_scan_order(factory: StorageFactory) -> None:
    """A scan is ordered by key as bytes, whatever bytes they are."""
    keys = _keys("00 0000 00ff 41 42 61 6100 610062 6162 7f 80 ff ffff")
    rows = {key: b"%d" % number for number, key in enumerate(keys)}
    async with factory() as storage:
        await put(storage, {key: rows[key] for key in reversed(keys)})
        async with storage.transaction() as tx:
            found = await scan(tx, b"")
            promise(found == sorted(rows.items()), "a scan must be ordered by key, compared as unsigned bytes")


async def check_scan_prefix(factory: StorageFactory) -> None:
    """A scan gives every key that begins with the prefix, the prefix itself included, and no other."""
    edges = _keys("00 61 6100 61ff 61ffffff 61ffff62 62 ff ff00 ffff feff")
    async with factory() as storage:
        await put(storage, dict.fromkeys(edges, b"v"))
        async with storage.transaction() as tx:
            for prefix in [b"", b"%", b"_", *_keys("00 61 61ff 61ffff ff ffff feff 7a")]:
                found = [key for key, _ in await scan(tx, prefix)]
                wanted = sorted(key for key in edges if key.startswith(prefix))
                promise(found == wanted, f"a scan of {prefix!r} must give the keys with this prefix and no other")


def _keys(hexes: str) -> list[bytes]:
    return [bytes.fromhex(word) for word in hexes.split()]


async def check_scan_thousands(factory: StorageFactory) -> None:
    """A long scan is complete and in order, with the transaction's own writes merged into it."""
    rows = {b"long/%06d" % number: b"%d" % number for number in range(0, 6000, 2)}
    async with factory() as storage:
        await put(storage, {**rows, b"other": b"x"})
        async with storage.transaction() as tx:
            for number in range(0, 6001, 500):
                await tx.put(b"long/%06d" % (number + 1), b"own")
                await tx.delete(b"long/%06d" % number)
                rows[b"long/%06d" % (number + 1)] = b"own"
                rows.pop(b"long/%06d" % number, None)
            found = await scan(tx, b"long/")
            promise(found == sorted(rows.items()), "a scan of thousands must miss nothing and keep the order")


async def check_scan_left_early(factory: StorageFactory) -> None:
    """A scan may be left before its end."""
    async with factory() as storage:
        await put(storage, {b"%04d" % number: b"v" for number in range(2000)})
        async with storage.transaction() as tx:
            async for key, _ in tx.scan(b""):
                await tx.put(b"first", key)
                break
        async with storage.transaction() as tx:
            promise(await tx.get(b"first") == b"0000", "a transaction must go on after a scan that was left early")


async def check_read_only(factory: StorageFactory) -> None:
    """A transaction that only reads changes nothing and ends like any other."""
    async with factory() as storage:
        await put(storage, {b"a": b"1"})
        async with storage.transaction() as tx:
            await tx.get(b"a")
            await scan(tx, b"")
        async with storage.transaction():
            pass
        await expect(storage, {b"a": b"1"}, "a transaction that only reads must change nothing")


async def check_durable(factory: StorageFactory) -> None:
    """What was committed is there for the next driver on the same state, deletions as well."""
    async with factory() as storage:
        await put(storage, {b"a": b"1", b"b": b"2"})
        await put(storage, {b"c": b"3"})
        await delete(storage, [b"a"])
    async with factory() as storage:
        await expect(storage, {b"b": b"2", b"c": b"3"}, "what was committed must be there after closing and opening")


async def check_second_opener_refused(factory: StorageFactory) -> None:
    """While one has the state open another is refused with exit code 75, unless `exclusive` says that it is not."""
    async with factory() as storage:
        if not storage.exclusive:
            await _check_shared(factory, storage)
            return
        try:
            async with factory():
                raise AssertionError("a second opener must be refused while the first has the state open")
        except StateError as error:
            promise(error.exit_code == os.EX_TEMPFAIL, "the second opener must be refused with exit code 75")
        await put(storage, {b"a": b"1"})
    async with factory() as storage:
        await expect(storage, {b"a": b"1"}, "a refused opener must not disturb the one that has the state open")


async def _check_shared(factory: StorageFactory, storage: Storage) -> None:
    async with factory() as second:
        await put(storage, {b"a": b"1"})
        await expect(second, {b"a": b"1"}, "two that have one state open must see what the other committed")
        await put(second, {b"b": b"2"})
        await expect(
            storage, {b"a": b"1", b"b": b"2"}, "two that have one state open must see what the other committed"
        )


async def check_model(factory: StorageFactory) -> None:
    """Random transactions, undone ones and reopenings give what a dict gives; needs hypothesis."""
    from surfaces_core.testing.checks.storage_model import run_model

    await asyncio.to_thread(run_model, factory)


STORAGE_CHECKS: tuple[StorageCheck, ...] = (
    check_made_quietly,
    check_put_get_delete,
    check_missing_is_none,
    check_empty_value,
    check_large_values,
    check_own_writes,
    check_get_many,
    check_many_keys,
    check_scan_order,
    check_scan_prefix,
    check_scan_thousands,
    check_scan_left_early,
    isolation.check_raised_leaves_nothing,
    isolation.check_cancelled_leaves_nothing,
    isolation.check_cancelled_while_waiting,
    check_read_only,
    check_durable,
    check_second_opener_refused,
    isolation.check_no_lost_update,
    isolation.check_isolated,
    isolation.check_all_of_many,
    isolation.check_order_of_commits,
    check_model,
)
"""Every check; a storage keeps the contract when it passes all of them."""
