"""A look at the server before a start, for `surfaces check`; takes no lock and changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg

from surfaces_core import Finding, StateError
from surfaces_storage_postgres import failures, schema, session
from surfaces_storage_postgres.session import Target


async def examine(target: Target) -> AsyncIterator[Finding]:
    """Whether the server can be reached, keeps what it acknowledges, and whose the schema is."""
    try:
        connection = await session.connected(target)
    except (*failures.FAILURES, ValueError) as error:
        yield Finding(what="server", said=str(failures.translated(target.place, error)), level="wrong")
        return
    try:
        yield Finding(what="server", said=f"{target.place}: {connection.get_server_version().major}")
        for what, look in (("pooler", _alone), ("durable", _durable), ("schema", _whose)):
            try:
                yield await look(connection, target)
            except StateError as error:
                yield Finding(what=what, said=str(error), level="wrong")
            except failures.FAILURES as error:
                yield Finding(what=what, said=str(failures.translated(target.place, error)), level="wrong")
    finally:
        connection.terminate()


async def _alone(connection: asyncpg.Connection, target: Target) -> Finding:
    await session.check_alone(connection, target)
    return Finding(what="pooler", said="none is seen that would lend our connection to others")


async def _durable(connection: asyncpg.Connection, target: Target) -> Finding:
    await session.check_durability(connection, target)
    return Finding(what="durable", said="keeps what it acknowledges")


async def _whose(connection: asyncpg.Connection, target: Target) -> Finding:
    version = await schema.version(connection, target.schema, target.place)
    if version > len(schema.MIGRATIONS):
        raise failures.newer(target.place, version, len(schema.MIGRATIONS))
    if version:
        await connection.fetchval(f"SELECT 1 FROM {schema.quoted(target.schema)}.state LIMIT 1")  # noqa: S608 - quoted
        return await _held(connection, target)
    made = await connection.fetchval("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1", target.schema)
    right = "has_schema_privilege($1, 'CREATE')" if made else "has_database_privilege(current_database(), 'CREATE')"
    names = [target.schema] if made else []
    if not await connection.fetchval(f"SELECT {right}", *names):
        raise failures.forbidden(target.place)
    return Finding(what="schema", said=f"{target.schema}: empty, and is filled by the first start")


async def _held(connection: asyncpg.Connection, target: Target) -> Finding:
    """Whose it is now: another host's is no fault where this one runs."""
    if await session.is_held(connection, target):
        said = f"{target.schema}: ours, and held by {await session.holder(connection, target) or 'another process'}"
    else:
        said = f"{target.schema}: ours, and held by nobody"
    return Finding(what="schema", said=said)
