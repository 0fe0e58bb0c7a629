"""Owns the storage driver: transactions of the host on one SQLite file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import Field

import surfaces_core
from surfaces_core import Agent, BufferedTx, Context, Finding, Storage
from surfaces_storage_sqlite import examining
from surfaces_storage_sqlite.writer import Writer


class SqliteStorage(Storage):
    """The host's durable state in one file, held by one process; made when it is missing.

    Entering and every transaction raise `StateError` with its exit code: 65 damaged, foreign or from a
    newer version, 74 disk full or input/output, 75 held by another process or program, 77 file rights.
    """

    class Settings(surfaces_core.Settings):
        """What the operator says under `storage:`."""

        path: Path = Field(
            description="The database file; its folder is made when it is missing.", examples=["./var/surfaces.db"]
        )
        busy_timeout_s: float = Field(
            default=5.0, ge=0, description="How long to wait while another program, a backup say, locks the database."
        )

    settings: Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings, context)
        self.control = Path(f"{os.path.realpath(settings.path)}.sock")  # two names of one file have one door
        self.place = os.path.realpath(settings.path)

    async def __aenter__(self) -> Self:
        self._lock = asyncio.Lock()
        self._writer = Writer(self.settings.path, self.settings.busy_timeout_s)
        await self._writer.start()
        self.context.log.info("storage.opened", path=str(self.settings.path))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._writer.stop()
        self.context.log.info("storage.closed", path=str(self.settings.path))

    async def examine(self, agents: Sequence[Agent]) -> Sequence[Finding]:
        """Its file, folder and space."""
        return await asyncio.to_thread(lambda: list(examining.examine(self.settings.path)))

    async def erase(self) -> str:
        """Remove the file with what stands beside it, where no process holds it."""
        there = await asyncio.to_thread(os.path.exists, self.place)
        async with self:  # so that nobody else has it, and that it is ours to remove
            pass
        await asyncio.to_thread(_remove, Path(self.place))
        return self.place if there else f"nothing, for {self.place} was not there"

    def transaction(self) -> BufferedTx:
        """One at a time in their bodies; their commits overlap, so many at once share an fsync.

        Who is cancelled while the commit runs does not learn whether it came through.
        """
        return BufferedTx(self._writer, self._lock)


def _remove(path: Path) -> None:
    for beside in ("-wal", "-shm", ".lock", ""):  # the file last: until then it is a state that can be opened
        Path(f"{path}{beside}").unlink(missing_ok=True)
