"""What a place does to its conversation: two calls at once, new names, groups, moves, and what nobody knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from surfaces_commands_context import chats, context
from surfaces_core import Address, Agent, Binding, Inbound, Kind, Opening, Pace, Rejected, Storage, Unavailable
from surfaces_core._config.settings import HostSettings
from surfaces_core._engine import words
from surfaces_core._engine.usages import Usage
from surfaces_core._host.lifecycle import Engine
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.memory_surface import NAME, MemoryRooms

HASTY = HostSettings(shutdown_grace_s=0.0, retry_base_s=0.001, retry_cap_s=0.002)
GROUP = "group"


class Rooms(MemoryRooms):
    """Rooms that can be shared, moved, lost or full."""

    def __init__(self, rooms: MemoryRooms) -> None:
        super().__init__(rooms._messenger)
        self.shared: set[str] = set()
        self.managers: set[str] = set()
        self.lost: set[str] = set()
        self.refusals: list[Unavailable | Rejected] = []
        """What the coming calls of `open` raise."""
        self.stuck: str | None = None
        """The key of an opening that can't be done for now; empty: of the next one."""

    async def is_shared(self, address: Address) -> bool:
        return address.conversation in self.shared

    def manages(self, address: Address, person: str) -> bool:
        return person in self.managers

    async def open(self, opening: Opening) -> Address:
        if self.refusals:
            raise self.refusals.pop(0)
        if self.stuck == "":
            self.stuck = opening.key
        if self.stuck == opening.key:
            raise Unavailable("not now")
        return await super().open(opening)

    async def find(self, address: Address) -> Binding | None:
        if address.conversation in self.lost:
            raise Rejected("whose?", code="LOST_CONVERSATION", public="I lost track of this one.")
        return await super().find(address)

    async def follow(self, address: Address, target: Address) -> Binding | None:
        old = self._messenger.rooms.pop(address.conversation, None)
        if old is not None:
            self._messenger.rooms[target.conversation] = replace(old, address=target)
        return self._messenger.rooms.get(target.conversation)


@dataclass(kw_only=True)
class Bot(TestBot):
    """A host on rooms that tests can do things to."""

    __test__ = False

    rooms: bool = True
    settings: HostSettings = HASTY
    hooks: Sequence[object] = (chats, context)
    place: Rooms = field(init=False)

    def build(self, storage: Storage | None = None) -> Engine:
        """A new host; what rooms are stays as it was."""
        engine = super().build(storage)
        assert isinstance(self.surface.conversations, MemoryRooms)
        rooms = Rooms(self.surface.conversations)
        if hasattr(self, "place"):
            rooms.__dict__.update(self.place.__dict__)
        self.place = self.surface.conversations = rooms
        return engine

    async def come(self, kind: Kind, conversation: str, text: str = "", **more: Any) -> None:
        """Something comes in that nobody said."""
        said = Inbound(
            address=Address(surface=NAME, conversation=conversation),
            event_id=f"$x{len(self.messenger.incoming)}",
            sender="@ann",
            sent_at=1.0,
            kind=kind,
            text=text,
            **more,
        )
        self.messenger.incoming.append(said)
        await self.messenger.change()

    async def first(self) -> str:
        """Make a person's first conversation."""
        await self.come(Kind.START, "entry")
        await self.pop("entry")
        (room,) = self.messenger.rooms
        await self.pop(room)
        return room


async def until(condition: Callable[[], bool]) -> None:
    """Let the host go on until something is so."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0)


def failed(bot: Bot, conversation: str) -> bool:
    """Whether a turn in a conversation was put off."""
    first = [lane.items[0] for lane in bot.engine.turns.lanes.standings()]
    return any(entry.failures and entry.message.address.conversation == conversation for entry in first)


async def test_two_calls_at_one_instant_make_one_conversation() -> None:
    """A person who invites the bot twice at once has one first conversation, and is told in both places."""
    bot = Bot()
    for entry in ("here", "there"):
        await bot.come(Kind.START, entry)
    async with bot.running():
        said = [await bot.pop("here"), await bot.pop("there")]
    (room,) = bot.messenger.rooms.values()
    assert room.number == 1
    assert sum("is ready" in text for text in said) == 1
    assert sum("You have 1 conversation" in text for text in said) == 1


async def test_a_call_waits_while_another_one_makes_the_conversation() -> None:
    """The second invite comes while the first can't be done: still one conversation, in the next life too."""
    bot = Bot()
    await bot.come(Kind.START, "here")
    async with bot.running():
        bot.place.stuck = ""
        await until(lambda: failed(bot, "here"))
    await bot.come(Kind.START, "there")
    async with bot.running():
        await until(lambda: failed(bot, "there"))
        bot.place.stuck = None
        assert "is ready" in await bot.pop("here")
        assert "You have 1 conversation" in await bot.pop("there")
    assert len(bot.messenger.rooms) == 1


