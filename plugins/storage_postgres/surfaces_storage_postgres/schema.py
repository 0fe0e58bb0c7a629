"""Owns the tables: how they are made, brought up to date and recognised."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from surfaces_storage_postgres import failures

MIGRATIONS: tuple[str, ...] = (
    # `bytea` is ordered as unsigned bytes, whatever the collation of the database.
    "CREATE TABLE {schema}.state (key bytea PRIMARY KEY, value bytea NOT NULL)",
)
"""What leads from each version of the schema to the next; the first one is made from 0."""

_META = """
CREATE TABLE {schema}.meta (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version integer NOT NULL,
    life bigint NOT NULL,
    holder text NOT NULL
)
"""


def quoted(name: str) -> str:
    """A name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


async def migrate(connection: asyncpg.Connection, name: str, place: str, steps: Sequence[str] = MIGRATIONS) -> None:
    """Make the schema, or bring it up to date; all or nothing. Raises `StateError` when it is newer or not ours."""
    schema = quoted(name)
    async with connection.transaction():
        there = await version(connection, name, place)
        if there > len(steps):
            raise failures.newer(place, there, len(steps))
        if there == len(steps):
            return
        if there == 0:
            await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            await connection.execute(_META.format(schema=schema))
            await connection.execute(f"INSERT INTO {schema}.meta VALUES (true, 0, 0, '')")  # noqa: S608 - quoted
        for step in steps[there:]:
            await connection.execute(step.format(schema=schema))
        await connection.execute(f"UPDATE {schema}.meta SET version = $1", len(steps))  # noqa: S608 - quoted


async def version(connection: asyncpg.Connection, name: str, place: str) -> int:
    """Which step of the schema is there; 0 for none. Raises `StateError` where it is not ours."""
    tables = {
        row["tablename"]
        for row in await connection.fetch("SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = $1", name)
    }
    if not tables:
        return 0
    if not {"meta", "state"} <= tables:
        raise failures.foreign(place)
    try:
        found = await connection.fetchval(f"SELECT version FROM {quoted(name)}.meta")  # noqa: S608 - quoted
    except asyncpg.UndefinedColumnError as error:
        raise failures.foreign(place) from error
    if found is None:
        raise failures.foreign(place)
    return int(found)
