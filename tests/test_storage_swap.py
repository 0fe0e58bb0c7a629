"""One line of the config swaps the storage: the same host, the same people, the same conversation goes on."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from proof import servers
from proof.house import House, Person, counted
from proof.processes import Agent, reference_agent
from surfaces_core.cli import main
from surfaces_testing.homeserver import FakeHomeserver

pytestmark = pytest.mark.slow


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def agent(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Agent]:
    """One agent that speaks slowly enough to be interrupted."""
    async with reference_agent(tmp_path_factory.mktemp("agents"), "--words-per-second", "100") as agent:
        yield agent


@pytest_asyncio.fixture(loop_scope="function")
async def house(agent: Agent, tmp_path: Path) -> AsyncIterator[House]:
    """A homeserver and a config."""
    async with FakeHomeserver() as homeserver:
        yield House(homeserver, agent, tmp_path)


async def move(house: House, storage: dict[str, Any]) -> None:
    """Write a config that differs in its storage alone, copy the state there, and take it."""
    config = json.loads(house.config.read_text())
    target = house.folder / f"{storage['use']}.yaml"
    target.write_text(json.dumps({**config, "storage": storage}))
    # In this process, which saves a start; the command's own tests say what it prints.
    assert await asyncio.to_thread(main, ["storage", "copy", str(house.config), str(target)]) == 0
    house.config = target


async def test_the_conversation_goes_on(house: House) -> None:
    """Begun on SQLite, moved while the host rests, gone on with on a server, which then crashes in an answer."""
    with servers.postgres() as server:
        async with house.host(name="sqlite") as host:
            person = Person(house)
            await person.enter()
            person.say("count to 3")
            await person.hears(counted(3))
            assert await host.stop() == 0
        person.say("count to 4")  # waits in the room
        await move(house, {"use": "postgres", "dsn": server.url, "reconnect_s": 0.2})
        async with house.host(name="moved") as host:
            await person.hears(counted(4))
            assert person.heard == [counted(3), counted(4)]
            person.say("count to 60")
            await person.hears_part_of("1 2")
            server.end(signal.SIGQUIT)
            assert await host.ended() in (69, 74)
            lines = [line for line in host.log().splitlines() if not line.startswith("{")]
            assert len(lines) == 1, lines
        server.start()
        async with house.host(name="again") as host:
            await person.hears(counted(60))
            assert person.heard == [counted(3), counted(4), counted(60)]
            assert await host.stop() == 0
