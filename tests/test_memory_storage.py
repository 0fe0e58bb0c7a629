"""The storage in memory keeps the contract, the checks catch what doesn't, and crashes fall where they are told."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Literal, Self

import pytest

from surfaces_core import StateError, Storage, Tx
from surfaces_core.testing import contract
from surfaces_core.testing.checks.storage import STORAGE_CHECKS, StorageCheck
from surfaces_core.testing.checks.storage_steps import put
from surfaces_core.testing.faulty_storage import Crash, FaultyStorage
from surfaces_core.testing.memory_storage import MemoryDisk, MemoryStorage, MemoryTx

Changes = dict[bytes, bytes | None]
Side = Literal["before", "after"]


@contract.storage
def test_contract() -> Callable[[], Storage]:
    """The storage in memory passes every contract check."""
    disk = MemoryDisk()
    return lambda: MemoryStorage(disk=disk)


@contract.storage
def test_contract_of_the_faulty_storage() -> Callable[[], Storage]:
    """A faulty storage that only counts behaves like the one inside."""
    disk = MemoryDisk()
    return lambda: FaultyStorage(MemoryStorage(disk=disk))


# Planted faults: each breaks one promise of the storage in memory ----------------------------------


class Persistent(MemoryStorage):
    """Keeps the changes of a body that raised or was cancelled."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        async with self._turn:
            tx = MemoryTx(self.disk.rows)
            try:
                yield tx
            finally:
                self._commit(tx.changes)


class PersistentWhenCancelled(MemoryStorage):
    """Keeps the changes of a body that was cancelled."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        async with self._turn:
            tx = MemoryTx(self.disk.rows)
            try:
                yield tx
            except Exception:
                tx.changes.clear()
                raise
            finally:
                self._commit(tx.changes)


class WriteThrough(MemoryStorage):
    """Shows changes to others before their transaction ends, and doesn't make them wait."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        before = dict(self.disk.rows)
        try:
            yield WriteThroughTx(self.disk.rows)
        except BaseException:
            self.disk.rows.clear()
            self.disk.rows.update(before)
            raise


class Unserialised(MemoryStorage):
    """Lets bodies run side by side and stores what each made of what it read."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        tx = MemoryTx(self.disk.rows)
        yield tx
        self._commit(tx.changes)


class LockLeaker(MemoryStorage):
    """Keeps its turn for ever when a body is cancelled."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        async with asyncio.timeout(0.5):  # stands for the patience of the checks, which is longer
            await self._turn.acquire()
        tx = MemoryTx(self.disk.rows)
        try:
            yield tx
        except Exception:
            self._turn.release()
            raise
        self._commit(tx.changes)
        self._turn.release()


class Forgetful(MemoryStorage):
    """Starts empty every time."""

    async def __aenter__(self) -> Self:
        self.disk.rows.clear()
        return await super().__aenter__()


