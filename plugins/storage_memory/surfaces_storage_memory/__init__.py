"""State of Surfaces that ends with its process, for demos and tests."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, PrivateAttr

import surfaces_core
from surfaces_core import Context
from surfaces_core.testing import memory_storage

__all__ = ["MemoryStorage"]


class MemoryStorage(memory_storage.MemoryStorage):
    """The host's state in memory. Nothing of it is there after the process: no message, no conversation."""

    class Settings(surfaces_core.Settings):
        """What the operator says under `storage:`; storages that are made of the same settings share their state."""

        control: Path | None = Field(
            default=None,
            description="A UNIX socket by which `surfaces queue` and the like reach the host while it runs.",
        )
        _disk: memory_storage.MemoryDisk = PrivateAttr(default_factory=memory_storage.MemoryDisk)

        @property
        def disk(self) -> memory_storage.MemoryDisk:
            """Where the state is."""
            return self._disk

    settings: Settings
    lasting = False

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings, context, disk=settings.disk)
        self.control = settings.control

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.context.log.warning("storage.forgets", meaning="nothing is kept beyond the end of this process")
        return self
