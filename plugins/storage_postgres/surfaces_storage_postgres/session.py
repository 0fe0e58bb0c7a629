"""Owns a connection to the server that holds the state: the lock, and what a server must promise."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from dataclasses import dataclass

import asyncpg

from surfaces_storage_postgres import failures, schema

HELD_S = 1.0
"""So long a lock is waited for: the server needs a moment to notice that a process was killed."""
_PAUSE_S = 0.05
_KEEPALIVE = {
    # A server that hears nothing of a vanished machine lets go of its lock after some 25 s, not after hours.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
_DURABLE = {
    "fsync": "set fsync = on in postgresql.conf",
    "full_page_writes": "set full_page_writes = on in postgresql.conf",
    "synchronous_commit": "ALTER ROLE … SET synchronous_commit = on",
}
"""Settings that may not be off, and what to do about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the state is."""

    dsn: str
    schema: str
    timeout_s: float

    @property
    def place(self) -> str:
        """For people."""
        return f"PostgreSQL, schema {self.schema}"

    @property
    def lock(self) -> int:
        """The number of the advisory lock, which is known in one database alone: as the schema's name is."""
        return int.from_bytes(hashlib.sha256(f"surfaces:{self.schema}".encode()).digest()[:8], "big", signed=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A connection that holds the lock; the lock ends with it, so nothing is ever written without it."""

    connection: asyncpg.Connection
    life: int
    """Counts the sessions that held this state, over all hosts."""


async def begin(target: Target, last: Session | None = None) -> Session:
    """Connect, take the lock and look at everything; `last` is the session that this one goes on from.

    Raises `StateError`: held by another host, or it was since.
    """
    connection = await connected(target)
    try:
        await _take(connection, target)
        await check_durability(connection, target)
        if last is None:
            await check_alone(connection, target)
        await schema.migrate(connection, target.schema, target.place)
        return Session(connection=connection, life=await _new_life(connection, target, last))
    except BaseException:
        connection.terminate()
        raise


async def connected(target: Target) -> asyncpg.Connection:
    """A connection that holds nothing yet."""
    return await asyncpg.connect(
        target.dsn,
        timeout=target.timeout_s,
        command_timeout=target.timeout_s,
        server_settings={"application_name": "surfaces", **_KEEPALIVE},
    )


async def _take(connection: asyncpg.Connection, target: Target) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + HELD_S
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", target.lock):
        if loop.time() > end:
            raise failures.Held(target.place, await holder(connection, target))
        await asyncio.sleep(_PAUSE_S)


async def holder(connection: asyncpg.Connection, target: Target) -> str | None:
    """Who had the state last."""
    try:
        return str(await connection.fetchval(f"SELECT holder FROM {schema.quoted(target.schema)}.meta"))  # noqa: S608
    except asyncpg.UndefinedTableError:  # it is making them
        return None


async def is_held(connection: asyncpg.Connection, target: Target) -> bool:
    """Whether somebody has the lock; it is shown in two halves."""
    held = await connection.fetchval(
        "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND (classid::bigint << 32 | objid::bigint) = $1",
        target.lock,
    )
    return held is not None


async def check_durability(connection: asyncpg.Connection, target: Target) -> None:
    """Raises `StateError` where a crash of the server could lose what it acknowledged, or where it only reads."""
    if await connection.fetchval("SELECT pg_is_in_recovery()"):
        raise failures.standby(target.place)
    for row in await connection.fetch("SELECT name, setting FROM pg_settings WHERE name = ANY($1)", list(_DURABLE)):
        if row["setting"] == "off":
            raise failures.not_durable(target.place, row["name"], _DURABLE[row["name"]])


async def check_alone(connection: asyncpg.Connection, target: Target) -> None:
    """Raises `StateError` where the process behind a connection serves another one as well.

    A pooler that lends processes for a transaction alone gives the next who asks the one that was just put
    back, though both are connected. Where it is busy it may give another, so silence proves nothing.
    """
    other = await connected(target)
    try:
        first, second = [await one.fetchval("SELECT pg_backend_pid()") for one in (connection, other)]
    finally:
        other.terminate()
    if first == second:
        raise failures.pooled(target.place)


async def _new_life(connection: asyncpg.Connection, target: Target, last: Session | None) -> int:
    meta = f"{schema.quoted(target.schema)}.meta"
    if last is not None:
        now = await connection.fetchrow(f"SELECT life, holder FROM {meta}")  # noqa: S608
        if now is None or now["life"] != last.life:
            raise failures.superseded(target.place, None if now is None else now["holder"])
    return int(await connection.fetchval(f"UPDATE {meta} SET life = life + 1, holder = $1 RETURNING life", ours()))  # noqa: S608


def ours() -> str:
    """Who we are, as the state says it."""
    return f"process {os.getpid()} on {socket.gethostname()}"
