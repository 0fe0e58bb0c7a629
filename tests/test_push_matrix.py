"""Pushes on the real Matrix surface, by a real host that is killed: updates in one place, and an end that rings."""

from __future__ import annotations

import asyncio
import json
import socket
from http.client import HTTPConnection
from pathlib import Path

import pytest

from proof.house import House, Person
from proof.processes import BOT, Agent
from surfaces_testing.homeserver import FakeHomeserver, Shown

pytestmark = pytest.mark.slow
SECRET = "a-secret-of-some-length"


def free_port() -> int:
    """A port on loopback where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


async def push(port: int, **fields: object) -> int:
    """Push something about Ann's report; the status of the answer."""
    body = json.dumps({"person": "@ann:hs.test", "task": "report", **fields})

    def post() -> int:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", "/v1/push", body, {"Authorization": f"Bearer {SECRET}"})
        status = connection.getresponse().status
        connection.close()
        return status

    return await asyncio.to_thread(post)


async def test_a_task_is_one_line_and_one_message_that_rings(tmp_path: Path) -> None:
    """Its updates change one notice; its end is said once and as no notice, whenever the host is killed."""
    port = free_port()
    agent = Agent(base_url="http://127.0.0.1:1/", volume=tmp_path, workspace=tmp_path)
    async with FakeHomeserver() as homeserver:
        house = House(homeserver, agent, tmp_path)
        house.configure(push={"listen": f"127.0.0.1:{port}", "tokens": {"nightly": {"secret": SECRET}}})
        ann = Person(house)

        def said() -> list[Shown]:
            return [one for one in homeserver.shown(ann.room) if one.sender == BOT and "report" in one.body]

        async with house.host(name="first") as host:
            await host.ready()
            await ann.enter()
            await homeserver.until(lambda: homeserver.shown(ann.room), 30)  # she is greeted: the conversation is there
            assert await push(port, id="1", kind="progress", progress=0.1) == 202
            await homeserver.until(said)
            for number in range(2, 10):
                assert await push(port, id=str(number), kind="progress", progress=number / 10) == 202
        # Killed while an update waits for its time.
        async with house.host(name="second") as host:
            await host.ready()
            await homeserver.until(lambda: "90%" in said()[0].body, 30)
            assert await push(port, id="end", kind="done") == 202
        # Killed while the end is being said.
        async with house.host(name="third") as host:
            await host.ready()
            assert await push(port, id="end", kind="done") == 200
            assert await push(port, id="other", kind="failed", task="other report") == 202
            await homeserver.until(lambda: len(said()) > 2, 30)
            assert await host.stop() == 0
        update, end, other = said()
        assert (update.msgtype, update.edits) == ("m.notice", 1)
        assert (end.msgtype, end.body, end.edits) == ("m.text", "✅ **report** is done.", 0)
        assert (other.msgtype, other.body) == ("m.text", "❌ **other report** has failed.")
