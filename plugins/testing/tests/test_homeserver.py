"""The homeserver in memory: what a bot sees of it, and what a test sees of the bot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from surfaces_testing.homeserver import PASSWORD, FakeHomeserver, MatrixError

BOT = "@bot:hs.test"


class Bot:
    """A logged-in client of the plainest kind."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http = http
        self.base = f"{url}/_matrix/client/v3"
        self.headers: dict[str, str] = {}

    async def log_in(self, device: str = "DEVICE") -> None:
        identifier = {"type": "m.id.user", "user": "bot"}
        body = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD, "device_id": device}
        _, answer = await self.call("POST", "/login", body)
        self.headers = {"Authorization": f"Bearer {answer['access_token']}"}

    async def call(self, method: str, path: str, body: object = None, **query: str) -> tuple[int, Any]:
        async with self.http.request(
            method, self.base + path, json=body, params=query, headers=self.headers
        ) as response:
            return response.status, await response.json()

    async def sync(self, since: str | None = None, timeout: int = 0, **query: str) -> Any:
        query |= {"timeout": str(timeout)} | ({} if since is None else {"since": since})
        return (await self.call("GET", "/sync", **query))[1]

    async def say(self, room: str, text: str, txn: str) -> Any:
        path = f"/rooms/{quote(room)}/send/m.room.message/{txn}"
        return await self.call("PUT", path, {"msgtype": "m.text", "body": text})


@pytest.fixture(params=["11", "12"])
async def hs(request: pytest.FixtureRequest) -> AsyncIterator[FakeHomeserver]:
    async with FakeHomeserver(room_version=request.param) as homeserver:
        homeserver.register(BOT)
        yield homeserver


@pytest.fixture
async def bot(hs: FakeHomeserver) -> AsyncIterator[Bot]:
    async with aiohttp.ClientSession() as http:
        client = Bot(http, hs.url)
        await client.log_in()
        yield client


async def test_an_invited_bot_joins_and_answers(hs: FakeHomeserver, bot: Bot) -> None:
    """A person's direct chat shows up as an invitation, and what both say shows to the person in order."""
    ann = hs.person("@ann:hs.test", "Ann")
    room = ann.create_dm(BOT)
    invited = await bot.sync()
    assert list(invited["rooms"]["invite"]) == [room]

    await bot.call("POST", f"/join/{quote(room)}")
    ann.say(room, "hello")
    joined = await bot.sync(invited["next_batch"])
    assert [e["content"].get("body") for e in joined["rooms"]["join"][room]["timeline"]["events"]][-1] == "hello"
    await bot.say(room, "hi", "t1")

    assert [(m.sender, m.body) for m in hs.shown(room)] == [("@ann:hs.test", "hello"), (BOT, "hi")]


async def test_a_long_poll_ends_when_something_is_said(hs: FakeHomeserver, bot: Bot) -> None:
    """A waiting sync answers as soon as there is something for this user."""
    ann = hs.person("@ann:hs.test")
    room = _shared_room(hs)
    since = (await bot.sync())["next_batch"]
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(bot.sync(since, timeout=30_000))
        await hs.until(lambda: hs.record.of("sync")[-1].since == since)
        ann.say(room, "now")
    assert waiting.result()["rooms"]["join"][room]["timeline"]["events"][0]["content"]["body"] == "now"


async def test_a_burst_over_the_limit_leaves_a_gap_that_messages_fills(hs: FakeHomeserver, bot: Bot) -> None:
    """A limited timeline and `/messages` from its `prev_batch` down to the last token make the whole burst."""
    room = _shared_room(hs)
    since = (await bot.sync())["next_batch"]
    hs.say_many(("@ann:hs.test", room, str(number)) for number in range(15))
    timeline = (await bot.sync(since))["rooms"]["join"][room]["timeline"]
    assert timeline["limited"]
    query = {"dir": "b", "from": timeline["prev_batch"], "to": since, "limit": "100"}
    _, rest = await bot.call("GET", f"/rooms/{quote(room)}/messages", **query)

    events = [*reversed(rest["chunk"]), *timeline["events"]]
    assert [event["content"]["body"] for event in events] == [str(number) for number in range(15)]