class Sociable(MemoryStorage):
    """Lets a second one open the same state."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        tx = MemoryTx(self.disk.rows)
        async with self._turn:
            yield tx
            self._commit(tx.changes)


class WrongCode(MemoryStorage):
    """Refuses a second one without saying why."""

    async def __aenter__(self) -> Self:
        try:
            return await super().__aenter__()
        except StateError as error:
            raise StateError(str(error), exit_code=os.EX_IOERR) from error


class Altering(MemoryStorage):
    """Commits something else than what was written."""

    alter: Callable[[Changes], Changes]

    def _commit(self, changes: Changes) -> None:
        super()._commit(type(self).alter(changes))


class Undeleting(Altering):
    """Forgets to delete."""

    alter = staticmethod(lambda changes: {key: value for key, value in changes.items() if value is not None})


class Halving(Altering):
    """Stores only the first thousand changes of a transaction."""

    alter = staticmethod(lambda changes: dict([*changes.items()][:1000]))


class Emptying(Altering):
    """Takes an empty value for none."""

    alter = staticmethod(lambda changes: {key: value or None for key, value in changes.items()})


class Cutting(Altering):
    """Cuts values at 64 KiB."""

    alter = staticmethod(lambda changes: {key: value and value[:65536] for key, value in changes.items()})


class FirstWins(MemoryStorage):
    """Never replaces a value."""

    def _commit(self, changes: Changes) -> None:
        super()._commit({key: value for key, value in changes.items() if value is None or key not in self.disk.rows})


class OtherTx(MemoryStorage):
    """Hands out transactions of another class."""

    tx: type[MemoryTx]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        async with self._turn:
            tx = self.tx(self.disk.rows)
            yield tx
            self._commit(tx.changes)


class WriteThroughTx(MemoryTx):
    """Writes at once."""

    async def put(self, key: bytes, value: bytes) -> None:
        self._rows[key] = value  # type: ignore[index]

    async def delete(self, key: bytes) -> None:
        self._rows.pop(key, None)  # type: ignore[attr-defined]


class StaleGetTx(MemoryTx):
    """Gets what was before its own writes."""

    async def get(self, key: bytes) -> bytes | None:
        return self._rows.get(key)


class StaleScanTx(MemoryTx):
    """Scans what was before its own writes."""

    async def scan(self, prefix: bytes) -> AsyncIterator[tuple[bytes, bytes]]:
        for key, value in sorted(self._rows.items()):
            if key.startswith(prefix):
                yield key, value


class UnorderedTx(MemoryTx):
    """Scans in the order of insertion."""

    async def scan(self, prefix: bytes) -> AsyncIterator[tuple[bytes, bytes]]:
        for key, value in {**self._rows, **self.changes}.items():
            if value is not None and key.startswith(prefix):
                yield key, value


class TextOrderTx(MemoryTx):
    """Compares keys as text without regard to case."""

    async def scan(self, prefix: bytes) -> AsyncIterator[tuple[bytes, bytes]]:
        for key, value in sorted([pair async for pair in super().scan(prefix)], key=lambda pair: pair[0].lower()):
            yield key, value


class ShortRangeTx(MemoryTx):
    """Believes that nothing sorts behind the prefix and one 0xff."""

    async def scan(self, prefix: bytes) -> AsyncIterator[tuple[bytes, bytes]]:
        async for key, value in super().scan(prefix):
            if key <= prefix + b"\xff":
                yield key, value


class OnePageTx(MemoryTx):
    """Scans one page and stops."""

    async def scan(self, prefix: bytes) -> AsyncIterator[tuple[bytes, bytes]]:
        count = 0
        async for pair in super().scan(prefix):
            count += 1
            if count > 500:
                return
            yield pair


class SetManyTx(MemoryTx):
    """Answers many keys in their sorted order."""

    async def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        return [await self.get(key) for key in sorted(set(keys))]


def with_tx(kind: type[MemoryTx]) -> type[MemoryStorage]:
    return type(f"With{kind.__name__}", (OtherTx,), {"tx": kind, "__doc__": kind.__doc__})


FAULTS: Mapping[type[MemoryStorage], str] = {
    Persistent: "check_raised_leaves_nothing",
    PersistentWhenCancelled: "check_cancelled_leaves_nothing",
    LockLeaker: "check_cancelled_leaves_nothing",
    WriteThrough: "check_isolated",
    Unserialised: "check_no_lost_update",
    Forgetful: "check_durable",
    Sociable: "check_second_opener_refused",
    WrongCode: "check_second_opener_refused",
    Undeleting: "check_put_get_delete",
    FirstWins: "check_order_of_commits",
    Halving: "check_many_keys",
    Emptying: "check_empty_value",
    Cutting: "check_large_values",
    with_tx(StaleGetTx): "check_own_writes",
    with_tx(StaleScanTx): "check_own_writes",
    with_tx(UnorderedTx): "check_scan_order",
    with_tx(TextOrderTx): "check_scan_order",
    with_tx(ShortRangeTx): "check_scan_prefix",
    with_tx(OnePageTx): "check_scan_thousands",
    with_tx(SetManyTx): "check_get_many",
}


@pytest.mark.parametrize(("fault", "name"), FAULTS.items(), ids=lambda value: getattr(value, "__name__", value))
async def test_a_planted_fault_is_caught(fault: type[MemoryStorage], name: str) -> None:
    """The check that is there for a promise fails when that promise is broken."""
    (check,) = (check for check in STORAGE_CHECKS if check.__name__ == name)
    assert await breaks(check, fault)


@pytest.mark.parametrize("fault", [Undeleting, Persistent, with_tx(UnorderedTx), with_tx(StaleGetTx), Forgetful])
async def test_the_model_finds_planted_faults(fault: type[MemoryStorage]) -> None:
    """Random histories find a broken promise without being told where to look."""
    (check,) = (check for check in STORAGE_CHECKS if check.__name__ == "check_model")
    assert await breaks(check, fault)


async def breaks(check: StorageCheck, fault: type[MemoryStorage]) -> bool:
    """Whether a check refuses a storage; all errors but assertions and a lost lock's time-out are bugs."""
    disk = MemoryDisk()
    broken = False
    try:
        await check(lambda: fault(disk=disk))
    except* (AssertionError, TimeoutError):
        broken = True
    return broken


