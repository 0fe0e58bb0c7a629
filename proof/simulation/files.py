"""The files of a simulated world, and one life's way to them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable

from proof.simulation.judge import Judge
from proof.simulation.life import Life
from proof.simulation.weather import Weather
from surfaces_core.contracts import OpenFile
from surfaces_core.errors import Unavailable
from surfaces_core.events import FileRef
from surfaces_core.testing.memory_files import MemoryFiles


class SimulatedFiles(MemoryFiles):
    """Keeps its files where all lives find them; saving fails now and then."""

    def __init__(
        self, kept: MemoryFiles, life: Life, judge: Judge, weather: Callable[[], Weather], chance: random.Random
    ) -> None:
        super().__init__()
        self.contents = kept.contents
        self._uploads = kept._uploads
        self._life = life
        self._judge = judge
        self._weather = weather
        self._chance = chance

    async def save(
        self,
        workspace: str,
        name: str,
        chunks: AsyncIterator[bytes],
        *,
        mime: str = "application/octet-stream",
        key: str = "",
    ) -> FileRef:
        """Save, perhaps."""
        self._life.step("save")
        if self._chance.random() < self._weather().save_fails:
            self._judge.failed(key.partition(".")[0])
            raise Unavailable("the disk is full")
        ref = await super().save(workspace, name, chunks, mime=mime, key=key)
        await asyncio.sleep(0)
        self._life.step("saved")
        return ref

    async def open(self, workspace: str, path: str) -> OpenFile:
        """Open."""
        self._life.step("open")
        return await super().open(workspace, path)

    async def remove(self, workspace: str, path: str) -> None:
        """Remove."""
        self._life.step("remove")
        await super().remove(workspace, path)
        self._life.step("removed")
