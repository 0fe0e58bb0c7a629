"""Rooms that others have a hand in: groups where the bot is mentioned, rooms that move, are renamed or taken away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from dataclasses import replace as changed
from typing import Any

import pytest

from surfaces_core import Address, Binding, Conversations, Kind, Opening
from surfaces_core.testing.recording_intake import RecordingIntake
from surfaces_matrix import MatrixSurface, reading
from surfaces_matrix.errors import Refused
from surfaces_testing.homeserver import PASSWORD, FakeHomeserver, Status
from surfaces_testing.homeserver.person import Person

from .conftest import Bot, outbound

ME = "@bot:hs.test"
pytestmark = pytest.mark.timeout(60)


@dataclass
class Home:
    """A homeserver with people, and a bot that may live on it."""

    server: FakeHomeserver
    bot: Bot
    ann: Person
    bob: Person
    eve: Person

    def group(self, **config: Any) -> str:
        """A room of Ann's and Bob's into which the bot is invited."""
        room = self.ann.create_room(invite=[self.bob.user_id, ME], **config)
        self.bob.join(room)
        return room

    async def texts(self, *texts: str) -> None:
        """Wait until these messages came to the host, and no others."""
        await self.bot.intake.wait_said(texts, "what was said to the bot")

    async def entry(self, kind: Kind) -> Any:
        """The last entry of a kind, once there is one."""
        entries = self.bot.intake.entries
        await self.bot.intake.wait_until(lambda: any(entry.kind is kind for entry in entries), kind.value)
        return [entry for entry in entries if entry.kind is kind][-1]


@pytest.fixture(params=["11", "12"])
async def home(request: pytest.FixtureRequest) -> AsyncIterator[Home]:
    """In both room versions that are in use."""
    async with FakeHomeserver(room_version=request.param) as server:
        server.register(ME, PASSWORD, "Robbie")
        settings = {"user_id": ME, "password": PASSWORD, "group_rooms": "mention", "allow_users": ["@[ab]*:hs.test"]}
        people = (server.person(f"@{name}:hs.test") for name in ("ann", "bob", "eve"))
        yield Home(server, Bot(server.url, settings=settings), *people)


def doors(surface: MatrixSurface) -> Conversations:
    assert surface.conversations is not None
    return surface.conversations


def at(room: str) -> Address:
    return Address(surface="work", conversation=room)


def shared(room: str, **more: Any) -> Binding:
    fields = {"number": 1, "name": "C1", "agent": "17", "context": "42", "created_at": 1e9}
    return Binding(address=at(room), owner=room, shared=True, **{**fields, **more})


@asynccontextmanager
async def joined_group(home: Home, **settings: Any) -> AsyncIterator[tuple[MatrixSurface, str]]:
    """The bot in a group that is bound to the room."""
    async with home.bot.live(**settings) as surface:
        room = home.group()
        start = await home.entry(Kind.START)
        assert await doors(surface).enter(start.address, start.sender)
        assert await doors(surface).is_shared(start.address)
        await doors(surface).record(shared(room))
        yield surface, room


def said(body: str, **more: Any) -> dict[str, Any]:
    return {"msgtype": "m.text", "body": body, **more}


MENTION = {"m.mentions": {"user_ids": [ME]}}


# Groups -------------------------------------------------------------------------------------------


async def test_in_a_group_only_what_is_meant_for_the_bot_comes_in(home: Home) -> None:
    """By mention, by reply, or by name from clients without mentions; without the name, and from allowed people."""
    async with joined_group(home) as (surface, room):
        ann, bob = home.ann, home.bob
        mine = (await surface.send(outbound("an answer", address=at(room)))).remote_id
        ann.say(room, "just among us")
        ann.send(room, said("Robbie: what is new?", **MENTION))
        bob.send(room, said("Robbie is funny", **{"m.mentions": {}}))
        bob.say(room, f"{ME} and now?")
        bob.say(room, "hey robbie, you there?")
        bob.say(room, "@robbie:elsewhere.org is another one")
        ann.say(room, "robbies are many")
        ann.reply(room, mine, "why?")
        ann.reply(room, bob.say(room, "no"), "not you")
        home.server.world.member(home.server.rooms[room], home.ann.user_id, home.eve.user_id, "invite")
        home.eve.join(room)
        home.eve.send(room, said("Robbie: me too", **MENTION))
        ann.send(room, said("Robbie", **MENTION))
        await home.texts("what is new?", "and now?", "hey you there?", "why?", "Robbie")


async def test_a_reply_waits_until_it_can_be_told_whom_it_means(home: Home) -> None:
    """With what was said behind it in the group, in order; nobody else waits. A look that is refused settles it."""
    async with joined_group(home) as (surface, room):
        ann = home.ann
        mine = (await surface.send(outbound("an answer", address=at(room)))).remote_id
        alone = (await doors(surface).open(opening(ann.user_id))).conversation
        ann.join(alone)
        home.server.faults.always("event", Status(status=503))
        ann.reply(room, mine, "why?")
        ann.send(room, said("Robbie: and why now?", **MENTION))
        ann.say(alone, "in private")
        await home.texts("in private")
        home.server.faults.clear("event")
        await home.texts("in private", "why?", "and why now?")
        home.server.faults.script("event", [Status(status=404, errcode="M_NOT_FOUND")])
        ann.reply(room, mine, "who knows")
        ann.send(room, said("Robbie: the end", **MENTION))
        await home.texts("in private", "why?", "and why now?", "the end")


async def test_a_reply_that_stays_unclear_is_passed_over(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while the group goes on with what is clear, and nothing counts as missed."""
    async with joined_group(home) as (surface, room):
        mine = (await surface.send(outbound("an answer", address=at(room)))).remote_id
        # nobody can wait for minutes here
        monkeypatch.setattr(reading, "GIVE_UP_S", 0.0)
        home.server.faults.always("event", Status(status=503))
        home.ann.reply(room, mine, "why?")
        home.ann.send(room, said("Robbie: and now?", **MENTION))
        await home.texts("and now?")
        assert Kind.GAP not in {entry.kind for entry in home.bot.intake.entries}


