"""The homeserver as a process of its own, driven through its door for other processes."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

pytestmark = pytest.mark.slow


class Driver:
    """Calls the verbs of a homeserver in another process."""

    def __init__(self, http: aiohttp.ClientSession, url: str, control: str) -> None:
        self.http = http
        self.url = url
        self.control = control

    async def __call__(self, verb: str, **body: Any) -> Any:
        async with self.http.post(f"{self.control}/_test/{verb}", json=body) as response:
            assert response.status == 200, await response.text()
            return await response.json()


@pytest.fixture
async def drive() -> AsyncIterator[Driver]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "surfaces_testing.homeserver", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    word, _, ready = (await process.stdout.readline()).decode().partition(" ")
    assert word == "READY"
    async with aiohttp.ClientSession() as http:
        facts = json.loads(ready)
        yield Driver(http, facts["url"], facts["control"])
    process.terminate()
    assert await process.wait() == 0


async def test_an_answer_is_held_back_until_another_process_lets_it_go(drive: Driver) -> None:
    """A stalled request is done but not answered before the release."""
    await drive("stall", route="versions")
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(drive.http.get(f"{drive.url}/_matrix/client/versions"))
        while not (await drive("requests"))["requests"]:
            assert not asking.done()
        await drive("release", route="versions")
    assert asking.result().status == 200


async def test_people_talk_and_faults_strike_from_another_process(drive: Driver) -> None:
    """Register, talk, look, wait, let something go wrong: all through JSON."""
    await drive("register", user_id="@bot:hs.test")
    await drive("register", user_id="@ann:hs.test", display_name="Ann")
    room = (await drive("act", user_id="@ann:hs.test", act="create_dm", args=["@bot:hs.test"]))["result"]
    await drive("act", user_id="@bot:hs.test", act="join", args=[room])
    await drive("act", user_id="@ann:hs.test", act="send_file", args=[room, "a.txt", "YWJj"])
    await drive("say_many", messages=[["@ann:hs.test", room, "one"], ["@ann:hs.test", room, "two"]])
    await drive("fault", route="versions", faults=[{"kind": "html", "status": 503}])
    async with drive.http.get(f"{drive.url}/_matrix/client/versions") as response:
        assert response.status == 503

    assert (await drive("wait", sender="@ann:hs.test", count=3))["reached"]
    assert not (await drive("wait", sender="@ann:hs.test", count=4, timeout_s=0.01))["reached"]
    assert [m["body"] for m in (await drive("shown", room_id=room))["shown"]] == ["a.txt", "one", "two"]
    assert (await drive("members", room_id=room))["members"]["@bot:hs.test"] == "join"
    assert (await drive("rooms"))["rooms"] == [room]
    assert [r["fault"] for r in (await drive("requests"))["requests"]] == ["Html"]


async def test_another_process_lets_it_refuse_and_go_back_in_time(drive: Driver) -> None:
    """Its door stays open meanwhile; an event can be shown again, what came behind a position can be forgotten."""
    versions = f"{drive.url}/_matrix/client/versions"
    await drive("refuse")
    with pytest.raises(aiohttp.ClientConnectorError):
        await drive.http.get(versions)
    await drive("accept")
    assert (await drive.http.get(versions)).status == 200

    await drive("register", user_id="@ann:hs.test")
    room = (await drive("act", user_id="@ann:hs.test", act="create_room"))["result"]
    position = (await drive("position"))["position"]
    event = (await drive("act", user_id="@ann:hs.test", act="say", args=[room, "gone"]))["result"]
    await drive("fault", route="sync", faults=[{"kind": "repeated", "room_id": room, "event_id": event}])
    await drive("roll_back", position=position)
    await drive("forget_transactions")
    assert (await drive("shown", room_id=room))["shown"] == []


async def test_the_homeservers_own_address_is_a_door_too(drive: Driver) -> None:
    """Whoever knows the one address alone can drive it."""
    drive.control = drive.url
    assert (await drive("position"))["position"] == 0
