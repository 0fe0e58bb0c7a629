"""Runs a coroutine on a clock of its own: hours pass as soon as everybody waits for them.

Only for what waits on the event loop alone; a socket does not know this clock. What happens, and in
which order, is the same in every process: tasks in sets have an order, and threads do their work at once.
"""

from __future__ import annotations

import asyncio
import heapq
import selectors
from collections.abc import Callable, Coroutine
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


class _NoSockets(selectors.SelectSelector):
    """Finds nothing, at once: there is nobody outside to wait for."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to its next timer when nothing is left to do now."""

    _scheduled: list[asyncio.TimerHandle]
    _ready: Any
    _stopping: bool
    _timer_cancelled_count: int

    def __init__(self) -> None:
        super().__init__(_NoSockets())
        self._now = 0.0
        self._numbers = count(1)
        self.set_task_factory(self._task)

    def _task(self, _loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> VirtualTask:
        return VirtualTask(coro, number=next(self._numbers), loop=self, **options)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def run_in_executor(self, executor: object, func: Callable[[Unpack[Ts]], T], *args: *Ts) -> asyncio.Future[T]:
        """Do it at once: a thread would end at a moment of its own."""
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is for who waits for it
            done.set_exception(error)
        return done

    def _run_once(self) -> None:
        if not self._ready and not self._stopping:
            self._drop_cancelled()
            if not self._scheduled:
                raise RuntimeError("everybody waits, and nobody is left who could wake them")
            self._now = max(self._now, self._scheduled[0].when())
        super()._run_once()  # type: ignore[misc]

    def _drop_cancelled(self) -> None:
        """Forget cancelled timers at the front: the time until the one behind them would really be slept."""
        while self._scheduled and self._scheduled[0].cancelled():
            timer = heapq.heappop(self._scheduled)
            timer._scheduled = False  # type: ignore[attr-defined]  # noqa: SLF001 - as the loop itself does it
            self._timer_cancelled_count -= 1


def run(main: Coroutine[Any, Any, T]) -> T:
    """Like `asyncio.run`, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
