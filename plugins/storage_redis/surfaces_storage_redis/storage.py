"""Owns the storage driver: what the operator says, and a database for as long as its block."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import Field, SecretStr

import surfaces_core
from surfaces_core import Agent, BufferedStorage, Context, Database, Finding
from surfaces_storage_redis import examining, failures, session
from surfaces_storage_redis.database import RedisDatabase


class RedisStorage(BufferedStorage):
    """The host's durable state under some keys of a Redis server that persists every write, held by one process."""

    class Settings(surfaces_core.Settings):
        """What the operator says under `storage:`."""

        url: SecretStr = Field(
            description="The server: redis://user:password@host:6379/0, rediss:// with TLS, or unix:///path/of/socket"
        )
        prefix: str = Field(
            default="surfaces", min_length=1, description="What the keys of this state begin with, one for each state."
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

    settings: Settings
    remote = True

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings, context)
        self.control = settings.control
        self._target = session.Target(
            url=settings.url.get_secret_value(), prefix=settings.prefix, timeout_s=settings.timeout_s
        )

    async def examine(self, agents: Sequence[Agent]) -> Sequence[Finding]:
        """The server, what it promises, and whose the keys are."""
        return [finding async for finding in examining.examine(self._target)]

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        """Raises `StateError`: 65 newer or foreign, 69 away, 75 held, 77 rights, 78 login or not durable."""
        place, log = self._target.place, self.context.log
        try:
            first = await session.begin(self._target)
        except (*failures.FAILURES, ValueError) as error:
            raise failures.translated(place, error) from error
        database = RedisDatabase(self._target, first, self.settings.reconnect_s, log)
        log.info("storage.opened", place=place)
        try:
            yield database
        finally:
            await database.close()
            log.info("storage.closed", place=place)
