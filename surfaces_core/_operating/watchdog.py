"""Notices from a thread that the event loop is held up, and says by whom."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from structlog.typing import FilteringBoundLogger

from surfaces_core._operating import stacks

STALL_S = 0.25
"""A loop that does not answer for longer is held up. It is asked as often, so half a second never passes unseen."""
PAUSE_S = 1.0
"""A watchdog that is later than this was kept from running itself."""
PROCESS = "the whole process"
"""It was stopped, had no processor, or another thread held the interpreter."""
STUCK_S = 10.0
"""A stall is said when it is over, and already while it lasts when it lasts so long."""


@contextmanager
def watching(log: FilteringBoundLogger) -> Iterator[None]:
    """Watch the running loop for as long as the block lasts."""
    watchdog = _Watchdog(asyncio.get_running_loop(), log)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.over.set()


class _Watchdog(threading.Thread):
    """Asks the loop for a sign of life; made in the loop's own thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, log: FilteringBoundLogger) -> None:
        super().__init__(name="surfaces-watchdog", daemon=True)
        self._loop = loop
        self._log = log
        self._watched = threading.get_ident()
        self._clock = time.pthread_getcpuclockid(self._watched)  # asked for while that thread is there for certain
        self._answered = threading.Event()
        self._worked_s = 0.0
        """Processor time of that thread."""
        self.over = threading.Event()

    def run(self) -> None:
        began = self._began()
        while not self.over.wait(STALL_S):
            where = self._holder(began)
            asked = time.monotonic()
            if where:
                self._log.warning("loop.stalled", seconds=_since(began), where=where)
            self._answered.clear()
            try:
                self._loop.call_soon_threadsafe(self._answered.set)
            except RuntimeError:  # the loop is closed
                return
            if not self._answered.wait(STALL_S):
                self._wait_out(asked)
            began = self._began()

    def _began(self) -> float:
        self._worked_s = time.clock_gettime(self._clock)
        return time.monotonic()

    def _holder(self, began: float) -> str:
        """Who kept this thread from running; empty when nobody did.

        A call into C that does not let go of the interpreter ends at the very line where the loop's thread now
        stands. It was working all the time, which it was not where the whole process stood still.
        """
        here = stacks.of_thread(self._watched)
        if time.monotonic() - began <= STALL_S + PAUSE_S:
            return ""
        worked_s = time.clock_gettime(self._clock) - self._worked_s
        return here if here and worked_s > STALL_S else PROCESS

    def _wait_out(self, asked: float) -> None:
        where = self._holder(asked) or stacks.of_thread(self._watched)
        if not self._answered.wait(STUCK_S):
            self._log.error("loop.stuck", seconds=_since(asked), where=stacks.of_thread(self._watched))
        while not self._answered.wait(STALL_S):
            if self.over.is_set():
                return
        self._log.warning("loop.stalled", seconds=_since(asked), where=where)


def _since(began: float) -> float:
    return round(time.monotonic() - began, 2)
