"""What was said before is read again for agents that ask for it, and nothing that a context does not know."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, Field

import surfaces_commands_context.context as context
from surfaces_core import AgentTool, ConfigError, ToolCall, hookimpl
from surfaces_core._config.discovery import HOOKS, Hooks, Offer
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.scripted_transport import ScriptedTransport


def reading(limit: int) -> ScriptedTransport:
    """An agent that repeats, of a transport that reads so much again."""
    transport = ScriptedTransport()
    transport.reads = limit
    return transport


def told(transport: ScriptedTransport, turn: int = -1) -> list[tuple[str, str]]:
    """What the agent was told of the time before one of its turns."""
    return [(said.by, said.text) for said in transport.requests[turn].history]


async def test_an_agent_that_reads_again_is_told_what_was_said_before() -> None:
    """Questions and answers in their order, without commands and the host's own lines, the question itself last."""
    transport = reading(3)
    bot = TestBot(transport=transport)
    async with bot.running():
        for text in ("one", "!help", "two", "three"):
            await bot.push(text)
            await bot.pop()
    assert told(transport, 0) == []
    assert told(transport, 1) == [("person", "one"), ("agent", "one")]
    assert told(transport) == [("agent", "one"), ("person", "two"), ("agent", "two")]
    assert (transport.requests[-1].sender, transport.requests[-1].conversation) == ("@ann", "home")


async def test_an_agent_that_remembers_is_told_nothing() -> None:
    """Unless the transport asks for it no messenger is read."""
    transport = reading(0)
    bot = TestBot(transport=transport)
    async with bot.running():
        for text in ("one", "two"):
            await bot.push(text)
            await bot.pop()
    assert told(transport) == []


async def test_what_was_said_before_a_clear_is_not_told() -> None:
    """A new context begins with nothing, also in a later life of the host."""
    transport = reading(10)
    bot = TestBot(transport=transport, hooks=[context])
    async with bot.running():
        for text in ("secret", "!clear", "one"):
            await bot.push(text)
            await bot.pop()
    async with bot.running():
        await bot.push("two")
        await bot.pop()
    assert told(transport) == [("person", "one"), ("agent", "one")]


class Town(BaseModel):
    """Which town."""

    name: str = Field(description="Its name.")


async def weather(call: ToolCall) -> str:
    """The same everywhere."""
    return f"Rain in {call.arguments.name}"


class Weather:
    """A plugin with tools of these names."""

    def __init__(self, *names: str) -> None:
        self.names = names

    @hookimpl
    def surfaces_tools(self) -> list[AgentTool]:
        """They all do the same."""
        return [AgentTool(name=name, description="Weather.", arguments=Town, handler=weather) for name in self.names]


OFFER = Offer(group=HOOKS, name="weather", value="weather", distribution="test", version="0")


def test_plugins_contribute_tools() -> None:
    """They are kept by name."""
    hooks = Hooks()
    hooks.add(OFFER, Weather("now", "tomorrow"))
    assert list(hooks.tools) == ["now", "tomorrow"]


@pytest.mark.parametrize("names", [("now", "now"), ("Now",), ("",), ("a b",), ("x" * 65,)])
def test_tools_whose_names_cannot_be_are_refused(names: tuple[str, ...]) -> None:
    """Twice the same, or one that no model provider takes."""
    with pytest.raises(ConfigError, match="tool"):
        Hooks().add(OFFER, Weather(*names))
