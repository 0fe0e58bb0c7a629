"""A whole host whose agent is a model: what people see of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from surfaces_core import Agent, Pace, hookimpl
from surfaces_core.testing.bot import AGENT, TestBot
from surfaces_core.testing.driver_contexts import MemoryStore, transport_context
from surfaces_core.testing.memory_files import MemoryFiles
from surfaces_llm import Llm, LlmSettings
from surfaces_testing.models import CUT, ModelServer, busy

Making = Callable[..., Any]


@pytest.fixture
async def server(local: None) -> AsyncIterator[ModelServer]:
    """The provider."""
    async with ModelServer() as server:
        yield server


@asynccontextmanager
async def living(server: ModelServer, store: MemoryStore, **options: Any) -> AsyncIterator[TestBot]:
    """A host that is built anew on each `running`, over one world."""
    files = MemoryFiles()
    models = {"small": {"provider": "openai", "model": "small", "base_url": server.base_url, "vision": True}}
    transport = Llm(LlmSettings.model_validate({"models": models}), transport_context("llm", store=store, files=files))
    agent = Agent(
        id=AGENT.id, label="A", transport=AGENT.transport, workspace="w", options={"model": "small", **options}
    )
    yield TestBot(transport=transport, files=files, agents=(agent,), hooks=[Clearing()])


class Clearing:
    """`!clear`, as `surfaces-commands-context` has it."""

    @hookimpl
    def surfaces_commands(self) -> list[Any]:
        from surfaces_core import Command

        async def clear(call: Any) -> str:
            await call.desk.clear_context()
            return "cleared"

        async def sum_up(call: Any) -> str:
            return str(await call.desk.consult("sum up"))

        return [
            Command(name="clear", help="forgets", handler=clear),
            Command(name="sum", help="sums up", handler=sum_up),
        ]


async def say(bot: TestBot, text: str, **more: Any) -> str:
    """Say something, and read what comes."""
    await bot.push(text, **more)
    return await bot.pop()


async def test_it_remembers_over_a_restart_until_it_is_cleared(server: ModelServer):
    """Two lives of the host are one conversation; `!clear` ends it, whatever is asked for."""
    store = MemoryStore()
    async with living(server, store) as bot:
        async with bot.running():
            assert await say(bot, "one") == "You said: one. (question 1)"
        async with bot.running():
            assert await say(bot, "what did I say?") == "You said: one"
            assert await say(bot, "!clear") == "cleared"
            assert store.rows == {}
            assert await say(bot, "what did I say?") == "You said: "


async def test_a_stateless_model_reads_the_conversation(server: ModelServer):
    """What was said is read from the messenger, without commands, and `!clear` ends it as well."""
    store = MemoryStore()
    async with living(server, store, mode="stateless") as bot, bot.running():
        await say(bot, "one")
        await say(bot, "!help")
        assert await say(bot, "what did I say?") == "You said: one"
        await say(bot, "!clear")
        assert await say(bot, "two") == "You said: two. (question 1)"
    assert store.rows == {}


async def test_a_picture_is_seen(server: ModelServer):
    """It is sent ahead of the question, as people do."""
    async with living(server, MemoryStore()) as bot, bot.running():
        await bot.push(files={"cat.png": b"\x89PNG\r\n\x1a\n" + bytes(50)})
        await bot.pop()
        assert await say(bot, "what is it?") == "You said: [Picture cat.png]\n\nwhat is it?. (question 1)"
    assert server.record.asked[0].images == 1


async def test_a_busy_model_is_asked_again(server: ModelServer):
    """The person waits, and gets one answer."""
    server.faults = [busy("0")]
    async with living(server, MemoryStore()) as bot, bot.running():
        assert (await say(bot, "one")).startswith("You said: one")
    assert len(server.record.asked) == 2


async def test_what_is_cut_off_stays_and_says_so(server: ModelServer):
    """Once, and nothing of it is remembered."""
    server.faults = [CUT]
    async with living(server, MemoryStore()) as bot:
        bot.pace = Pace(typing_after_s=0, first_s=0, first_chars=1, interval_s=0, budget=100)
        async with bot.running():
            assert await say(bot, "one") == "You\n\n_The answer was cut off. Ask again to retry._"
            assert await say(bot, "what did I say?") == "You said: "


async def test_a_command_can_ask_it(server: ModelServer):
    """As `!save` does."""
    async with living(server, MemoryStore()) as bot, bot.running():
        await say(bot, "one")
        assert await say(bot, "!sum") == "You said: sum up. (question 2)"


async def test_settings_name_the_model(server: ModelServer):
    """`!settings` says which one answers."""
    async with living(server, MemoryStore()) as bot, bot.running():
        assert "- Model: `small`" in await say(bot, "!settings")