async def test_a_transaction_id_makes_one_event_per_room_and_device(hs: FakeHomeserver, bot: Bot) -> None:
    """A repeat is answered with the first event; another room or device is another event, a new token is not."""
    room, other = _shared_room(hs), _shared_room(hs)
    _, first = await bot.say(room, "one", "same")
    _, repeat = await bot.say(room, "two", "same")
    _, elsewhere = await bot.say(other, "three", "same")
    await bot.log_in()
    _, relogged = await bot.say(room, "four", "same")
    await bot.log_in("OTHER")
    _, other_device = await bot.say(room, "five", "same")

    assert first == repeat == relogged
    assert [m.body for m in hs.shown(room)] == ["one", "five"]
    assert len({answer["event_id"] for answer in (first, elsewhere, other_device)}) == 3
    assert hs.record.transactions("DEVICE") == ["same"] * 4


async def test_edits_and_redactions_change_what_shows(hs: FakeHomeserver) -> None:
    """An edit by the author replaces the text, one by somebody else does nothing, a redacted message is gone."""
    room = _shared_room(hs)
    ann, bot = hs.person("@ann:hs.test"), hs.person(BOT)
    kept, gone = ann.say(room, "tea"), ann.say(room, "coffee")
    ann.edit(room, kept, "more tea")
    bot.edit(room, kept, "no tea")
    ann.redact(room, gone)

    assert [(m.event_id, m.body, m.edits) for m in hs.shown(room)] == [(kept, "more tea", 1)]


async def test_the_room_version_decides_ids_and_creators() -> None:
    """Version 12: no server in the id and creators outside the power levels; version 11: the other way round."""
    async with FakeHomeserver(room_version="12") as hs:
        hs.register(BOT)
        room = hs.rooms[hs.person("@ann:hs.test").create_dm(BOT)]
        assert ":" not in room.room_id
        assert room.create.event_id[1:] == room.room_id[1:]
        assert room.content("m.room.power_levels")["users"] == {}
        assert room.creators == {BOT, "@ann:hs.test"}
    async with FakeHomeserver(room_version="11") as hs:
        hs.register(BOT)
        room = hs.rooms[hs.person("@ann:hs.test").create_dm(BOT)]
        assert room.room_id.endswith(":hs.test")
        assert room.content("m.room.power_levels")["users"] == {BOT: 100, "@ann:hs.test": 100}


async def test_nobody_does_what_they_may_not(hs: FakeHomeserver) -> None:
    """Strangers can't talk, join or invite; who is in can't be invited; who is banned can't come back."""
    room = _shared_room(hs)
    ann, eve = hs.person("@ann:hs.test"), hs.person("@eve:hs.test")
    for act in (
        lambda: eve.say(room, "hi"),
        lambda: eve.join(room),
        lambda: eve.invite(room, "@eve:hs.test"),
        lambda: ann.invite(room, BOT),
        lambda: hs.person("@bob:hs.test").kick(room, "@ann:hs.test"),
    ):
        with pytest.raises(MatrixError) as refused:
            act()
        assert refused.value.errcode == "M_FORBIDDEN"
    ann.ban(room, "@eve:hs.test")
    with pytest.raises(MatrixError):
        ann.invite(room, "@eve:hs.test")


async def test_being_kicked_shows_as_leaving(hs: FakeHomeserver, bot: Bot) -> None:
    """The kick is the last event of the room's leave section, and talking there is refused."""
    room = _shared_room(hs)
    since = (await bot.sync())["next_batch"]
    hs.person("@ann:hs.test").kick(room, BOT, "enough")
    left = (await bot.sync(since))["rooms"]["leave"][room]["timeline"]["events"][-1]
    status, answer = await bot.say(room, "still here?", "t")

    assert (left["content"], left["sender"]) == ({"membership": "leave", "reason": "enough"}, "@ann:hs.test")
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")


