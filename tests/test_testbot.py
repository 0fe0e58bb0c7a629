"""The smallest command plugin of the documents, tried with the `testbot` fixture."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import pytest

from surfaces_core.testing.bot import TestBot

PLUGIN = """\
from surfaces_core import Command, CommandCall, hookimpl

async def ping(call: CommandCall) -> str:
    return "pong " + " ".join(call.args)

@hookimpl
def surfaces_commands():
    return [Command(name="ping", help="answers pong", handler=ping)]
"""


@pytest.fixture
def surfaces_hooks() -> Sequence[object]:
    """The plugin as a module."""
    module = ModuleType("surfaces_ping")
    exec(PLUGIN, module.__dict__)
    return [module]


async def test_push_a_message_and_pop_the_answer(testbot: TestBot) -> None:
    """Eight lines answer a command, are listed in the help, and leave other messages alone."""
    await testbot.push("!ping a 'b c'")
    assert await testbot.pop() == "pong a b c"
    await testbot.push("!help ping")
    assert await testbot.pop() == "`!ping` – answers pong."
    await testbot.push("hello")
    assert await testbot.pop() == "hello"
