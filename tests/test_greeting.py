"""A conversation begins with its greeting, whatever happens while it is made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from surfaces_commands_context import chats
from surfaces_core import Address, Kind, Opening, Storage, Unavailable
from surfaces_core._config.settings import HostSettings
from surfaces_core._engine.conversations import OPENINGS
from surfaces_core._engine.journal import key
from surfaces_core._engine.words import GAVE_UP
from surfaces_core._host.lifecycle import Engine
from surfaces_core.testing.bot import TestBot

HASTY = HostSettings(shutdown_grace_s=0.0, retry_base_s=0.001, retry_cap_s=0.002)


@dataclass(kw_only=True)
class SlowBot(TestBot):
    """A host that is held up when a room is there and before it knows that; `gate` lets it go on."""

    __test__ = False

    rooms: bool = True
    settings: HostSettings = HASTY

    def build(self, storage: Storage | None = None) -> Engine:
        """A new host, whose gate is closed."""
        engine = super().build(storage)
        self.made, self.gate = asyncio.Event(), asyncio.Event()
        conversations: Any = self.surface.conversations
        quickly = conversations.open

        async def slowly(opening: Opening) -> Address:
            address: Address = await quickly(opening)
            self.made.set()
            await self.gate.wait()
            return address

        conversations.open = slowly
        return engine

    async def call(self) -> None:
        """A person asks the bot into a conversation."""
        await self.messenger.say(kind=Kind.START, conversation="entry")

    @property
    def room(self) -> str:
        """The room that was made."""
        (made,) = self.messenger.rooms
        return made

    async def until_held(self) -> None:
        """Wait until what was said in the room came in and was put off."""

        def held() -> bool:
            lanes = self.engine.turns.lanes.standings()
            waiting = [lane.items[0].message.address for lane in lanes if lane.wait_s is not None]
            return self.room in [address.conversation for address in waiting]

        await until(held)


async def until(condition: Callable[[], bool]) -> None:
    """Let the host go on until something is so."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0)


async def test_the_greeting_comes_before_the_first_answer() -> None:
    """A person who is in the room at once and writes is answered when the greeting is said."""
    bot = SlowBot()
    async with bot.running():
        await bot.call()
        await bot.made.wait()
        await bot.push("hello", conversation=bot.room)
        await bot.until_held()
        bot.gate.set()
        assert (await bot.pop(bot.room)).startswith("Hello Ann!")
        assert await bot.pop(bot.room) == "hello"


@pytest.mark.parametrize("file", [{}, {"a.txt": b"aaa"}], ids=["text", "file"])
async def test_the_greeting_comes_first_after_a_crash(file: dict[str, bytes]) -> None:
    """The room shows itself at once in the next life, while the turn that makes it is not done."""
    bot = SlowBot()
    async with bot.running():
        await bot.call()
        await bot.made.wait()
    await bot.push("" if file else "hello", conversation=bot.room, files=file)
    async with bot.running():
        await bot.until_held()
        assert bot.messenger.texts(bot.room) == []
        bot.gate.set()
        assert (await bot.pop(bot.room)).startswith("Hello Ann!")
        assert await bot.pop(bot.room) == ("Got `a.txt`. 1 waiting for your next message." if file else "hello")


async def test_a_message_that_waits_is_not_counted_as_tried() -> None:
    """However many lives end while a conversation is made, what was said there is answered."""
    bot = SlowBot()
    async with bot.running():
        await bot.call()
        await bot.made.wait()
    await bot.push("hello", conversation=bot.room)
    for _ in range(5):
        async with bot.running():
            await bot.until_held()
    async with bot.running():
        bot.gate.set()
        assert (await bot.pop(bot.room)).startswith("Hello Ann!")
        assert await bot.pop(bot.room) == "hello"


async def test_other_conversations_do_not_wait() -> None:
    """While a person's third conversation is made, from the first one, the second one goes on."""
    bot = SlowBot(hooks=[chats])
    async with bot.running():
        bot.gate.set()
        await bot.call()
        await bot.pop("entry")
        first = bot.room
        await bot.pop(first)
        await bot.push("!new", conversation=first)
        await bot.pop(first)
    (second,) = bot.messenger.rooms.keys() - {first}
    async with bot.running():
        await bot.push("!new", conversation=first)
        await bot.made.wait()
        await bot.push("hello", conversation=second)
        assert await bot.pop(second) == "hello"


async def test_urgent_commands_do_not_wait() -> None:
    """A person who called the bot can still stop it, and learns that there is nothing to stop."""
    bot = SlowBot()
    async with bot.running():
        await bot.call()
        await bot.made.wait()
        await bot.push("!stop", conversation="entry")
        assert await bot.pop("entry")


async def test_what_was_given_up_holds_nobody_up() -> None:
    """A conversation whose making waits among the dead letters is answered all the same."""
    bot = SlowBot()
    async with bot.running():
        bot.gate.set()
        await bot.call()
        await bot.pop("entry")
        await bot.pop(bot.room)
    known = bot.messenger.rooms[bot.room]
    left = Opening(
        key="gone",
        surface=known.address.surface,
        owner=known.owner,
        owner_name="",
        number=known.number,
        name=known.name,
        agent=known.agent,
        context=known.context,
        created_at=known.created_at,
    )
    bot.disk.rows[key("opening", "gone")] = OPENINGS.dump(left)
    async with bot.running():
        await bot.push("hello", conversation=bot.room)
        assert await bot.pop(bot.room) == "hello"


async def test_two_that_make_a_conversation_do_not_wait_for_each_other() -> None:
    """A person who calls from two places at once is answered in both, though nothing can be made."""
    bot = SlowBot(settings=HASTY.model_copy(update={"max_tries": 3}))
    await bot.push("hello", conversation="here")
    await bot.push("hello", conversation="there")

    async def never(_opening: Opening) -> Address:
        raise Unavailable("no rooms today")

    engine = bot.build()
    bot.surface.conversations.open = never  # type: ignore[method-assign, union-attr]
    async with asyncio.TaskGroup() as group:
        group.create_task(engine.run())
        assert [await bot.pop("here"), await bot.pop("there")] == [GAVE_UP(), GAVE_UP()]
        engine.stop()
