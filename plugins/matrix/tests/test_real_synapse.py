"""The surface on a real homeserver, in both room versions that are in use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from surfaces_core import Address, Attachment, FileKind, Kind
from surfaces_core.testing import contract
from surfaces_core.testing.checks.surface import SurfaceBench
from surfaces_core.testing.recording_intake import RecordingIntake
from surfaces_demo.synapse import Synapse
from surfaces_matrix import words
from surfaces_matrix.client import Client, quote
from surfaces_matrix.errors import Refused

from .conftest import Bot, Workspace, a_file, outbound

pytestmark = pytest.mark.slow


@dataclass
class Talk:
    """A bot and a person, each logged in, in one room."""

    bot: Bot
    bot_id: str
    person: Client
    room: str

    async def say(self, text: str, **content: Any) -> str:
        """The person says something; the event's id."""
        path = quote("v3", "rooms", self.room, "send", "m.room.message", uuid4().hex)
        said = await self.person.call("PUT", path, {"msgtype": "m.text", "body": text, **content})
        return str(said["event_id"])

    async def seen(self) -> list[dict[str, Any]]:
        """The bot's messages as they are now, oldest first, edits applied, without what was taken back."""
        query = {"dir": "b", "limit": "500"}
        page = await self.person.call("GET", quote("v3", "rooms", self.room, "messages"), query=query)
        messages: dict[str, dict[str, Any]] = {}
        for event in reversed(page["chunk"]):
            if event["type"] != "m.room.message" or event["sender"] != self.bot_id or not event["content"]:
                continue
            replaced = event["content"].get("m.relates_to", {}).get("event_id")
            messages[replaced or event["event_id"]] = event["content"].get("m.new_content", event["content"])
        return list(messages.values())

    async def shown(self) -> list[str]:
        """The texts of the bot's messages."""
        return [content["body"] for content in await self.seen()]

    def bench(self, forget: Callable[[], Awaitable[None]]) -> SurfaceBench:
        async def push(text: str) -> None:
            await self.say(text)

        async def other_device() -> None:
            await self.bot.store.delete("login")

        return SurfaceBench(
            make=self.bot.make,
            address=Address(surface="work", conversation=self.room),
            push=push,
            shown=self.shown,
            forget=forget,
            other_device=other_device,
        )


async def client(synapse: Synapse, user_id: str, password: str) -> Client:
    """A client that is logged in once it is entered."""
    client = Client(synapse.url, user_id)
    async with client:
        identifier = {"type": "m.id.user", "user": user_id}
        login = {"type": "m.login.password", "identifier": identifier, "password": password}
        answer = await client.call_as(None, "POST", "/v3/login", login)
    client.authorize(answer["device_id"], answer["access_token"])
    return client


@asynccontextmanager
async def talking(synapse: Synapse, room_version: str) -> AsyncIterator[Talk]:
    """A fresh pair in a fresh room."""
    name = uuid4().hex[:12]
    account, ann = await synapse.register(f"bot-{name}"), await synapse.register(f"ann-{name}")
    settings = {"user_id": account.user_id, "password": account.password}
    async with (
        await client(synapse, ann.user_id, ann.password) as person,
        await client(synapse, account.user_id, account.password) as helper,
    ):
        made = {"invite": [account.user_id], "room_version": room_version, "preset": "private_chat"}
        room = (await person.call("POST", "/v3/createRoom", made))["room_id"]
        await helper.call("POST", quote("v3", "join", room), {})
        yield Talk(Bot(synapse.url, settings=settings), account.user_id, person, room)


@pytest.fixture(params=["11", "12"])
async def talk(request: pytest.FixtureRequest, synapse: Synapse) -> AsyncIterator[Talk]:
    """In each room version."""
    async with talking(synapse, request.param) as talk:
        yield talk


@contract.surface
@pytest.mark.parametrize("talk", ["12"], indirect=True)
def test_contract(talk: Talk) -> SurfaceBench:
    """It keeps every promise of a surface; in rooms of version 11, too, as the homeserver in memory shows."""

    async def forget() -> None:
        """Nothing: it would take a restart (see `test_real_replay.py`)."""

    return talk.bench(forget)


once = pytest.mark.parametrize("talk", ["12"], indirect=True)
"""For what takes long and is the same in each room version: how many events a sync shows."""


@once
async def test_a_long_absence_is_caught_up(talk: Talk) -> None:
    """More than a sync shows is fetched, in order, without a gap being said."""
    bot = talk.bot
    async with bot.live(catch_up_max_messages=500):
        await talk.say("before")
        await bot.intake.wait_said(["before"], "the first message")
    missed = [f"missed {number}" for number in range(210)]
    for text in missed:
        await talk.say(text)
    async with bot.live(catch_up_max_messages=500):
        await bot.intake.wait_said(["before", *missed], "all that was missed")
    assert all(entry.kind is Kind.MESSAGE for entry in bot.intake.entries)


