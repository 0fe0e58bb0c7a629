"""What a plugin has living beside a host lives longer than all else in it, and may stop the start."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import pytest

from surfaces_core import Companion, ConfigError, Observed, StepEnded, hookimpl
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.memory_storage import MemoryStorage


class Diary:
    """Writes down what happens, and may not be able to begin."""

    def __init__(self, problem: str = "") -> None:
        self.lines: list[str] = []
        self._problem = problem

    @hookimpl
    def surfaces_companions(self) -> Sequence[Companion]:
        """The diary is open while the host lives."""
        return [self._open]

    @hookimpl
    def surfaces_observe(self, event: Observed) -> None:
        """Steps, with what ended them."""
        if isinstance(event, StepEnded):
            self.lines.append(event.step)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[None]:
        if self._problem:
            raise ConfigError("", self._problem)
        self.lines.append("opened")
        yield
        self.lines.append("closed")


class Noted(MemoryStorage):
    """A storage that is in the diary."""

    lines: list[str]

    async def __aenter__(self) -> Self:
        self.lines.append("storage opened")
        return await super().__aenter__()

    async def __aexit__(self, *what: Any) -> None:
        await super().__aexit__(*what)
        self.lines.append("storage closed")


async def test_a_companion_lives_around_everything() -> None:
    """It is there before the first driver, and leaves when nothing more can be observed."""
    diary = Diary()
    bot = TestBot(hooks=[diary])
    storage = Noted(disk=bot.disk)
    storage.lines = diary.lines
    async with bot.running(storage):
        await bot.push("hello")
        assert await bot.pop() == "hello"
    assert diary.lines == [
        *("opened", "storage opened"),
        *("wait", "ask", "store", "send", "store"),
        *("storage closed", "closed"),
    ]


async def test_a_companion_that_cannot_begin_ends_the_start() -> None:
    """Its reason is the host's."""
    with pytest.raises(ConfigError, match="no ink"):
        await TestBot(hooks=[Diary("no ink")]).build().run()
