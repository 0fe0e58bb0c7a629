"""Owns a storage over a database elsewhere: transactions kept here until they are whole, then handed over in groups.

Bodies of transactions run one at a time. What a body changed is queued when it ends, and one task hands
the queue to the database in order: changes that wait together become one commit, so that many callers
share one round trip and one sync, and nobody hears of a result before it is durable. Whoever reads is
queued behind the changes before it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from surfaces_core.contracts import Storage, Tx
from surfaces_core.errors import StateError

Result = TypeVar("Result")
Changes = Mapping[bytes, bytes | None]
"""What becomes of some keys; None deletes one."""
MAX_KEY_BYTES = 1024
MAX_VALUE_BYTES = 16 * 1024 * 1024
GROUP_BYTES = 8 * 1024 * 1024
"""Changes of several transactions are handed over together up to so many bytes."""
_BEYOND = b"\xff" * (MAX_KEY_BYTES + 1)
"""Sorts behind every key."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a scan, ordered by key as bytes."""

    rows: Sequence[tuple[bytes, bytes]]
    complete: bool
    """Nothing follows within the bounds that were asked for; a page that is not complete has a row."""


class Database(ABC):
    """An open database that nobody else writes to; called by one task, one call at a time.

    Whatever goes wrong is a `StateError`. After one nothing more is asked of this database: the host ends,
    and its next life begins with what is stored.
    """

    @abstractmethod
    async def read(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """The values of several keys, in their order, with None for each that is not there."""

    @abstractmethod
    async def page(self, start: bytes, end: bytes) -> Page:
        """The pairs from `start` up to but without `end`, as many of them as are good at a time."""

    @abstractmethod
    async def write(self, changes: Changes) -> None:
        """Make changes, all or none; returns when they are durable."""


class BufferedStorage(Storage):
    """A storage that has to say only how its database is opened, read and changed.

    Who is cancelled while a commit runs does not learn whether it came through.
    """

    @abstractmethod
    def database(self) -> AbstractAsyncContextManager[Database]:
        """The database for as long as a block; entering keeps other processes out. Raises `StateError`."""

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._turn = asyncio.Lock()
            self._queue = _Queue(await stack.enter_async_context(self.database()))
            group = await stack.enter_async_context(asyncio.TaskGroup())
            group.create_task(self._queue.serve())
            stack.callback(self._queue.close)
            self._open = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    def transaction(self) -> AbstractAsyncContextManager[Tx]:
        return BufferedTx(self._queue, self._turn)


@dataclass(slots=True)
class _Job:
    """The changes of one transaction, or one thing to read."""

    future: asyncio.Future[Any]
    changes: Changes | None = None
    query: Callable[[Database], Awaitable[Any]] | None = None


class Queue(Protocol):
    """Where transactions read and where their changes go: one thing after the other, in the order they came."""

    def read(self, keys: Sequence[bytes]) -> Awaitable[Sequence[bytes | None]]:
        """The values of several keys behind every change queued before, in their order."""
        ...

    def page(self, start: bytes, end: bytes) -> Awaitable[Page]:
        """As `Database.page`, behind every change queued before."""
        ...

    def write(self, changes: Changes) -> Awaitable[None]:
        """Queue the changes at once; done when they are durable."""
        ...


@dataclass(slots=True)
class _Queue:
    """What waits for the database, in order; the first failure is the last thing that happens."""

    database: Database
    _jobs: deque[_Job] = field(default_factory=deque)
    _more: asyncio.Event = field(default_factory=asyncio.Event)
    _over: StateError | None = None

    def write(self, changes: Changes) -> asyncio.Future[None]:
        """Queue changes; done when they are durable."""
        return self._add(_Job(asyncio.get_running_loop().create_future(), changes=changes))

    def read(self, keys: Sequence[bytes]) -> asyncio.Future[Sequence[bytes | None]]:
        """Queue a look at some keys; it sees every change queued before it, durable by then."""
        return self._ask(lambda database: database.read(keys))

    def page(self, start: bytes, end: bytes) -> asyncio.Future[Page]:
        """Queue a part of a scan; likewise."""
        return self._ask(lambda database: database.page(start, end))

    def _ask(self, query: Callable[[Database], Awaitable[Result]]) -> asyncio.Future[Result]:
        return self._add(_Job(asyncio.get_running_loop().create_future(), query=query))

    def _add(self, job: _Job) -> asyncio.Future[Any]:
        if self._over is not None:
            raise _again(self._over)
        self._jobs.append(job)
        self._more.set()
        return job.future

    def close(self) -> None:
        """Take nothing more; what is queued is still done."""
        self._over = self._over or StateError("the storage is closed")
        self._more.set()

    async def serve(self) -> None:
        """Do what is queued until it is closed and empty."""
        try:
            while await self._waiting():
                await self._next()
        finally:
            self._fail(StateError("the storage is closed"))  # it was cancelled, or there is nothing left

    async def _waiting(self) -> bool:
        while not self._jobs:
            if self._over is not None:
                return False
            self._more.clear()
            await self._more.wait()
        return True

    async def _next(self) -> None:
        job = self._jobs[0]
        if job.query is None:
            jobs, changes = self._group()
            done: Awaitable[Any] = self.database.write(changes)
        else:
            jobs = [self._jobs.popleft()]
            if job.future.done():  # cancelled: nobody wants to know
                return
            done = job.query(self.database)
        try:
            result = await done
        except StateError as error:
            self._fail(error, *jobs)
        except BaseException:  # a bug of the driver, or its end: nobody must wait for ever
            self._fail(StateError("the storage ended while it was used"), *jobs)
            raise
        else:
            for one in jobs:
                if not one.future.done():
                    one.future.set_result(result)

    def _group(self) -> tuple[list[_Job], Changes]:
        """The changes at the head of the queue, as one."""
        jobs: list[_Job] = []
        merged: dict[bytes, bytes | None] = {}
        size = 0
        while self._jobs and self._jobs[0].changes is not None and size < GROUP_BYTES:
            job = self._jobs.popleft()
            jobs.append(job)
            merged.update(job.changes or {})
            size += sum(len(key) + len(value or b"") for key, value in (job.changes or {}).items())
        return jobs, merged

    def _fail(self, error: StateError, *jobs: _Job) -> None:
        self._over = error if self._over is None or jobs else self._over
        for job in (*jobs, *self._jobs):
            if not job.future.done():
                job.future.set_exception(_again(error))
                job.future.exception()  # who was cancelled meanwhile does not ask for it
        self._jobs.clear()


def _again(error: StateError) -> StateError:
    """The same for somebody else: each has a traceback of its own."""
    return StateError(str(error), exit_code=error.exit_code)


class BufferedTx(Tx):
    """One transaction: its changes are kept here until its block is left, then queued as one.

    For a storage with a queue of its own; `turn` lets one body run at a time.
    """

    __slots__ = ("_changes", "_over", "_queue", "_turn")

    def __init__(self, queue: Queue, turn: asyncio.Lock) -> None:
        self._queue = queue
        self._turn = turn
        self._changes: dict[bytes, bytes | None] = {}
        self._over = False

    async def __aenter__(self) -> Self:
        await self._turn.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        try:
            # Queued under the lock, so the next body reads behind these changes; waited for outside
            # of it, so the next body can join this commit.
            committed = self._queue.write(self._changes) if kind is None and self._changes else None
        finally:
            self._turn.release()
        if committed is not None:
            await committed

    async def get(self, key: bytes) -> bytes | None:
        (value,) = await self.get_many([key])
        return value

    async def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        self._refuse_when_over()
        unknown = list({key: None for key in keys if key not in self._changes})
        known = dict(self._changes)
        if unknown:
            values = await self._queue.read(unknown)
            known.update(zip(unknown, values, strict=True))
        return [known[key] for key in keys]

    async def put(self, key: bytes, value: bytes) -> None:
        self._refuse_when_over()
        if not 0 < len(key) <= MAX_KEY_BYTES or len(value) > MAX_VALUE_BYTES:
            raise ValueError(f"a key of {len(key)} bytes with a value of {len(value)} is out of bounds")
        self._changes[key] = value

    async def delete(self, key: bytes) -> None:
        self._refuse_when_over()
        self._changes[key] = None

    async def scan(self, prefix: bytes) -> AsyncIterator[tuple[bytes, bytes]]:
        self._refuse_when_over()
        own = sorted(key for key in self._changes if key.startswith(prefix))
        start, end, complete = prefix, _successor(prefix), False
        while not complete:
            self._refuse_when_over()
            page = await self._queue.page(start, end)
            complete = page.complete
            start = end if complete else page.rows[-1][0] + b"\0"
            cut = bisect_left(own, start)
            for pair in self._merged(page.rows, own[:cut]):
                yield pair
            own = own[cut:]

    def _merged(self, rows: Sequence[tuple[bytes, bytes]], own: Sequence[bytes]) -> Sequence[tuple[bytes, bytes]]:
        if not own:
            return rows
        values: dict[bytes, bytes | None] = dict(rows)
        values.update((key, self._changes[key]) for key in own)
        return [(key, value) for key, value in sorted(values.items()) if value is not None]

    def _refuse_when_over(self) -> None:
        if self._over:  # a late change would be lost without a word
            raise RuntimeError("this transaction is over")


def _successor(prefix: bytes) -> bytes:
    """The first key behind all those that begin with `prefix`."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else _BEYOND
