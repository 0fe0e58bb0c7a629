"""Who may write to a state that several processes can open: one life at a time, and never a past one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

import pytest

from surfaces_core import StateError, Tx
from surfaces_core._engine.journal import Entry, Journal, key
from surfaces_core.testing import virtual_time
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.memory_storage import MemoryDisk, MemoryStorage

LEASE_S = 30.0
ROW, OTHER = key("meta", "one"), key("meta", "other")


class SharedStorage(MemoryStorage):
    """A storage that keeps nobody out."""

    exclusive = False

    def __init__(self, disk: MemoryDisk, turn: asyncio.Lock) -> None:
        super().__init__(disk=disk)
        self._turn = turn

    async def __aenter__(self) -> Self:
        self.disk.held.acquire(blocking=False)
        return self

    async def __aexit__(self, *error: object) -> None:
        return None


class World:
    """A state, and journals on it as processes of their own would have them."""

    def __init__(self) -> None:
        self.disk = MemoryDisk()
        self.turn = asyncio.Lock()

    def journal(self) -> Journal:
        """The journal of one more process."""
        return Journal(SharedStorage(self.disk, self.turn), lambda: 0.0, lease_s=LEASE_S)

    @asynccontextmanager
    async def living(self) -> AsyncIterator[Journal]:
        """A life that renews its lease, and then is killed."""
        journal = self.journal()
        async with journal.storage, asyncio.TaskGroup() as group:
            await journal.open()
            keeping = group.create_task(journal.lease.keep())
            yield journal
            keeping.cancel()


def now() -> float:
    """The virtual clock."""
    return asyncio.get_running_loop().time()


def test_a_second_life_is_refused_while_the_first_one_lives() -> None:
    """It sees the lease renewed, and names who holds the state."""

    async def main() -> float:
        world = World()
        async with world.living() as first:
            await asyncio.sleep(1000)
            began = now()
            with pytest.raises(StateError, match=f"process {os.getpid()} on ") as refused:
                await world.journal().open()
            assert refused.value.exit_code == 75
            await first.write({ROW: b"mine"})
        return now() - began

    assert virtual_time.run(main()) < LEASE_S


def test_a_dead_life_is_outlasted() -> None:
    """After a lease without a sign of life the next one begins, and not before."""

    async def main() -> float:
        world = World()
        async with world.living():
            await asyncio.sleep(5)
        began = now()
        async with world.living() as second:
            assert second.lease.life == 2
            return now() - began

    assert virtual_time.run(main()) == pytest.approx(LEASE_S)


def test_a_life_that_ended_well_is_not_waited_for() -> None:
    """It has let go."""

    async def main() -> float:
        world = World()
        async with world.living() as first:
            await first.lease.release()
        async with world.living():
            return now()

    assert virtual_time.run(main()) == 0.0


def test_a_sleeper_cannot_write_behind_its_successor() -> None:
    """What a life writes that was taken for dead is refused, whole."""

    async def main() -> None:
        world = World()
        sleeper = world.journal()
        await sleeper.storage.__aenter__()
        await sleeper.open()
        await sleeper.write({ROW: b"before"})
        async with world.living() as successor:
            await successor.write({ROW: b"after"})
            for attempt in (sleeper.write({ROW: b"late", OTHER: b"late"}), sleeper.accept("memory", [], "old", _same)):
                with pytest.raises(StateError, match="holds this state") as refused:
                    await attempt
                assert refused.value.exit_code == 75
            with pytest.raises(StateError):
                await sleeper.lease.keep()
            await sleeper.lease.release()
            assert world.disk.rows[ROW] == b"after"
            assert OTHER not in world.disk.rows
            assert key("cursor", "memory") not in world.disk.rows
            await successor.write({OTHER: b"still mine"})

    virtual_time.run(main())


def test_of_two_that_outlast_a_dead_life_one_begins() -> None:
    """They find out in the transaction that takes the state."""

    async def main() -> list[int]:
        world = World()
        async with world.living():
            pass
        lives: list[int] = []

        async def take() -> None:
            journal = world.journal()
            try:
                await journal.lease.take()
            except StateError as error:
                lives.append(-error.exit_code)
            else:
                lives.append(journal.lease.life)

        async with asyncio.TaskGroup() as group:
            group.create_task(take())
            group.create_task(take())
        return sorted(lives)

    assert virtual_time.run(main()) == [-75, 2]


def test_a_host_that_lost_its_state_ends() -> None:
    """Whoever slept too long says so and ends with the code of a state that is held."""

    async def main() -> StateError:
        world = World()
        bot = TestBot(now=now)

        async def robbed() -> None:
            async with bot.running(SharedStorage(world.disk, world.turn)):
                await bot.push("hello")
                assert await bot.pop() == "hello"
                thief = world.journal()
                thief.lease._held.life = bot.engine.journal.lease.life + 1
                async with thief.storage.transaction() as tx:
                    await thief.lease._store(tx)
                await asyncio.sleep(3600)

        with pytest.raises(BaseExceptionGroup) as ended:
            await robbed()
        error = ended.value.exceptions[0]
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        assert isinstance(error, StateError)
        return error

    assert virtual_time.run(main()).exit_code == 75


def _same(entry: Entry) -> Entry:
    return entry


async def test_an_exclusive_storage_is_asked_for_nothing() -> None:
    """Where the storage keeps others out a write costs no look at the lease."""
    reads: list[bytes] = []

    class Counting(MemoryStorage):
        @asynccontextmanager
        async def transaction(self) -> AsyncIterator[Tx]:
            async with super().transaction() as tx:
                get = tx.get

                async def counted(row: bytes) -> bytes | None:
                    reads.append(row)
                    return await get(row)

                tx.get = counted  # type: ignore[method-assign,assignment]
                yield tx

    journal = Journal(Counting(), lambda: 0.0)
    async with journal.storage:
        await journal.open()
        reads.clear()
        await journal.write({ROW: b"1"})
    assert reads == []
