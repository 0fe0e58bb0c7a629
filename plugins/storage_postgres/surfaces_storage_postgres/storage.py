"""Owns the storage driver: what the operator says, and a database for as long as its block."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import Field, SecretStr, field_validator

import surfaces_core
from surfaces_core import Agent, BufferedStorage, Context, Database, Finding
from surfaces_storage_postgres import examining, failures, session
from surfaces_storage_postgres.database import PostgresDatabase

LONGEST_NAME = 63


class PostgresStorage(BufferedStorage):
    """The host's durable state in a schema of its own on a PostgreSQL server, held by one process."""

    class Settings(surfaces_core.Settings):
        """What the operator says under `storage:`."""

        dsn: SecretStr = Field(description="The database: postgresql://user:password@host:5432/database")
        schema_name: str = Field(
            default="surfaces",
            min_length=1,
            max_length=63,
            description="The schema that the state is kept in, one for each state; made when it is missing.",
        )
        timeout_s: float = Field(default=30.0, gt=0, description="How long one answer of the server may take.")
        reconnect_s: float = Field(
            default=20.0, ge=0, description="How long to try again when the connection ended and nothing is in doubt."
        )
        control: Path | None = Field(
            default=None,
            description="A UNIX socket by which `surfaces queue` and the like reach the host while it runs; "
            "without it they work while it does not.",
        )

        @field_validator("schema_name")
        @classmethod
        def _fits(cls, name: str) -> str:
            """PostgreSQL cuts longer names, and would find another schema than the one that is asked for."""
            if len(name.encode()) > LONGEST_NAME or name.startswith("pg_"):
                raise ValueError(f"a schema's name has at most {LONGEST_NAME} bytes and does not begin with pg_")
            return name

    settings: Settings
    remote = True

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings, context)
        self.control = settings.control
        self._target = session.Target(
            dsn=settings.dsn.get_secret_value(), schema=settings.schema_name, timeout_s=settings.timeout_s
        )

    async def examine(self, agents: Sequence[Agent]) -> Sequence[Finding]:
        """The server, what it promises, and whose the schema is."""
        return [finding async for finding in examining.examine(self._target)]

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        """Raises `StateError`: 65 newer or foreign, 69 away, 75 held, 77 rights, 78 login or not durable."""
        place, log = self._target.place, self.context.log
        try:
            first = await session.begin(self._target)
        except (*failures.FAILURES, ValueError) as error:
            raise failures.translated(place, error) from error
        database = PostgresDatabase(self._target, first, self.settings.reconnect_s, log)
        log.info("storage.opened", place=place)
        try:
            yield database
        finally:
            await database.close()
            log.info("storage.closed", place=place)
