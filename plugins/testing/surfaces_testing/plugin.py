"""The misbehaving servers as pytest fixtures, there when `surfaces-testing` is installed.

    async def test_a_bot_logs_in(fake_homeserver):
        fake_homeserver.register("@bot:hs.test")
        start_my_bot(fake_homeserver.url)

Each test gets a fresh one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest_asyncio

if TYPE_CHECKING:
    from surfaces_testing.agent import FakeAgent
    from surfaces_testing.homeserver import FakeHomeserver


@pytest_asyncio.fixture
async def fake_homeserver() -> AsyncIterator[FakeHomeserver]:
    """A Matrix homeserver in memory that behaves like Synapse until it is told to misbehave."""
    from surfaces_testing.homeserver import FakeHomeserver  # only tests that ask for one wait for it

    async with FakeHomeserver() as homeserver:
        yield homeserver


@pytest_asyncio.fixture
async def fake_agent() -> AsyncIterator[FakeAgent]:
    """An agent that serves AgentApi and behaves until it is told to misbehave."""
    from surfaces_testing.agent import FakeAgent

    async with FakeAgent() as agent:
        yield agent
