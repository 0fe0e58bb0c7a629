"""Lanes: strictly in order inside a lane, side by side across lanes, with a bound on both.

A waiting lane costs a queue, not a task: a fixed set of workers takes the lane that has waited
longest, does its first item once and puts the lane back behind the others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from surfaces_core._engine.foreign import contained

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Standing(Generic[T]):
    """A lane as it stands right now."""

    items: Sequence[T]
    """Those that are not done, in their order."""
    busy: bool
    """The first one is worked on."""
    wait_s: float | None
    """Seconds until the next try of the first one, where it waits for that."""


class _Lane(Generic[T]):
    __slots__ = ("busy", "items", "name", "timer")

    def __init__(self, name: Hashable) -> None:
        self.name = name
        self.items: deque[T] = deque()
        self.timer: asyncio.TimerHandle | None = None
        self.busy = False


class Lanes(Generic[T]):
    """Runs `work` on every item. What `work` returns is None when the item is done, or the item to
    try again and the seconds to wait before; an exception from it ends `run`.
    """

    def __init__(self, work: Callable[[T], Awaitable[tuple[T, float] | None]], limit: int) -> None:
        self._work = work
        self._limit = limit
        self._lanes: dict[Hashable, _Lane[T]] = {}
        self._items = 0
        self._ready: asyncio.Queue[_Lane[T] | None] = asyncio.Queue()
        self._stopping = False
        self._empty = asyncio.Event()
        self._empty.set()
        self.on_failure: Callable[[BaseException], None] = lambda error: None
        """Told what ends `run`, before the other workers have ended."""

    def put(self, name: Hashable, item: T) -> None:
        """Add an item at the end of a lane."""
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = _Lane(name)
            self._empty.clear()
            self._ready.put_nowait(lane)
        lane.items.append(item)
        self._items += 1

    def starts_now(self, name: Hashable, others: int = 0) -> bool:
        """Whether the next item of a lane will be begun at once, `others` lanes being put before it."""
        return name not in self._lanes and len(self._lanes) + others < self._limit

    def depth(self, name: Hashable) -> int:
        """Items of a lane that are not done, the running one included."""
        lane = self._lanes.get(name)
        return 0 if lane is None else len(lane.items)

    def __len__(self) -> int:
        """Items of all lanes that are not done."""
        return self._items

    @property
    def waiting(self) -> int:
        """Lanes whose first item waits for its next try."""
        return sum(lane.timer is not None for lane in self._lanes.values())

    def wake(self, name: Hashable) -> bool:
        """Let a lane that waits for a try or a worker wait no longer than it must; False when it doesn't wait."""
        lane = self._lanes.get(name)
        if lane is None or lane.busy:
            return False
        if lane.timer is not None:
            lane.timer.cancel()
            self._rejoin(lane)
        return True

    def names(self) -> list[Hashable]:
        """Every lane that is not empty."""
        return list(self._lanes)

    def waiting_in(self, name: Hashable) -> Sequence[T]:
        """The items of one lane that are not worked on."""
        lane = self._lanes.get(name)
        return () if lane is None else tuple(lane.items)[1 if lane.busy else 0 :]

    def replace(self, name: Hashable, old: T, new: T) -> None:
        """Put one item in the place of another that is not worked on."""
        items = self._lanes[name].items
        items[next(index for index, item in enumerate(items) if item is old)] = new

    def items(self, name: Hashable) -> Sequence[T]:
        """The items of one lane that are not done."""
        lane = self._lanes.get(name)
        return () if lane is None else tuple(lane.items)

    def next_items(self) -> list[T]:
        """The first item of every lane that is not worked on."""
        return [lane.items[0] for lane in self._lanes.values() if not lane.busy]

    def standings(self) -> list[Standing[T]]:
        """Every lane that is not empty."""
        now = asyncio.get_running_loop().time()
        return [
            Standing(lane.items, lane.busy, None if lane.timer is None else max(0.0, lane.timer.when() - now))
            for lane in self._lanes.values()
        ]

    async def drained(self) -> None:
        """Wait until every item is done."""
        await self._empty.wait()

    def stop(self) -> None:
        """Begin no further item; `run` returns when those that run are done."""
        if not self._stopping:
            self._stopping = True
            for _ in range(self._limit):
                self._ready.put_nowait(None)

    async def run(self) -> None:
        """Work until `stop`."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(self._limit):
                workers.create_task(self._serve())

    async def _serve(self) -> None:
        me = asyncio.current_task()
        assert me is not None
        # a plugin may have swallowed the cancellation that was meant to end this
        while not (self._stopping or me.cancelling()) and (lane := await self._ready.get()) and not self._stopping:
            lane.busy = True
            try:
                with contained():
                    again = await self._work(lane.items[0])
            except Exception as error:
                self.on_failure(error)
                raise
            lane.busy = False
            if again is not None:
                lane.items[0], delay = again
                lane.timer = asyncio.get_running_loop().call_later(delay, self._rejoin, lane)
                continue
            lane.items.popleft()
            self._items -= 1
            if lane.items:
                self._ready.put_nowait(lane)
            else:
                del self._lanes[lane.name]
                if not self._lanes:
                    self._empty.set()

    def _rejoin(self, lane: _Lane[T]) -> None:
        lane.timer = None
        self._ready.put_nowait(lane)