async def test_files_come_back_as_they_went(hs: FakeHomeserver, bot: Bot) -> None:
    """A file that a person sent can be fetched with a login, and not without."""
    room = _shared_room(hs)
    hs.person("@ann:hs.test").send_file(room, "a.txt", b"\x00abc", "text/plain")
    url = hs.shown(room)[0].url
    assert url is not None
    address = f"{hs.url}/_matrix/client/v1/media/download/{url.removeprefix('mxc://')}"
    async with bot.http.get(address, headers=bot.headers) as response:
        assert (response.status, response.content_type, await response.read()) == (200, "text/plain", b"\x00abc")
    async with bot.http.get(address) as response:
        assert (response.status, (await response.json())["errcode"]) == (401, "M_MISSING_TOKEN")


async def test_a_taken_alias_is_refused_and_leaves_nothing_behind(hs: FakeHomeserver, bot: Bot) -> None:
    """The second room of a name is not made."""
    status, made = await bot.call("POST", "/createRoom", {"room_alias_name": "here"})
    refused, error = await bot.call("POST", "/createRoom", {"room_alias_name": "here"})
    _, resolved = await bot.call("GET", f"/directory/room/{quote('#here:hs.test')}")

    assert (status, refused, error["errcode"]) == (200, 400, "M_ROOM_IN_USE")
    assert list(hs.rooms) == [made["room_id"]] == [resolved["room_id"]]


async def test_the_record_tells_tokens_used_from_tokens_handed_out(hs: FakeHomeserver, bot: Bot) -> None:
    """Every sync is written down with the token it used and the one it was given."""
    first = (await bot.sync())["next_batch"]
    second = (await bot.sync(first))["next_batch"]
    assert list(hs.record.tokens("DEVICE")) == [("handed", first), ("used", first), ("handed", second)]


async def test_a_server_rolled_back_forgets_and_goes_on(hs: FakeHomeserver, bot: Bot) -> None:
    """Events and transaction ids after the position are gone; a token from the future counts as now."""
    room = _shared_room(hs)
    hs.person("@ann:hs.test").say(room, "kept")
    pos = hs.world.pos
    await bot.say(room, "lost", "t")
    future = (await bot.sync())["next_batch"]
    hs.roll_back(pos)
    await bot.say(room, "again", "t")

    assert [m.body for m in hs.shown(room)] == ["kept", "again"]
    assert "rooms" not in await bot.sync(future)


async def test_what_is_said_after_a_roll_back_is_something_new(hs: FakeHomeserver, bot: Bot) -> None:
    """At the same position, but never under the id of an event that is gone."""
    room = _shared_room(hs)
    pos = hs.world.pos
    lost = await bot.say(room, "lost", "t")
    hs.roll_back(pos)
    assert await bot.say(room, "new", "u") != lost


async def test_transaction_ids_can_be_forgotten_by_device(hs: FakeHomeserver, bot: Bot) -> None:
    """A repeat from a device whose ids are gone shows again, one from another device does not."""
    room = _shared_room(hs)
    other = Bot(bot.http, hs.url)
    await other.log_in("OTHER")
    for client in (bot, other):
        await client.say(room, "once", "t")
    hs.forget_transactions("OTHER")
    for client in (bot, other):
        await client.say(room, "again", "t")
    assert [m.body for m in hs.shown(room)] == ["once", "once", "again"]
    hs.forget_transactions()
    await bot.say(room, "and again", "t")
    assert [m.body for m in hs.shown(room)] == ["once", "once", "again", "and again"]


async def test_until_gives_up(hs: FakeHomeserver) -> None:
    """A condition that never holds ends in a time-out."""
    with pytest.raises(TimeoutError):
        await hs.until(lambda: False, timeout=0.01)


def _shared_room(hs: FakeHomeserver) -> str:
    """A room with Ann, Bob and the bot in it."""
    ann, bob, bot = hs.person("@ann:hs.test"), hs.person("@bob:hs.test"), hs.person(BOT)
    room = ann.create_room(invite=["@bob:hs.test", BOT])
    bob.join(room)
    bot.join(room)
    return room
