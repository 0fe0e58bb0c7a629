"""The clock of simulations: time jumps, and everything happens in the same order everywhere."""

from __future__ import annotations

import asyncio

import pytest

from surfaces_core.testing import virtual_time


def test_hours_pass_at_once() -> None:
    """Who waits for an hour sees an hour pass."""

    async def main() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert virtual_time.run(main()) == 3600


def test_a_timer_that_was_cancelled_costs_nothing() -> None:
    """What nobody waits for any more is passed over, not slept through."""

    async def main() -> float:
        for number in range(5):
            asyncio.get_running_loop().call_later(number, print).cancel()
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert virtual_time.run(main()) == 3600


def test_a_set_of_tasks_has_the_order_in_which_they_began() -> None:
    """A group cancels its tasks in the order of a set, which must not depend on where they lie in memory."""

    async def main() -> list[int]:
        ended: list[int] = []

        async def wait(number: int) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(number)

        async with asyncio.TaskGroup() as group:
            tasks = {group.create_task(wait(number)) for number in range(20)}
            await asyncio.sleep(1)
            for task in tasks:
                task.cancel()
        return ended

    ended = virtual_time.run(main())
    assert sorted(ended) == list(range(20))
    assert ended == virtual_time.run(main())


def test_a_thread_does_its_work_at_once() -> None:
    """A result of a thread comes without waiting, an error too."""

    async def main() -> int:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(divmod, 1, 0)
        return await asyncio.to_thread(pow, 2, 10)

    assert virtual_time.run(main()) == 1024


def test_waiting_for_nobody_is_an_error_and_no_hang() -> None:
    """When nothing can happen any more the run ends with a line that says so."""

    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="nobody is left"):
        virtual_time.run(main())