async def test_a_long_wait_is_said_where_the_person_called() -> None:
    """While a room can't be made the person sees one line, which the answer takes the place of."""
    bot = Bot(pace=Pace())
    await bot.come(Kind.START, "entry")
    async with bot.running():
        bot.place.refusals = [Unavailable("busy", retry_after=0.0) for _ in range(3)]
        welcome = await bot.pop_message("entry")
    assert welcome.versions[0] == words.SETTING_UP()
    assert "is ready" in welcome.text
    assert len(bot.messenger.texts("entry")) == 1


async def test_a_final_refusal_is_told() -> None:
    """A person whose room will never be made learns that, and may call again."""
    bot = Bot()
    await bot.come(Kind.START, "entry")
    async with bot.running():
        bot.place.refusals = [Rejected("never", public="There can be no room for you.")]
        assert await bot.pop("entry") == "There can be no room for you."
        await bot.come(Kind.START, "entry")
        assert "is ready" in await bot.pop("entry")


async def test_a_new_name_is_taken_over() -> None:
    """What the person called their room stands in the list of their conversations."""
    bot = Bot()
    async with bot.running():
        room = await bot.first()
        await bot.come(Kind.RENAMED, room, "Trip")
        await bot.push("!chats", conversation=room)
        assert "Trip" in await bot.pop(room)
        await bot.come(Kind.RENAMED, room, "")
        await bot.push("!chats", conversation=room)
        assert "Trip" not in await bot.pop(room)
    assert [one.name for one in bot.engine.book.live(NAME, "@ann")] == ["C1"]


async def test_a_place_where_several_talk_belongs_to_the_place() -> None:
    """Everybody in it may ask; nobody's private conversations change, and only who manages it may clear it."""
    bot = Bot()
    async with bot.running():
        bot.place.shared, bot.place.managers = {GROUP}, {"@ann"}
        await bot.come(Kind.START, GROUP)
        assert await bot.pop(GROUP) == words.GROUP_GREETING(agent="Agent 0")
        for sender in ("@ann", "@bob"):
            await bot.push(f"I am {sender}", conversation=GROUP, sender=sender)
            assert await bot.pop(GROUP) == f"I am {sender}"
        before = bot.messenger.rooms[GROUP]
        await bot.push("!clear", conversation=GROUP, sender="@bob")
        assert await bot.pop(GROUP) == words.NOT_ALLOWED(prefix="!", name="clear")
        await bot.push("!clear", conversation=GROUP, sender="@ann")
        await bot.pop(GROUP)
    after = bot.messenger.rooms[GROUP]
    assert (before.owner, before.shared, before.number) == (GROUP, True, 1)
    assert before.context != after.context
    assert bot.engine.book.live(NAME, "@ann") == []


async def test_a_shared_place_is_bound_by_the_first_who_asks() -> None:
    """Where the binding of a group is gone the next question makes one, and is answered; no greeting again."""
    bot = Bot()
    async with bot.running():
        bot.place.shared = {GROUP}
        await bot.push("hello", conversation=GROUP, sender="@bob")
        assert await bot.pop(GROUP) == "hello"
    assert bot.messenger.rooms[GROUP].shared


async def test_a_conversation_goes_on_where_it_was_moved_to() -> None:
    """Number, agent, context and what was used stay; what waits before the move is answered first."""
    bot = Bot()
    async with bot.running():
        room = await bot.first()
        await bot.push("one", conversation=room)
        await bot.pop(room)
        old = bot.messenger.rooms[room]
        await bot.come(Kind.LEFT, room, target="new")
        await bot.push("two", conversation="new")
        assert await bot.pop("new") == "two"
        book = bot.engine.book
        assert book.live(NAME, "@ann") == [replace(old, address=replace(old.address, conversation="new"))]
        assert (await book.usages.of(Address(surface=NAME, conversation="new"))).messages == 2


