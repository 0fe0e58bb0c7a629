"""How long a real homeserver recognises a transaction id, and that nothing shows twice when it does not any more."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import pytest
import pytest_asyncio

from surfaces_core import Address, Outbound
from surfaces_core.testing.checks.surface import SurfaceCheck, check_forgotten_key_once, check_streamed_over_time
from surfaces_demo.synapse import Synapse
from surfaces_matrix import MatrixSurface
from surfaces_matrix.client import Client, quote

from .conftest import Workspace, a_file, outbound
from .test_real_synapse import Talk, talking

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
DAY_S = 86_400.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Synapse]:
    """A homeserver that these tests may restart."""
    async with Synapse(tmp_path_factory.mktemp("own")) as synapse:
        yield synapse


@pytest_asyncio.fixture(loop_scope="module")
async def talk(own: Synapse) -> AsyncIterator[Talk]:
    """A bot and a person in a room."""
    async with talking(own, "12") as talk:
        yield talk


async def restart(synapse: Synapse) -> None:
    """Let it forget what it holds in memory: for half an hour at least that is all that was sent."""
    await synapse.stop()
    await synapse.start()


async def a_day_later(synapse: Synapse) -> None:
    """Let it forget all transaction ids, as its housekeeping does after 24 hours."""
    await synapse.stop()
    with closing(sqlite3.connect(synapse.folder / "homeserver.db")) as database, database:
        database.execute("DELETE FROM event_txn_id_device_id")
    await synapse.start()


def stored(talk: Talk, surface: MatrixSurface, text: str = "once", *, age_s: float = 0.0, **more: Any) -> Outbound:
    """A part of an answer for the surface's present login."""
    address = Address(surface="work", conversation=talk.room)
    return outbound(text, address=address, device=surface.device, frozen_at=time.time() - age_s, **more)


async def logged_in(client: Client, password: str, device_id: str) -> None:
    """Log in as a device, or in again."""
    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": client.user_id},
        "password": password,
        "device_id": device_id,
    }
    answer = await client.call_as(None, "POST", "/v3/login", body)
    client.authorize(answer["device_id"], answer["access_token"])


async def say(client: Client, talk: Talk) -> str:
    """Send one message, always under the same transaction id; the event's id."""
    path = quote("v3", "rooms", talk.room, "send", "m.room.message", "txn")
    return str((await client.call("PUT", path, {"msgtype": "m.text", "body": "hello"}))["event_id"])


async def test_synapse_recognises_an_id_for_one_login_of_a_device(own: Synapse, talk: Talk):
    """A restart and another token of a living device change nothing; a logout or another device forget it."""
    password = str(talk.bot.settings["password"])
    async with Client(own.url, talk.bot_id) as stays, Client(own.url, talk.bot_id) as goes:
        await logged_in(stays, password, "ONE")
        first = await say(stays, talk)
        await logged_in(stays, password, "ONE")
        assert await say(stays, talk) == first
        await logged_in(goes, password, "TWO")
        second = await say(goes, talk)
        assert second != first
        await goes.call("POST", "/v3/logout", {})
        await restart(own)
        assert await say(stays, talk) == first
        await logged_in(goes, password, "TWO")
        assert await say(goes, talk) not in (first, second)


async def test_another_device_says_nothing_twice(talk: Talk, workspace: Workspace):
    """Text, a draft with its final text, and a file, each sent by one device and again by the next."""
    talk.bot.files = workspace
    file = a_file("a.txt", 3)
    workspace.put(file, b"abc")
    async with talk.bot.live() as surface:
        parts = [
            stored(talk, surface, "plain"),
            stored(talk, surface, "streamed", part=1, streamed=True),
            stored(talk, surface, "", part=2, file=file),
        ]
        before = [await surface.send(part) for part in parts]
    del talk.bot.store.rows["login"]
    async with talk.bot.live() as surface:
        assert [await surface.send(part) for part in parts] == before
    assert await talk.shown() == ["plain", "streamed", "a.txt"]


async def test_a_device_that_was_logged_out_says_nothing_twice(own: Synapse, talk: Talk):
    """It logs in again under the id that it had, and Synapse has forgotten it all the same."""
    async with talk.bot.live() as surface:
        message = stored(talk, surface)
        await surface.send(message)
        await surface._client.call("POST", "/v3/logout", {})
    await restart(own)
    async with talk.bot.live() as surface:
        await surface.send(message)
    assert await talk.shown() == ["once"]


async def test_a_day_later_a_part_is_found_behind_a_long_talk_or_where_it_was_taken_back(own: Synapse, talk: Talk):
    """Behind more of the bot's messages than a page holds; and Synapse tells the device that said it what is gone."""
    async with talk.bot.live() as surface:
        message, gone = (stored(talk, surface, age_s=DAY_S, part=part) for part in (0, 106))
        first, taken_back = await surface.send(message), await surface.send(gone)
        await talk.person.call("PUT", quote("v3", "rooms", talk.room, "redact", taken_back.remote_id, "r"), {})
        for part in range(1, 106):
            await surface.send(stored(talk, surface, f"{part}", part=part))
            if part % 10 == 0:
                await talk.say(f"{part}?")
    await a_day_later(own)
    async with talk.bot.live() as surface:
        assert await surface.send(message) == first
        assert await surface.send(gone) == taken_back
        assert await surface.send(stored(talk, surface, "new", part=107, age_s=DAY_S)) != first
    assert (await talk.shown())[-2:] == ["105", "new"]


@pytest.mark.parametrize("check", [check_forgotten_key_once, check_streamed_over_time], ids=lambda it: it.__name__)
async def test_the_contract_holds_when_ids_are_forgotten(own: Synapse, talk: Talk, check: SurfaceCheck) -> None:
    """The promises for which time has to pass."""

    async def forget() -> None:
        await a_day_later(own)

    await check(talk.bench(forget))
