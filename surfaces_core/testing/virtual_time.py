"""Runs a coroutine on a clock of its own: hours pass as soon as everybody waits for them.

Only for what waits on the event loop alone; there are no sockets. What happens, and in which order, is
the same in every process: tasks in sets have an order, and threads do their work at once.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from itertools import count
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class VirtualTask(asyncio.Task[Any]):
    """A task with a place of its own in a set: by its number, where others have their address in memory."""

    def __init__(self, coro: Coroutine[Any, Any, Any], *, number: int, **options: Any) -> None:
        self._number = number
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop whose time jumps to its next timer when nothing is left to do now."""

    _ready: deque[asyncio.Handle]
    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        """The earliest first; of those at one instant the one that was set first."""
        self._numbers = count(1)
        self.set_task_factory(self._task)

    def _task(self, _loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> VirtualTask:
        return VirtualTask(coro, number=next(self._numbers), loop=self, **options)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Set a timer."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing: it is passed over when its time comes."""

    def _write_to_self(self) -> None:
        """Nothing: nobody waits in a way that could be woken."""

    def run_in_executor(self, executor: object, func: Callable[[Unpack[Ts]], T], *args: *Ts) -> asyncio.Future[T]:
        """Do it at once: a thread would end at a moment of its own."""
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is for who waits for it
            done.set_exception(error)
        return done

    def _run_once(self) -> None:
        """What is ready now, and no more: what that makes ready has its turn next time."""
        ready, timers = self._ready, self._timers
        if not ready and not self._stopping:
            self._jump()
        while timers and timers[0][0] <= self._now:
            ready.append(heapq.heappop(timers)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()  # noqa: SLF001 - as every event loop does

    def _jump(self) -> None:
        """To the next timer that somebody still waits for."""
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        if not timers:
            raise RuntimeError("everybody waits, and nobody is left who could wake them")
        self._now = max(self._now, timers[0][0])


def run(main: Coroutine[Any, Any, T]) -> T:
    """Like `asyncio.run`, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
