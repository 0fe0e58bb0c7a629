"""Runs disk work in threads of its own, so that a stalled volume holds up nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from surfaces_files_volume import refusals

Result = TypeVar("Result")

_THREADS = 4


class DiskThreads:
    """A few threads; open from its making until `close`."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="files")

    async def run(self, work: Callable[[], Result], *, undo: Callable[[Result], None] | None = None) -> Result:
        """Do `work` in a thread, and when cancelled wait for it before raising.

        A thread cannot be stopped: without the wait a descriptor could be closed, and its number
        given to another file, under the thread's hands. A result that nobody gets goes to `undo`.
        """
        future = asyncio.wrap_future(self._pool.submit(copy_context().run, work))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await _finished(future)
            if undo is not None and future.exception() is None:
                await self.run(partial(undo, future.result()))
            raise

    def close(self) -> None:
        """Wait for what still runs, which is nothing when every user is through."""
        self._pool.shutdown()


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """Disk work for one file; its `OSError`s become ours here and nowhere else."""

    threads: DiskThreads
    path: str
    """As it was asked for."""
    verb: str
    """What is being done, for the sentence to the person: `send`, `take` or `remove`."""

    async def run(self, work: Callable[[], Result], *, undo: Callable[[Result], None] | None = None) -> Result:
        """`DiskThreads.run`; raises `Unavailable` and `Rejected`."""
        try:
            return await self.threads.run(work, undo=undo)
        except OSError as error:
            raise refusals.from_os_error(error, self.path, self.verb) from error


async def _finished(future: asyncio.Future[Any]) -> None:
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:  # asked again: still not before the thread is done
            continue
