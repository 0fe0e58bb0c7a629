"""State of Surfaces that ends with its process, for demos and tests."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field

import surfaces_core
from surfaces_core.testing import memory_storage

__all__ = ["MemoryStorage"]


class MemoryStorage(memory_storage.MemoryStorage):
    """The host's state in memory. Nothing of it is there after the process: no message, no conversation."""

    class Settings(surfaces_core.Settings):
        """What the operator says under `storage:`."""

        control: Path | None = Field(
            default=None,
            description="A UNIX socket by which `surfaces queue` and the like reach the host while it runs.",
        )

    settings: Settings
    lasting = False

    async def __aenter__(self) -> Self:
        self.control = self.settings.control
        await super().__aenter__()
        self.context.log.warning("storage.forgets", meaning="nothing is kept beyond the end of this process")
        return self
