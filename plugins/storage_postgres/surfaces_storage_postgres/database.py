"""Owns what is asked of the table, over a connection that is made anew where nothing is in doubt."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

import asyncpg
from structlog.typing import FilteringBoundLogger

from surfaces_core import Changes, Database, Page
from surfaces_storage_postgres import failures, session
from surfaces_storage_postgres.schema import quoted
from surfaces_storage_postgres.session import Session, Target

Result = TypeVar("Result")
PAGE_ROWS = 256
PAGE_BYTES = 1024 * 1024
STATEMENT_BYTES = 32 * 1024 * 1024
"""Changes go in several statements of one transaction beyond this size; an array ends at 1 GB."""
_PAUSE_S = 0.2


class PostgresDatabase(Database):
    """The table of one state, held by this process."""

    def __init__(self, target: Target, first: Session, reconnect_s: float, log: FilteringBoundLogger) -> None:
        table = f"{quoted(target.schema)}.state"
        self._target = target
        self._session = first
        self._reconnect_s = reconnect_s
        self._log = log
        self._select = f"SELECT key, value FROM {table} WHERE key = ANY($1::bytea[])"  # noqa: S608
        # Cut by size as well, which is known without a look at the values themselves.
        self._page = (
            "SELECT key, value, found FROM (SELECT key, value, count(*) OVER () AS found,"  # noqa: S608
            " sum(octet_length(value)) OVER (ORDER BY key) - octet_length(value) AS before"
            f" FROM (SELECT key, value FROM {table} WHERE key >= $1 AND key < $2 ORDER BY key LIMIT {PAGE_ROWS}) few"
            f") sized WHERE before < {PAGE_BYTES} ORDER BY key"
        )
        # One statement is one transaction, and one round trip. Its keys are different ones.
        self._apply = (
            f"WITH gone AS (DELETE FROM {table} WHERE key = ANY($3::bytea[]))"  # noqa: S608
            f" INSERT INTO {table} SELECT * FROM unnest($1::bytea[], $2::bytea[])"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        )

    async def read(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        rows = await self._asked(lambda connection: connection.fetch(self._select, keys))
        found = {row["key"]: row["value"] for row in rows}
        return [found.get(key) for key in keys]

    async def page(self, start: bytes, end: bytes) -> Page:
        rows = await self._asked(lambda connection: connection.fetch(self._page, start, end))
        complete = not rows or len(rows) == rows[0]["found"] < PAGE_ROWS
        return Page([(row["key"], row["value"]) for row in rows], complete)

    async def write(self, changes: Changes) -> None:
        connection = await self._live()
        statements = list(_statements(changes))
        try:
            if len(statements) == 1:
                await connection.execute(self._apply, *statements[0])
                return
            async with connection.transaction():
                for statement in statements:
                    await connection.execute(self._apply, *statement)
        except failures.FAILURES as error:
            if not failures.lost(error):
                raise failures.translated(self._target.place, error) from error
            # The answer may have been lost behind the commit. It is not sent again: the host ends.
            raise failures.in_doubt(self._target.place, error) from error

    async def close(self) -> None:
        """Let go of the lock and the connection."""
        connection = self._session.connection
        try:
            await connection.close(timeout=self._target.timeout_s)
        except failures.FAILURES:
            connection.terminate()

    async def _asked(self, query: Callable[[asyncpg.Connection], Awaitable[Result]]) -> Result:
        """A query is asked once more where its connection ended: nobody else wrote meanwhile."""
        try:
            try:
                return await query(await self._live())
            except failures.FAILURES as error:
                if not failures.lost(error):
                    raise
                self._session.connection.terminate()
                return await query(await self._live())
        except failures.FAILURES as error:
            raise failures.translated(self._target.place, error) from error

    async def _live(self) -> asyncpg.Connection:
        """The connection, or a new one that goes on where it ended; nothing is under way."""
        if not self._session.connection.is_closed():
            return self._session.connection
        self._log.warning("storage.lost", place=self._target.place)
        end = asyncio.get_running_loop().time() + self._reconnect_s
        while True:
            try:
                self._session = await session.begin(self._target, self._session)
            except failures.FAILURES as error:
                failure = failures.translated(self._target.place, error)
                if failure.exit_code != os.EX_UNAVAILABLE or asyncio.get_running_loop().time() > end:
                    raise failure from error
            except failures.Held as error:
                # The server may not have noticed yet that our old connection is gone.
                if error.holder != session.ours() or asyncio.get_running_loop().time() > end:
                    raise
            else:
                self._log.info("storage.found", place=self._target.place)
                return self._session.connection
            await asyncio.sleep(_PAUSE_S)


def _statements(changes: Changes) -> Iterator[tuple[list[bytes], list[bytes], list[bytes]]]:
    """Keys, their values, and keys to delete, for one statement after the other."""
    keys: list[bytes] = []
    values: list[bytes] = []
    size = 0
    for key, value in changes.items():
        if value is None:
            continue
        keys.append(key)
        values.append(value)
        size += len(value)
        if size >= STATEMENT_BYTES:
            yield keys, values, []
            keys, values, size = [], [], 0
    yield keys, values, [key for key, value in changes.items() if value is None]
