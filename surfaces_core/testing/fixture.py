"""The `testbot` fixture: one host on memory doubles for one test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

import pytest_asyncio

if TYPE_CHECKING:
    from surfaces_core.testing.bot import TestBot


@pytest_asyncio.fixture
async def testbot(surfaces_hooks: Sequence[object]) -> AsyncIterator[TestBot]:
    """A running host on memory doubles: `push` a message, `pop` the answers."""
    from surfaces_core.testing.bot import TestBot  # only tests that ask for a host wait for it

    bot = TestBot(hooks=surfaces_hooks)
    loop = asyncio.get_running_loop()
    started: asyncio.Future[None] = loop.create_future()
    finish = asyncio.Event()

    async def live() -> None:
        try:
            async with bot.running():
                started.set_result(None)
                await finish.wait()
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    # pytest runs the two halves of a fixture in different tasks, so the host needs one of its own
    task = loop.create_task(live())
    await started
    yield bot
    finish.set()
    await task