async def nothing(tx: Tx) -> None:
    """Neither read nor write."""


CALLS: Mapping[str, Callable[[Tx], Awaitable[object]]] = {
    "get": lambda tx: tx.get(b"a"),
    "get_many": lambda tx: tx.get_many([b"a"]),
    "put": lambda tx: tx.put(b"a", b""),
    "delete": lambda tx: tx.delete(b"a"),
    "scan": lambda tx: anext(tx.scan(b"")),
    "leave": nothing,
}

# Crashes -------------------------------------------------------------------------------------------


async def steps(storage: Storage) -> None:
    """Five transactions of two rows each; only reading and undone ones stand between them."""
    for number in range(1, 6):
        async with storage.transaction() as tx:
            await tx.put(b"%d/a" % number, b"v")
            await tx.put(b"%d/b" % number, b"v")
        async with storage.transaction() as tx:
            await tx.get(b"1/a")


def whole(count: int) -> dict[bytes, bytes]:
    return {b"%d/%s" % (number, part): b"v" for number in range(1, count + 1) for part in (b"a", b"b")}


async def test_faulty_storage_counts_writing_transactions() -> None:
    """Without a crash it tells how many transactions wrote, so that a sweep knows its length."""
    async with FaultyStorage(MemoryStorage()) as storage:
        await steps(storage)
    assert storage.writes == 5


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("number", range(1, 6))
async def test_crash_falls_on_the_side_it_was_told(number: int, side: Side) -> None:
    """A crash before a transaction stores nothing of it, a crash after it all; neither lets its caller know."""
    disk = MemoryDisk()
    async with FaultyStorage(MemoryStorage(disk=disk), crash_at=number, side=side) as storage:
        with pytest.raises(Crash):
            await steps(storage)
        with pytest.raises(Crash):
            await steps(storage)
    assert disk.rows == whole(number if side == "after" else number - 1)


@pytest.mark.parametrize("side", ["before", "after"])
async def test_nothing_is_stored_beside_a_crash(side: Side) -> None:
    """Of transactions side by side none is stored behind the crash, and nobody hears of one stored before it."""
    disk = MemoryDisk()
    returned: list[int] = []

    async def one(storage: Storage, number: int) -> None:
        async with storage.transaction() as tx:
            await tx.put(b"%d" % number, b"v")
        returned.append(number)

    async def eight(storage: Storage) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(1, 9):
                group.create_task(one(storage, number))

    async with FaultyStorage(MemoryStorage(disk=disk), crash_at=4, side=side) as storage:
        with pytest.raises(BaseExceptionGroup) as caught:
            await eight(storage)
    assert caught.group_contains(Crash)
    assert sorted(disk.rows) == [b"%d" % number for number in range(1, 5 if side == "after" else 4)]
    assert set(returned) <= {1, 2, 3}


@pytest.mark.parametrize("use", ["get", "get_many", "put", "delete", "scan", "leave"])
async def test_an_open_transaction_dies_with_the_process(use: str) -> None:
    """A transaction that was open at the crash can neither read nor write nor end."""
    disk = MemoryDisk()
    storage = FaultyStorage(Unserialised(disk=disk), crash_at=1)

    async def live_on() -> None:
        async with storage.transaction() as tx:
            await tx.put(b"open", b"v")
            with pytest.raises(Crash):
                await put(storage, {b"fatal": b"v"})
            await CALLS[use](tx)

    async with storage:
        with pytest.raises(Crash):
            await live_on()
    assert disk.rows == {}


@pytest.mark.parametrize("late", ["get", "get_many", "put", "delete", "scan"])
async def test_memory_transaction_is_refused_when_over(late: str) -> None:
    """Using a transaction behind its block is a bug that is told, not a change that is lost."""
    async with MemoryStorage() as storage:
        async with storage.transaction() as tx:
            pass
        with pytest.raises(RuntimeError):
            await CALLS[late](tx)


@pytest.mark.parametrize(("key", "value"), [(b"", b""), (b"k" * 1025, b""), (b"k", b"v" * (16 * 1024 * 1024 + 1))])
async def test_memory_storage_refuses_what_the_contract_does_not_promise(key: bytes, value: bytes) -> None:
    """Keys and values out of bounds are refused, so that a host which makes them fails in its tests."""
    async with MemoryStorage() as storage:
        with pytest.raises(ValueError, match="out of bounds"):
            async with storage.transaction() as tx:
                await tx.put(key, value)


async def test_memory_storage_refuses_use_before_opening() -> None:
    """A storage that is not open says so."""
    with pytest.raises(StateError):
        async with MemoryStorage().transaction():
            pass