@once
async def test_too_long_an_absence_is_said(talk: Talk) -> None:
    """Beyond the bound one sentence stands for the rest."""
    bot = talk.bot
    async with bot.live():
        await talk.say("before")
        await bot.intake.wait_said(["before"], "the first message")
    for number in range(110):
        await talk.say(f"{number}")
    async with bot.live(catch_up_max_messages=10):
        await bot.intake.wait_said(["before", *[f"{number}" for number in range(100, 110)]], "the last ten")
    assert [entry.text for entry in bot.intake.entries if entry.kind is Kind.GAP] == [words.MISSED_AWAY.text]


@once
async def test_the_bots_own_edits_push_nothing_out(talk: Talk) -> None:
    """After more own events than a sync shows the person's one message still comes without any fetching."""
    bot = talk.bot
    async with bot.live() as surface:
        await talk.say("before")
        await bot.intake.wait_said(["before"], "the first message")
        for part in range(105):
            await surface.send(outbound_to(talk, f"{part}", part=part))
        await talk.say("after")
        await bot.intake.wait_said(["before", "after"], "what was said among the bot's own words")
    assert all(entry.kind is Kind.MESSAGE for entry in bot.intake.entries)


async def test_an_invite_and_a_kick_come_in(talk: Talk) -> None:
    """The one is a start, the other a departure, each once."""
    bot, person = talk.bot, talk.person
    async with bot.live():
        made = {"invite": [talk.bot_id], "is_direct": True}
        room = (await person.call("POST", "/v3/createRoom", made))["room_id"]
        await bot.intake.wait_until(lambda: len(bot.intake.entries) == 1, "the invite")
        await person.call("POST", quote("v3", "rooms", talk.room, "kick"), {"user_id": talk.bot_id})
        await bot.intake.wait_until(lambda: len(bot.intake.entries) == 2, "the kick")
    start, left = bot.intake.entries
    assert (start.kind, start.sender, start.address.conversation) == (Kind.START, person.user_id, room)
    assert (left.kind, left.address.conversation) == (Kind.LEFT, talk.room)


async def test_a_kick_while_away_comes_in(talk: Talk) -> None:
    """It is in the first sync after the restart."""
    bot = talk.bot
    async with bot.live():
        pass
    await talk.person.call("POST", quote("v3", "rooms", talk.room, "kick"), {"user_id": talk.bot_id})
    async with bot.live():
        await bot.intake.wait_until(lambda: len(bot.intake.entries) == 1, "the kick")
    assert bot.intake.entries[0].kind is Kind.LEFT


async def test_a_declined_invite_is_gone(talk: Talk) -> None:
    """Somebody who is denied sees the bot leave."""
    bot, person = talk.bot, talk.person
    async with bot.live(deny_users=[person.user_id]):
        room = (await person.call("POST", "/v3/createRoom", {"invite": [talk.bot_id]}))["room_id"]
        path = quote("v3", "rooms", room, "state", "m.room.member", talk.bot_id)
        while (await person.call("GET", path))["membership"] != "leave":
            pass
    assert bot.intake.entries == []


async def test_an_unknown_cursor_is_survived(talk: Talk) -> None:
    """A token of another homeserver is refused, and what is recent still comes in."""
    bot = talk.bot
    bot.intake = RecordingIntake("t42-nonsense")
    await talk.say("recent")
    async with bot.live():
        await talk.say("new")
        await bot.intake.wait_said(["recent", "new"], "what is recent, and what comes now")


async def test_a_logged_out_bot_logs_in_again(talk: Talk) -> None:
    """Its own token is ended while it runs; nothing said meanwhile is lost."""
    bot = talk.bot
    async with bot.live() as surface:
        await talk.say("one")
        await bot.intake.wait_said(["one"], "the first message")
        await surface._client.call("POST", "/v3/logout", {})
        await talk.say("two")
        await bot.intake.wait_said(["one", "two"], "what was said after the logout")


async def test_files_go_both_ways(talk: Talk, workspace: Workspace) -> None:
    """What goes up comes down, and clients get what they need to show it."""
    bot, content = talk.bot, bytes(range(256)) * 4096
    bot.files = workspace
    file = a_file("ключ 1.png", len(content), mime="image/png", kind=FileKind.IMAGE, width=4, height=3)
    workspace.put(file, content)
    async with bot.live() as surface:
        await surface.send(outbound_to(talk, "a picture", file=file))
        [said] = await talk.seen()
        attachment = Attachment(ref=said["url"], name=said["filename"])
        assert b"".join([piece async for piece in surface.fetch(attachment)]) == content
    assert (said["msgtype"], said["filename"], said["info"]["w"]) == ("m.image", "ключ 1.png", 4)


async def test_a_room_that_is_gone_is_refused(talk: Talk) -> None:
    """Sending where the bot is not is final."""
    async with talk.bot.live() as surface:
        await talk.person.call("POST", quote("v3", "rooms", talk.room, "kick"), {"user_id": talk.bot_id})
        with pytest.raises(Refused):
            await surface.send(outbound_to(talk, "anybody there?"))


def outbound_to(talk: Talk, text: str, **more: Any) -> Any:
    """A part of an answer in the talk's room."""
    return outbound(text, address=Address(surface="work", conversation=talk.room), **more)
