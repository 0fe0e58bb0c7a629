"""Owns the one thread that touches the database: it takes jobs from a queue and commits them in groups."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from surfaces_core import Changes, Page, StateError
from surfaces_storage_sqlite import failures, table
from surfaces_storage_sqlite.file import Database, open_database

Result = TypeVar("Result")
Query = Callable[[sqlite3.Connection], Result]
_UNSYNCED = (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC)
"""After one of these nobody knows what is on the disk, and a second fsync that succeeds says nothing."""


@dataclass(frozen=True, slots=True)
class _Job:
    """One transaction's changes, or one query; never both."""

    future: asyncio.Future[Any]
    changes: Changes | None = None
    query: Query[Any] | None = None


class Writer:
    """The loop's side submits jobs and gets futures; the thread's side does them in the order they came.

    Everything that waits in the queue is done in one transaction of SQLite, so one fsync serves many
    callers, and nobody hears of a result before that fsync. When it fails, it fails for all of them
    and none of their changes remain; the next group starts anew. After a failed fsync, and when the
    file was taken away, no group does.
    """

    def __init__(self, path: Path, busy_timeout_s: float) -> None:
        self._path = path
        self._busy_timeout_s = busy_timeout_s
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._over: StateError | None = None
        """Why nothing more can be submitted."""
        # A daemon, so that a loop that died without closing does not keep the process: all that was
        # acknowledged is on disk.
        self._thread = Thread(target=self._live, name="surfaces-storage", daemon=True)

    # The loop's side ---------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the database. Raises `StateError` when it cannot be used."""
        self._thread.start()
        try:
            await self._opened
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Finish what is queued, close the database and let go of its lock, even if cancelled meanwhile."""
        self._over = self._over or failures.closed(self._path)
        self._jobs.put(None)
        await asyncio.shield(self._ended)
        self._thread.join()

    def write(self, changes: Changes) -> asyncio.Future[None]:
        """Queue a transaction's changes; done when they are durable. Raises `StateError` there."""
        return self._submit(_Job(self._loop.create_future(), changes))

    def read(self, keys: Sequence[bytes]) -> asyncio.Future[Sequence[bytes | None]]:
        """Queue a look at some keys. Raises `StateError` there."""
        return self.ask(partial(table.read, keys=keys))

    def page(self, start: bytes, end: bytes) -> asyncio.Future[Page]:
        """Queue a part of a scan. Raises `StateError` there."""
        return self.ask(partial(table.page, start=start, end=end))

    def ask(self, query: Query[Result]) -> asyncio.Future[Result]:
        """Queue a query; it sees every change queued before it, durable by then. Raises `StateError` there."""
        return self._submit(_Job(self._loop.create_future(), None, query))

    def _submit(self, job: _Job) -> asyncio.Future[Any]:
        if self._over is not None:
            raise _again(self._over)
        self._jobs.put(job)
        return job.future

    def _end(self, why: StateError) -> None:
        self._over = why
        waiting = [self._opened]
        while not self._jobs.empty():
            job = self._jobs.get_nowait()
            if job is not None:
                waiting.append(job.future)
        _reject(waiting, why)
        _resolve([self._ended], [None])

    # The thread's side -------------------------------------------------------------------------

    def _live(self) -> None:
        why = failures.closed(self._path)
        try:
            with open_database(self._path, self._busy_timeout_s) as database:
                self._call(_resolve, [self._opened], [None])
                while self._serve(database):
                    pass
        except StateError as error:
            why = error
        finally:
            self._call(self._end, why)

    def _serve(self, database: Database) -> bool:
        """Do one group; whether more may come. Raises what no group can follow on."""
        jobs, more = self._take()
        futures = [job.future for job in jobs]
        try:
            results = _perform(database, jobs)
        except (sqlite3.Error, MemoryError) as error:
            failure = self._translated(error)
            self._call(_reject, futures, failure)
            if getattr(error, "sqlite_errorcode", None) in _UNSYNCED:
                raise failure from error
        except BaseException as error:
            self._call(_reject, futures, error if isinstance(error, StateError) else failures.closed(self._path))
            raise
        else:
            self._call(_resolve, futures, results)
        return more

    def _translated(self, error: sqlite3.Error | MemoryError) -> StateError:
        if isinstance(error, MemoryError):  # what SQLite calls so too the module raises as Python does
            return failures.no_memory(self._path)
        return failures.from_sqlite(self._path, error)

    def _take(self) -> tuple[list[_Job], bool]:
        """Everything that is queued, at least one; False behind it when the end stands in the queue."""
        jobs: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            jobs.append(job)
            if self._jobs.empty():
                return jobs, True
            job = self._jobs.get_nowait()
        return jobs, False

    def _call(self, function: Callable[..., None], *args: Any) -> None:
        self._loop.call_soon_threadsafe(function, *args)


def _perform(database: Database, jobs: Sequence[_Job]) -> list[Any]:
    """Do the jobs in order, those that write in one transaction; the result of each."""
    connection = database.connection
    if all(job.changes is None for job in jobs):
        return _run(connection, jobs)
    try:
        connection.execute("BEGIN IMMEDIATE")
        results = _run(connection, jobs)
        database.presence.check()  # else another process may have these files by now
        connection.execute("COMMIT")
        database.presence.check()  # else what is acknowledged now would be lost
    except BaseException:
        # SQLite has rolled back by itself after some errors, a full disk among them.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return results


def _run(connection: sqlite3.Connection, jobs: Sequence[_Job]) -> list[Any]:
    results: list[Any] = []
    pending: dict[bytes, bytes | None] = {}
    for job in jobs:
        if job.query is None:
            pending.update(job.changes or {})
            results.append(None)
        else:
            table.apply(connection, pending)
            pending.clear()
            results.append(job.query(connection))
    table.apply(connection, pending)
    return results


def _resolve(futures: Sequence[asyncio.Future[Any]], results: Sequence[Any]) -> None:
    for future, result in zip(futures, results, strict=True):
        if not future.done():  # its caller may have been cancelled
            future.set_result(result)


def _reject(futures: Sequence[asyncio.Future[Any]], error: StateError) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(_again(error))


def _again(error: StateError) -> StateError:
    """The same for one more caller: a raised error collects the traceback of its raiser."""
    return StateError(str(error), exit_code=error.exit_code)
