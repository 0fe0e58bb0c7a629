"""Lanes: in order inside, side by side across, bounded, and nothing forgotten."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surfaces_core._engine.lanes import Lanes

Item = tuple[int, int, int]
"""Lane, number in its lane, how often it is put off first."""


@given(
    plan=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=40),
    limit=st.integers(1, 5),
    yields=st.lists(st.integers(0, 3), min_size=1, max_size=10),
)
def test_any_work_is_done_once_in_the_order_of_its_lane(
    plan: list[tuple[int, int]], limit: int, yields: list[int]
) -> None:
    """Whatever is put off and however the tasks interleave, each lane's items end in their order, within the limit."""
    counts: dict[int, int] = defaultdict(int)
    items: list[Item] = []
    for lane, tries in plan:
        items.append((lane, counts[lane], tries))
        counts[lane] += 1
    done: dict[int, list[int]] = defaultdict(list)
    running: set[int] = set()
    most = 0

    async def work(item: Item) -> tuple[Item, float] | None:
        nonlocal most
        lane, number, tries = item
        assert lane not in running, "two items of one lane at the same time"
        running.add(lane)
        most = max(most, len(running))
        for _ in range(yields[(lane + number) % len(yields)]):
            await asyncio.sleep(0)
        running.discard(lane)
        if tries:
            return (lane, number, tries - 1), 0.0
        done[lane].append(number)
        return None

    async def run() -> None:
        lanes: Lanes[Item] = Lanes(work, limit)
        async with asyncio.TaskGroup() as group:
            group.create_task(lanes.run())
            for item in items:
                lanes.put(item[0], item)
            await lanes.drained()
            assert len(lanes) == 0
            lanes.stop()

    asyncio.run(run())
    assert done == {lane: list(range(count)) for lane, count in counts.items() if count}
    assert most <= limit


async def test_a_lane_that_never_ends_leaves_room_for_the_others() -> None:
    """With two workers one hanging item holds one of them, and a fair share goes to every other lane."""
    seen: list[str] = []

    async def work(item: str) -> None:
        seen.append(item)
        if item == "hang":
            await asyncio.Event().wait()

    lanes: Lanes[str] = Lanes(work, 2)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(lanes.run())
        lanes.put("stuck", "hang")
        for name in "abc":
            for number in range(2):
                lanes.put(name, f"{name}{number}")
        async with asyncio.timeout(5):
            while len(seen) < 7:  # noqa: ASYNC110 - lanes have no event for this
                await asyncio.sleep(0)
        task.cancel()
    assert seen == ["hang", "a0", "b0", "c0", "a1", "b1", "c1"]


async def test_a_lane_that_waits_can_be_woken() -> None:
    """`wake` does the first item at once; a lane that does not wait is left alone."""
    tries = 0

    async def work(item: str) -> tuple[str, float] | None:
        nonlocal tries
        tries += 1
        return (item, 3600.0) if tries == 1 else None

    lanes: Lanes[str] = Lanes(work, 1)
    async with asyncio.TaskGroup() as group:
        group.create_task(lanes.run())
        assert not lanes.wake("a")
        lanes.put("a", "item")
        async with asyncio.timeout(5):
            while not lanes.waiting:  # noqa: ASYNC110 - lanes have no event for this
                await asyncio.sleep(0)
        assert lanes.wake("a")
        await lanes.drained()
        lanes.stop()
    assert tries == 2


async def test_an_exception_of_the_work_ends_the_run() -> None:
    """A bug is never swallowed by the lanes."""

    async def work(_item: str) -> None:
        raise ZeroDivisionError

    lanes: Lanes[str] = Lanes(work, 1)
    lanes.put("a", "item")
    with pytest.raises(ExceptionGroup) as caught:
        await lanes.run()
    assert caught.group_contains(ZeroDivisionError)
