"""The real host process when what it stands on gives way: disk, state, signals, limits, other processes, plugins.

Each case breaks one thing from outside, and looks at the exit code, at the one line that says why, and at what
people see in the end: everything once.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from proof import trouble
from proof.house import House, Person
from proof.processes import Agent, Program, reference_agent
from surfaces_testing.homeserver import FakeHomeserver

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent


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


def events(program: Program, name: str) -> list[dict[str, Any]]:
    """What a host logged under a name."""
    lines = [json.loads(line) for line in program.log().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == name]


def said(program: Program) -> list[str]:
    """What a host wrote that is no log."""
    return [line for line in program.log().splitlines() if not line.startswith("{")]


def inbox(house: House) -> list[dict[str, Any]]:
    """The stored entries that are not done."""
    with closing(sqlite3.connect(house.database)) as database:
        rows = database.execute("SELECT value FROM kv WHERE key >= ? AND key < ?", (b"in\0", b"in\1")).fetchall()
    return [json.loads(value) for (value,) in rows]


# Plugins that keep the process ------------------------------------------------------------------------


class Troubled:
    """A house whose host has the misbehaving plugin."""

    def __init__(self, house: House) -> None:
        self.house = house
        self._path = f"{trouble.install(house.folder / 'site')}:{ROOT}"
        self.configure()

    def configure(self, **changes: Any) -> None:
        """Write the config anew."""
        self.house.configure(**changes)
        written = json.loads(self.house.config.read_text())
        self.house.config.write_text(json.dumps({**written, "hooks": ["trouble"]}))

    def host(self, name: str = "host", **env: str) -> Program:
        """The host, not started yet."""
        return self.house.host(name=name, PYTHONPATH=self._path, **env)


@pytest_asyncio.fixture(loop_scope="function")
async def troubled(house: House) -> Troubled:
    """A host whose commands misbehave."""
    troubled = Troubled(house)
    troubled.configure(host={"shutdown_grace_s": 0.5})
    return troubled


async def test_a_command_that_blocks_the_loop_is_named(troubled: Troubled) -> None:
    """A stall is logged with its length and the plugin's line, and everything goes on behind it."""
    async with troubled.host() as host:
        ann, bob = Person(troubled.house), Person(troubled.house, "bob")
        await ann.enter()
        await bob.enter()
        ann.say("!sleep 1")
        bob.say("hello")
        await ann.hears("slept")
        await bob.hears("You said: hello. (message 1 in this context)")
        await host.logged("loop.stalled")
        assert await host.stop() == 0
    (stall,) = events(host, "loop.stalled")
    assert stall["seconds"] > 0.5
    assert stall["where"].startswith("proof.trouble:")
    assert stall["where"].endswith(" sleep")


async def test_what_a_plugin_leaves_behind_is_named(troubled: Troubled) -> None:
    """Tasks that nobody awaits end with the host, which says whose they are."""
    async with troubled.host() as host:
        ann, bob = Person(troubled.house), Person(troubled.house, "bob")
        await ann.enter()
        await bob.enter()
        ann.say("!leak")
        await ann.hears("left a task")
        bob.say("!endless")
        await host.logged('"command": "endless"')
        assert await host.stop() == 0
    (left,) = events(host, "host.left_behind")
    assert [line.rpartition(" ")[2] for line in left["tasks"]] == ["endless"]
    assert events(host, "host.kept") == []
    assert said(host) == []


async def test_what_wants_no_end_gets_one(troubled: Troubled) -> None:
    """Deaf tasks and endless threads keep no stop from its exit code 0, and count against no message."""
    commands = ("deaf", "leak_deaf", "leak_thread", "block_thread")
    async with troubled.host() as host:
        people = [Person(troubled.house, name) for name in commands]
        for person, command in zip(people, commands, strict=True):
            await person.enter()
            person.say(f"!{command}")
        await people[1].hears("left a deaf task")
        await people[2].hears("left a thread")
        await host.logged('"command": "deaf"')
        await host.logged('"command": "block_thread"')
        people[1].say("hello")
        await people[1].hears("You said: hello. (message 1 in this context)")
        assert await host.stop() == 0
    (kept,) = events(host, "host.kept")
    assert [line.rpartition(" ")[2] for line in kept["tasks"]] == ["deaf"]
    assert any(line.startswith("left-thread") for line in kept["threads"])
    assert said(host) == []
    assert {(entry["message"]["text"], entry.get("crashes", 0)) for entry in inbox(troubled.house)} == {
        ("!deaf", 0),
        ("!block_thread", 0),
    }