async def test_what_is_counted_while_it_is_looked_up_stays_counted() -> None:
    """Nor does a look into the state bring back what a new context has put behind it."""
    bot = Bot()
    async with bot.running():
        usages, address = bot.engine.book.usages, Address(surface=NAME, conversation="new")
        async with asyncio.TaskGroup() as group, bot.engine.journal.changing():  # whoever looks waits
            look = group.create_task(usages.of(address))
            await asyncio.sleep(0)
            usages.know(address, Usage(since=1.0))
        assert look.result() == await usages.of(address) == Usage(since=1.0)


async def test_what_shows_elsewhere_under_the_same_context_has_moved() -> None:
    """A binding that is found at another place is the same conversation, which is then there alone."""
    bot = Bot()
    async with bot.running():
        room = await bot.first()
        moved = bot.messenger.rooms.pop(room)
        bot.messenger.rooms["new"] = replace(moved, address=replace(moved.address, conversation="new"))
        await bot.push("two", conversation="new")
        assert await bot.pop("new") == "two"
        assert [one.address.conversation for one in bot.engine.book.live(NAME, "@ann")] == ["new"]


async def test_a_move_that_is_wrong_ends_the_conversation() -> None:
    """Nothing is believed of the place where it does not go on."""
    bot = Bot()
    async with bot.running():
        room = await bot.first()
        bot.messenger.rooms.pop(room)
        await bot.come(Kind.LEFT, room, target="trap")
        await bot.come(Kind.START, "entry")
        assert "is ready" in await bot.pop("entry")
        assert [one.number for one in bot.engine.book.live(NAME, "@ann")] == [2]


async def test_where_all_rooms_are_gone_a_call_makes_a_new_one() -> None:
    """Nobody is led to rooms that were taken away under the bot."""
    bot = Bot()
    async with bot.running():
        bot.messenger.rooms.pop(await bot.first())
        await bot.come(Kind.START, "entry")
        assert "is ready" in await bot.pop("entry")
    assert [one.number for one in bot.messenger.rooms.values()] == [2]


async def test_a_conversation_that_lost_its_memory_gets_a_fresh_one() -> None:
    """A room that says whose it is but not with which agent: both are chosen, written there, and stay."""
    bare = Binding(
        address=Address(surface=NAME, conversation="old"),
        owner="@ann",
        number=7,
        name="C7 old times",
        agent="",
        context="",
        created_at=1.0,
    )
    bot = Bot()
    async with bot.running():
        bot.messenger.rooms["old"] = bare
        await bot.push("hello", conversation="old")
        assert await bot.pop("old") == "hello"
        whole = bot.messenger.rooms["old"]
        assert (whole.agent, whole.number) == ("agent-0", 7)
        assert whole.context.isdigit()
        await bot.push("!new", conversation="old")
        await bot.pop("old")
    assert max(one.number for one in bot.messenger.rooms.values()) == 8
    bot.messenger.rooms["old"] = bare
    async with bot.running():
        result = await bot.engine.book.reconciling.restore(NAME, [bare], complete=False)
        assert result.completed == (whole,)
        assert bot.engine.book.at(bare.address) == whole


async def test_without_an_agent_nothing_is_completed() -> None:
    """Who has no agent has no fresh context either, and that is said with a reason."""
    bot = Bot(default_agent=None, agents=[Agent(id="x", label="X", transport="scripted", workspace="x")])
    bare = Binding(
        address=Address(surface=NAME, conversation="old"),
        owner="@ann",
        number=1,
        name="C1",
        agent="",
        context="",
        created_at=1.0,
    )
    async with bot.running():
        result = await bot.engine.book.reconciling.restore(NAME, [bare], complete=False)
    assert result.conflicts == {"old": "NO_AGENT"}
    assert bot.engine.book.at(bare.address) is None


async def test_who_talks_where_nobody_knows_whose_it_is_is_told_once() -> None:
    """One line, and no more; commands still work there."""
    bot = Bot()
    async with bot.running():
        bot.place.lost = {"lost"}
        for text in ("hello?", "anybody?", "!help"):
            await bot.push(text, conversation="lost")
        assert await bot.pop("lost") == "I lost track of this one."
        assert "`!help" in await bot.pop("lost")
