"""Groups, upgrades, old rooms and an empty store, on a real homeserver in both room versions that are in use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from dataclasses import replace as changed
from typing import Any
from uuid import uuid4

import pytest

from surfaces_core import Address, Binding, Conversations, Kind, Opening, Reconciled
from surfaces_core.testing.recording_intake import RecordingIntake
from surfaces_demo.synapse import Synapse
from surfaces_matrix import MatrixSurface
from surfaces_matrix.client import Client, quote

from .conftest import Bot, outbound
from .test_real_synapse import client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


class Host(RecordingIntake):
    """An intake that completes bindings as the host does."""

    async def restore(self, found: Any, **seen: Any) -> Reconciled:
        whole = [one if one.context else changed(one, agent="17", context="77") for one in found]
        await super().restore(whole, **seen)
        bare = {one.address for one in found if not one.context}
        return Reconciled(completed=tuple(one for one in whole if one.address in bare))


@dataclass
class Home:
    """A bot and two people on a real homeserver, all logged in."""

    bot: Bot
    me: str
    robot: Client
    """The bot's account at another device."""
    ann: Client
    bob: Client
    version: str

    async def make(self, who: Client, **config: Any) -> str:
        made = await who.call("POST", "/v3/createRoom", {"room_version": self.version, **config})
        return str(made["room_id"])

    async def act(self, who: Client, room: str, act: str, **body: Any) -> dict[str, Any]:
        return await who.call("POST", quote("v3", "rooms", room, act), body)

    async def put(self, who: Client, room: str, kind: str, content: Any, key: str = "") -> None:
        await who.call("PUT", quote("v3", "rooms", room, "state", kind, *([key] if key else [])), content)

    async def say(self, room: str, body: str, **more: Any) -> None:
        content = {"msgtype": "m.text", "body": body, **more}
        await self.ann.call("PUT", quote("v3", "rooms", room, "send", "m.room.message", uuid4().hex), content)

    async def state(self, room: str, kind: str, key: str = "") -> dict[str, Any]:
        return await self.robot.call("GET", quote("v3", "rooms", room, "state", kind, *([key] if key else [])))

    async def entry(self, kind: Kind) -> Any:
        entries = self.bot.intake.entries
        await self.bot.intake.wait_until(lambda: any(entry.kind is kind for entry in entries), kind.value)
        return [entry for entry in entries if entry.kind is kind][-1]


@pytest.fixture(params=["11", "12"])
async def home(request: pytest.FixtureRequest, synapse: Synapse) -> AsyncIterator[Home]:
    """Fresh people."""
    async with AsyncExitStack() as stack:
        name = uuid4().hex[:12]
        accounts = [await synapse.register(f"{who}-{name}") for who in ("bot", "ann", "bob")]
        robot, ann, bob = [
            await stack.enter_async_context(await client(synapse, one.user_id, one.password)) for one in accounts
        ]
        settings = {"user_id": accounts[0].user_id, "password": accounts[0].password, "group_rooms": "mention"}
        bot = Bot(synapse.url, settings=settings, intake=Host())
        yield Home(bot, accounts[0].user_id, robot, ann, bob, request.param)


def doors(surface: MatrixSurface) -> Conversations:
    assert surface.conversations is not None
    return surface.conversations


def at(room: str) -> Address:
    return Address(surface="work", conversation=room)


async def test_a_group_is_answered_upgraded_and_known_again(home: Home) -> None:
    """Only what mentions the bot comes in; after an upgrade it goes on there, and an empty store knows it."""
    mention = {"m.mentions": {"user_ids": [home.me]}}
    async with home.bot.live() as surface:
        room = await home.make(home.ann, preset="private_chat", invite=[home.bob.user_id, home.me])
        start = await home.entry(Kind.START)
        assert await doors(surface).enter(start.address, start.sender)
        fields: dict[str, Any] = {"number": 1, "name": "C1", "agent": "17", "context": "42", "created_at": 1e9}
        here = Binding(address=at(room), owner=room, shared=True, **fields)
        await doors(surface).record(here)
        await home.say(room, "among us")
        await home.say(room, f"{home.me}: what is new?", **mention)
        await home.bot.intake.wait_said(["what is new?"], "the mention")
        assert doors(surface).manages(at(room), home.ann.user_id)
        assert not doors(surface).manages(at(room), home.bob.user_id)
        upgraded = await home.act(home.ann, room, "upgrade", new_version=home.version)
        new = upgraded["replacement_room"]
        left = await home.entry(Kind.LEFT)
        assert left.target == new
        if await doors(surface).follow(at(room), at(new)) is None:
            await home.act(home.ann, new, "invite", user_id=home.me)
            assert await doors(surface).enter(at(new), home.ann.user_id)
        there = await doors(surface).find(at(new))
        assert there == changed(here, address=at(new), owner=new)
        await surface.send(outbound("late", address=at(room)))
        await home.say(new, f"{home.me}: here?", **mention)
        await home.bot.intake.wait_said(["what is new?", "here?"], "the mention in the new room")
    home.bot.store.rows.clear()
    home.bot.intake = Host()
    async with home.bot.live():
        assert home.bot.intake.bindings == [there]


async def test_an_empty_store_knows_rooms_of_an_older_bot(home: Home) -> None:
    """Those that a Space of the bot's lists get what they lack, once; the others stay what they are."""
    async with home.bot.live() as surface:
        of = Opening(
            key="k",
            surface="work",
            owner=home.ann.user_id,
            owner_name="",
            number=1,
            name="C1",
            agent="17",
            context="42",
            created_at=1e9,
        )
        first = await doors(surface).open(of)
    space = await home.make(home.robot, creation_content={"type": "m.space"}, invite=[home.bob.user_id])
    old = await home.make(home.robot, name="C3 old times", invite=[home.bob.user_id])
    await home.put(home.robot, space, "m.space.child", {"via": ["localhost"]}, old)
    fake = await home.make(home.bob, invite=[home.me])
    await home.act(home.robot, fake, "join")
    await home.put(home.bob, fake, "io.surfaces.binding", await home.state(first.conversation, "io.surfaces.binding"))
    for _ in range(2):
        home.bot.store.rows.clear()
        home.bot.intake = Host()
        async with home.bot.live():
            found = {one.address.conversation: one for one in home.bot.intake.bindings}
            assert found.keys() == {first.conversation, old}
            restored = found[old]
            assert (restored.owner, restored.number, restored.context) == (home.bob.user_id, 3, "77")
            assert (found[first.conversation].agent, found[first.conversation].context) == ("17", "42")
            assert home.bot.intake.skipped == {fake: "foreign_sender"}
    assert (await home.state(old, "io.surfaces.binding"))["context_id"] == "77"
    assert (await home.state(space, "io.surfaces.space"))["owner"] == home.bob.user_id