async def test_a_group_is_known_again_by_an_empty_store(home: Home) -> None:
    """Its binding is the bot's own, though it may set no state there; and what it may hear is, too."""
    async with joined_group(home) as (_, room):
        pass
    home.bot.store.rows.clear()
    home.bot.intake = RecordingIntake()
    home.ann.say(room, "among us")
    async with home.bot.live() as surface:
        [found] = home.bot.intake.bindings
        assert found == shared(room, name=found.name)
        assert await doors(surface).find(at(room)) == found
        home.ann.say(room, "still among us")
        home.ann.send(room, said("Robbie, hello", **MENTION))
        await home.texts("hello")


async def test_who_manages_a_group_is_told_by_its_power_levels(home: Home) -> None:
    """Fifty or more, or who made a room of version 12; by id, whatever people call themselves; and it may change."""
    async with joined_group(home) as (surface, room):
        assert doors(surface).manages(at(room), home.ann.user_id)
        assert not doors(surface).manages(at(room), home.bob.user_id)
        levels = home.server.rooms[room].content("m.room.power_levels")
        levels["users"] = {**levels["users"], home.bob.user_id: 50}
        home.ann.set_state(room, "m.room.power_levels", levels)
        async with asyncio.timeout(10):
            while not doors(surface).manages(at(room), home.bob.user_id):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert not doors(surface).manages(at("!other"), home.ann.user_id)


async def test_where_groups_are_declined_nothing_said_there_is_taken(home: Home) -> None:
    """Also in one that the bot is in from a time when they were not."""
    async with joined_group(home) as (_, room):
        pass
    async with home.bot.live(group_rooms="decline") as surface:
        home.ann.send(room, said("Robbie, hello", **MENTION))
        other = home.group()
        await home.entry(Kind.START)
        await home.bot.intake.wait_until(
            lambda: [e.address.conversation for e in home.bot.intake.entries].count(other) == 1, "the second invite"
        )
        assert not await doors(surface).enter(at(other), home.ann.user_id)
        assert home.bot.intake.said() == []


# Moves --------------------------------------------------------------------------------------------


def opening(owner: str) -> Opening:
    fields: dict[str, Any] = {"number": 1, "name": "C1", "agent": "17", "context": "42", "created_at": 1e9}
    return Opening(key="k", surface="work", owner=owner, owner_name="", **fields)


def upgrade(who: Person, home: Home, old: str, *, predecessor: str | None = None, **config: Any) -> str:
    """What homeservers do for `/upgrade`: a new room, and a tombstone in the old one."""
    names = {"room_id": old if predecessor is None else predecessor}
    new = who.create_room(creation_content={"predecessor": names}, **config)
    home.server.world.add(
        home.server.rooms[old], who.user_id, "m.room.tombstone", {"body": "", "replacement_room": new}, state_key=""
    )
    return new


async def test_a_conversation_goes_on_in_the_room_that_replaces_its_own(home: Home) -> None:
    """With its number, agent and context, in the Space, with its person invited; what was to be said is said there."""
    bot = home.server.person(ME, "Robbie")
    async with home.bot.live() as surface:
        old = (await doors(surface).open(opening(home.ann.user_id))).conversation
        was = await doors(surface).find(at(old))
        assert was is not None
        [space] = [key for kind, key in home.server.state(old) if kind == "m.space.parent"]
        new = upgrade(bot, home, old, name="C1")
        left = await home.entry(Kind.LEFT)
        assert (left.address, left.target) == (at(old), new)
        for _ in range(2):  # again after a crash
            assert await doors(surface).follow(at(old), at(new)) == changed(was, address=at(new))
        assert home.server.members(new)[home.ann.user_id] == "invite"
        assert home.server.members(old)[ME] == "leave"
        children = {key: c for (kind, key), c in home.server.state(space).items() if kind == "m.space.child"}
        assert (children[old], children[new]["order"]) == ({}, "000000001")
        await surface.send(outbound("late", address=at(old)))
        assert [message.body for message in home.server.shown(new)] == ["late"]
    home.bot.store.rows.clear()
    async with home.bot.live():
        assert [one.address for one in home.bot.intake.bindings] == [at(new)]


