"""Save points: kept by name, replaced when agreed to, given back to the agent, through restarts and crashes."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest

from surfaces_commands_context import chats, context
from surfaces_core import AgentRequest, End, Observed, Postponed, Text, Unavailable, hookimpl
from surfaces_core._config.settings import HostSettings
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.faulty_storage import Crash, FaultyStorage
from surfaces_core.testing.memory_storage import MemoryStorage
from surfaces_core.testing.scripted_transport import ScriptedTransport, Step

SETTINGS = HostSettings(save_prompt="Sum up.", load_prompt="Remember:", shutdown_grace_s=0.1, retry_base_s=0.01)


class Watching:
    """Tells when something was put off."""

    def __init__(self, put_off: asyncio.Event) -> None:
        self._put_off = put_off

    @hookimpl
    def surfaces_observe(self, event: Observed) -> None:
        """See what happens."""
        if isinstance(event, Postponed):
            self._put_off.set()


LEAVE = "\n\n`!cancel` leaves this."


def remembering(request: AgentRequest) -> list[Step]:
    """An agent that sums up how often it was asked to, and says what it is given."""
    return [Text("We planned a trip." if request.text == "Sum up." else f"Heard: {request.text}"), End(tokens=3)]


@pytest.fixture
def bot() -> TestBot:
    """A host with save points."""
    transport = ScriptedTransport.answering(remembering)
    return TestBot(transport=transport, hooks=[chats, context], settings=SETTINGS)


async def said(bot: TestBot, text: str, conversation: str = "home") -> str:
    """What is answered."""
    await bot.push(text, conversation=conversation)
    return await bot.pop(conversation)


async def test_what_is_saved_is_given_back_in_another_context_after_a_restart(bot: TestBot) -> None:
    """By its name, whatever its case; neither prompt counts as a message."""
    async with bot.running():
        assert await said(bot, "!load") == "There is no save point yet; `!save` makes one."
        assert await said(bot, "!save the *trip*") == r"Saved as **the \*trip\***. `!load` brings it back."
        await said(bot, "!clear")
    async with bot.running():
        assert await said(bot, "!load THE *TRIP*") == (
            "**the \\*trip\\*** is loaded.\n\nHeard: Remember:\n\nWe planned a trip."
        )
        shown = await said(bot, "!context")
    saving, loading = bot.transport.requests  # type: ignore[attr-defined]
    assert saving.context != loading.context
    assert "- answered: 0" in shown
    assert "- 3 tokens used" in shown
    assert r"- 1 save point: the \*trip\*" in shown


async def test_a_number_chooses_of_the_list_and_anything_else_goes_to_the_agent(bot: TestBot) -> None:
    """A name of its own is the date; the list stays open behind another message."""
    async with bot.running():
        for _ in range(2):
            await said(bot, "!save")
        await said(bot, "!save b")
        listed = await said(bot, "!load")
        assert [line.split(" · ")[0] for line in listed.splitlines()[:3]] == [
            "1. 1970-01-01 00:00",
            "2. 1970-01-01 00:00 (2)",
            "3. b",
        ]
        assert listed.endswith("Which one? Answer with its number." + LEAVE)
        assert await said(bot, "4") == "Heard: 4"
        assert (await said(bot, "3")).startswith("**b** is loaded.")
        assert await said(bot, "3") == "Heard: 3"
        assert (await said(bot, "!load 3")).startswith("**b** is loaded.")
        assert await said(bot, "!load 9") == "No save point is called so; `!load` lists them."
        assert await said(bot, "!save 12") == "A name needs a letter in it: `!save before the trip`."


@pytest.mark.parametrize(("answer", "line"), [("yes", "Saved as"), ("!yes", "Saved as"), ("!no", "The save point")])
async def test_a_name_that_is_taken_is_replaced_only_when_agreed_to(bot: TestBot, answer: str, line: str) -> None:
    """The agent is asked for the new summary after the yes, and not at all after a no."""
    async with bot.running():
        await said(bot, "!save a")
        asked = await said(bot, "!save A")
        assert asked.startswith("There is a save point **a** of ")
        assert len(bot.transport.requests) == 1  # type: ignore[attr-defined]
        assert (await said(bot, answer)).startswith(line)
    assert len(bot.transport.requests) == (1 if "no" in answer else 2)  # type: ignore[attr-defined]


async def test_clear_closes_what_is_asked_and_context_shows_it(bot: TestBot) -> None:
    """A number after it is a word for the agent."""
    async with bot.running():
        await said(bot, "!save a")
        await said(bot, "!load")
        assert "- waiting for your answer: 1. a · " in await said(bot, "!context")
        await said(bot, "!clear")
        assert "waiting for your answer" not in await said(bot, "!context")
        assert await said(bot, "1") == "Heard: 1"


async def test_an_agent_that_is_away_is_asked_later(bot: TestBot) -> None:
    """The command is tried again, as the same turn, and saves once."""
    faults: list[list[Step]] = [[Unavailable("away")]]
    bot.transport.script = lambda request: faults.pop() if faults else remembering(request)  # type: ignore[attr-defined]
    async with bot.running():
        assert (await said(bot, "!save a")).startswith("Saved as **a**.")
    first, second = bot.transport.requests  # type: ignore[attr-defined]
    assert first == second


async def test_what_is_being_written_down_can_be_stopped(bot: TestBot) -> None:
    """The agent is told to stop, nothing is saved, and what waits behind it goes on."""
    begun, transport = asyncio.Event(), bot.transport
    assert isinstance(transport, ScriptedTransport)

    def script(request: AgentRequest) -> list[Step]:
        begun.set()
        return [asyncio.Event()] if request.text == "Sum up." else remembering(request)

    transport.script = script
    async with bot.running():
        await bot.push("!save a")
        await begun.wait()
        await bot.push("hello")
        assert await said(bot, "!stop") == "Stopped."
        assert await bot.pop() == "Heard: hello"
        assert await said(bot, "!load") == "There is no save point yet; `!save` makes one."
        assert await said(bot, "!stop") == "Nothing is running here."
    assert [request.text for request in transport.stopped] == ["Sum up."]


async def test_what_waits_for_an_agent_that_is_away_can_be_stopped(bot: TestBot) -> None:
    """At once, not with its next try."""
    bot.settings = bot.settings.model_copy(update={"retry_base_s": 3600.0, "retry_cap_s": 3600.0})
    put_off, transport = asyncio.Event(), bot.transport
    assert isinstance(transport, ScriptedTransport)
    transport.script = lambda _request: [Unavailable("away")]
    bot.hooks = [chats, context, Watching(put_off)]
    async with bot.running():
        await bot.push("!save a")
        await put_off.wait()
        assert await said(bot, "!stop") == "Stopped."
    assert len(transport.requests) == 1


async def test_an_agent_with_nothing_to_say_saves_nothing(bot: TestBot) -> None:
    """The person is told."""
    bot.transport.script = lambda _request: [End()]  # type: ignore[attr-defined]
    async with bot.running():
        assert await said(bot, "!save a") == "The agent had nothing to write down, so nothing was saved."
        assert await said(bot, "!load") == "There is no save point yet; `!save` makes one."


@pytest.mark.parametrize("side", ["before", "after"])
async def test_a_crash_at_any_transaction_saves_once(side: Literal["before", "after"]) -> None:
    """For every n: die there, live again, and there is one point with one line about it."""
    for number in range(1, 30):
        bot = TestBot(transport=ScriptedTransport.answering(remembering), hooks=[context], settings=SETTINGS)
        await bot.push("!save a")
        storage = FaultyStorage(MemoryStorage(disk=bot.disk), crash_at=number, side=side)
        for life in (storage, None):
            try:
                async with asyncio.timeout(10), bot.running(life):
                    await bot.messenger.until(lambda bot=bot: len(bot.messenger.shown) == 1)  # type: ignore[misc]
            except* Crash:
                pass
        assert len(bot.messenger.shown) == 1
        assert sum(row.startswith(b"point\0") for row in bot.disk.rows) == 1
        assert len({request.turn for request in bot.transport.requests}) == 1  # type: ignore[attr-defined]
        if not storage.crashed:
            break
    assert number > 4
