"""Every command as a person types it, with its misuse beside it."""

from __future__ import annotations

import pytest

from surfaces_commands_context import chats, context, staging
from surfaces_core import End, Text
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.scripted_transport import ScriptedTransport


@pytest.fixture
def bot() -> TestBot:
    """A host with all three sets, an agent that counts tokens, and a messenger with rooms."""
    transport = ScriptedTransport.answering(lambda request: [Text(f"You said {request.text}"), End(tokens=5)])
    return TestBot(transport=transport, hooks=[chats, context, staging], rooms=True)


async def started(bot: TestBot) -> str:
    """The room of the person's first conversation, its greeting read."""
    await bot.push("hello", conversation="entry")
    await bot.pop("entry")
    (room,) = bot.messenger.rooms
    await bot.pop(room)
    return room


async def said(bot: TestBot, room: str, text: str) -> str:
    """What a command answers."""
    await bot.push(text, conversation=room)
    return await bot.pop(room)


async def test_help_lists_exactly_what_is_enabled_and_allowed(bot: TestBot) -> None:
    """Every command with its arguments, and one by its name or alias."""
    async with bot.running():
        room = await started(bot)
        listed = await said(bot, room, "!help")
        names = [line.split("`")[1].split()[0] for line in listed.splitlines()]
        assert names == [
            "!archive",
            "!cancel",
            "!chats",
            "!clear",
            "!context",
            "!help",
            "!language",
            "!list",
            "!load",
            "!new",
            "!no",
            "!remove",
            "!rename",
            "!retry",
            "!save",
            "!settings",
            "!stop",
            "!yes",
        ]
        assert await said(bot, room, "!help !reset") == (
            "`!clear` – the agent forgets this conversation and starts afresh; nothing else changes. Also: `!reset`."
        )


async def test_new_makes_the_next_number_with_its_name_and_its_own_context(bot: TestBot) -> None:
    """A second conversation has another room, number and context; `!chats` marks where one is."""
    async with bot.running():
        first = await started(bot)
        answer = await said(bot, first, "!new  Holiday \n plans ")
        second = next(room for room in bot.messenger.rooms if room != first)
        assert answer == (
            f"[C2 Holiday plans](memory:{second}) is ready; I have invited you. "
            "It remembers nothing of other conversations."
        )
        await said(bot, first, "one")
        await said(bot, second, "two")
        assert len({request.context for request in bot.transport.requests}) == 2  # type: ignore[attr-defined]
        lines = (await said(bot, second, "!chats")).splitlines()
        assert [line.split("]")[0] for line in lines] == ["- [C1", "- [C2 Holiday plans"]
        assert ["(this one)" in line for line in lines] == [False, True]


async def test_new_works_in_the_place_one_called_from(bot: TestBot) -> None:
    """`!new` in the entry room makes the conversation there and then."""
    async with bot.running():
        await bot.push("!new First", conversation="entry")
        assert (await bot.pop("entry")).startswith("[C1 First](memory:")
        await bot.push("!context", conversation="entry")
        assert await bot.pop("entry") == "That works inside a conversation. `!chats` shows yours."


async def test_rename_changes_the_name_and_says_what_is_missing(bot: TestBot) -> None:
    """The messenger gets the new name; an empty or endless one is refused."""
    async with bot.running():
        room = await started(bot)
        assert await said(bot, room, "!rename Work *now*") == r"This conversation is now called **Work \*now\***."
        assert bot.messenger.rooms[room].name == "Work *now*"
        assert await said(bot, room, "!rename") == "Write the new name behind it: `!rename Holiday plans`."
        assert await said(bot, room, "!rename " + "x" * 101) == "That name is too long; 100 characters are the most."
        assert bot.messenger.rooms[room].name == "Work *now*"


async def test_archive_puts_a_conversation_away_and_undo_brings_it_back(bot: TestBot) -> None:
    """An archived conversation answers with the way back, and its agent's context rests."""
    async with bot.running():
        room = await started(bot)
        assert await said(bot, room, "!archive") == "C1 is archived. `!archive undo` brings it back."
        assert bot.messenger.rooms[room].archived
        assert (await said(bot, room, "hello?")).startswith("This conversation is archived.")
        assert await said(bot, room, "!chats") == "You have no conversation yet; `!new` starts one."
        assert await said(bot, room, "!archive now") == "Write `!archive`, or `!archive undo`."
        assert await said(bot, room, "!archive undo") == "C1 is back. Just write."
        assert await said(bot, room, "hello") == "You said hello"
    binding = bot.messenger.rooms[room]
    assert bot.transport.rested == [("agent-0", binding.context)]  # type: ignore[attr-defined]
    assert bot.transport.forgotten == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["!clear", "!reset"])
async def test_clear_rotates_the_context_of_this_conversation_alone(bot: TestBot, name: str) -> None:
    """The old context is forgotten, the next question goes to a new one, the counts begin again."""
    async with bot.running():
        room = await started(bot)
        await said(bot, room, "one")
        assert "- answered: 1\n- 5 tokens used" in await said(bot, room, "!context")
        assert (await said(bot, room, name)).startswith("Done: the agent starts afresh here")
        assert "- answered: 0" in await said(bot, room, "!context")
        await said(bot, room, "two")
    before, after = [request.context for request in bot.transport.requests]  # type: ignore[attr-defined]
    assert before != after == bot.messenger.rooms[room].context
    assert bot.transport.forgotten == [("agent-0", before)]  # type: ignore[attr-defined]


async def test_staged_files_are_listed_and_removed_by_number_or_all(bot: TestBot) -> None:
    """A removed file is gone from the workspace too."""
    async with bot.running():
        room = await started(bot)
        for name in ("a.txt", "b.txt", "c.txt"):
            await bot.push(conversation=room, files={name: b"x" * 2000})
        await bot.messenger.until(lambda: "3 waiting" in "".join(bot.messenger.texts(room)))
        await bot.pop(room)
        assert await said(bot, room, "!list") == ("1. `a.txt` (2.0 KiB)\n2. `b.txt` (2.0 KiB)\n3. `c.txt` (2.0 KiB)")
        assert await said(bot, room, "!remove 2") == "Dropped `b.txt`."
        assert await said(bot, room, "!remove 9") == "No file has the number 9; `!list` shows them."
        assert await said(bot, room, "!remove 0") == "No file has the number 0; `!list` shows them."
        assert await said(bot, room, "!remove b.txt") == (
            "Write `!remove 2` to drop the second file, or `!remove all`."
        )
        assert await said(bot, room, "!remove all") == "Dropped `a.txt`, `c.txt`."
        assert await said(bot, room, "!remove all") == "No file was waiting."
        assert await said(bot, room, "!list") == "No file is waiting."
    assert bot.files.contents["/agents/0"] == {}  # type: ignore[attr-defined]


async def test_commands_keep_what_they_did_over_a_restart(bot: TestBot) -> None:
    """Names, archived flags, contexts and numbers are there in the next life."""
    async with bot.running():
        room = await started(bot)
        await said(bot, room, "!rename Kept")
        await said(bot, room, "!new")
    async with bot.running():
        listed = await said(bot, room, "!chats")
        assert [line.split("]")[0] for line in listed.splitlines()] == ["- [C1 Kept", "- [C2"]
        assert (await said(bot, room, "!new")).startswith("[C3](")


async def test_a_messenger_without_rooms_says_so() -> None:
    """`!new` explains itself where there can be only one conversation."""
    bot = TestBot(hooks=[chats])
    async with bot.running():
        await bot.push("!new")
        assert await bot.pop() == "There is just this one conversation here."