async def test_a_group_goes_on_where_its_people_go(home: Home) -> None:
    """The binding comes along, and mentions count there."""
    async with joined_group(home) as (surface, room):
        new = upgrade(home.ann, home, room, preset="public_chat")
        left = await home.entry(Kind.LEFT)
        assert await doors(surface).follow(left.address, at(left.target)) == shared(new)
        home.ann.say(new, "among us")
        home.ann.send(new, said("Robbie, here", **MENTION))
        await home.texts("here")


async def test_a_move_that_is_not_true_is_not_followed(home: Home) -> None:
    """The room it leads to must name the one it replaces; the bot goes from there, and stays where it was."""
    async with joined_group(home) as (surface, room):
        trap = upgrade(home.ann, home, room, predecessor="!other:hs.test", preset="public_chat")
        assert await doors(surface).follow(at(room), at(trap)) is None
        assert home.server.members(trap)[ME] == "leave"
        elsewhere = home.eve.create_room(creation_content={"predecessor": {"room_id": room}}, preset="public_chat")
        assert await doors(surface).follow(at(room), at(elsewhere)) is None
        assert ME not in home.server.members(elsewhere)
        assert home.server.members(room)[ME] == "join"


async def test_an_encrypted_room_does_not_go_on_in_a_plain_one(home: Home) -> None:
    """Whoever can write a tombstone could else make the bot say in the clear what was to be encrypted."""
    async with joined_group(home) as (surface, room):
        secret = {"algorithm": "m.megolm.v1.aes-sha2"}
        home.server.world.add(home.server.rooms[room], home.ann.user_id, "m.room.encryption", secret, state_key="")
        home.ann.send(room, said("Robbie, here", **MENTION))
        await home.entry(Kind.GAP)  # for what was not encrypted there
        plain = upgrade(home.ann, home, room, preset="public_chat")
        assert await doors(surface).follow(at(room), at(plain)) is None
        assert home.server.members(plain)[ME] == "leave"


async def test_who_is_invited_later_comes_after_all(home: Home) -> None:
    """Where nobody may come in without an invite, the invite is the way, to the same conversation."""
    async with joined_group(home) as (surface, room):
        new = upgrade(home.ann, home, room)
        assert await doors(surface).follow(at(room), at(new)) is None
        with pytest.raises(Refused):
            await surface.send(outbound("nowhere", address=at("!nowhere:hs.test")))
        home.ann.invite(new, ME)
        home.ann.invite(new, home.bob.user_id)
        assert await doors(surface).enter(at(new), home.ann.user_id)
        assert await doors(surface).find(at(new)) == shared(new)
        assert home.server.members(room)[ME] == "leave"


# Names, and what is taken away --------------------------------------------------------------------


async def test_a_new_name_comes_in_and_stays(home: Home) -> None:
    """A person renames their room; the host learns it, and writing the binding anew does not undo it."""
    async with home.bot.live() as surface:
        room = (await doors(surface).open(opening(home.ann.user_id))).conversation
        home.ann.join(room)
        home.ann.set_state(room, "m.room.name", {"name": "Trip"})
        renamed = await home.entry(Kind.RENAMED)
        assert (renamed.address, renamed.text, renamed.sender) == (at(room), "Trip", home.ann.user_id)
        binding = await doors(surface).find(at(room))
        assert binding is not None
        assert binding.name == "Trip"
        await doors(surface).record(changed(binding, name="C1", context="43"))  # by a host that has not heard of it
        assert home.server.state(room)["m.room.name", ""] == {"name": "Trip"}
        await doors(surface).record(binding)
        await doors(surface).record(changed(binding, name="C1"))
        assert home.server.state(room)["m.room.name", ""] == {"name": "C1"}


async def test_without_power_a_binding_is_kept_aside_until_there_is_power_again(home: Home) -> None:
    """It is found by an empty store all the same; and state counts again once it can be set."""
    async with home.bot.live() as surface:
        address = await doors(surface).open(opening(home.ann.user_id))
        room = home.server.rooms[address.conversation]
        levels = room.content("m.room.power_levels")
        strict = {**levels, "users": {}, "users_default": 0, "events": {"io.surfaces.binding": 2**53 - 1}}
        home.server.world.add(room, ME, "m.room.power_levels", strict, state_key="")
        binding = await doors(surface).find(address)
        assert binding is not None
        if room.version == "12":
            return  # who made the room stands above all levels
        new = changed(binding, context="43")
        await doors(surface).record(new)
        assert room.content("io.surfaces.binding")["context_id"] == "42"
        assert await doors(surface).find(address) == new
    home.bot.store.rows.clear()
    async with home.bot.live() as surface:
        assert home.bot.intake.bindings == [new]
        home.server.world.add(room, ME, "m.room.power_levels", levels, state_key="")
        await doors(surface).record(changed(new, context="44"))
        assert room.content("io.surfaces.binding")["context_id"] == "44"
        assert await doors(surface).find(address) == changed(new, context="44")
