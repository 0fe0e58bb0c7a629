"""A model as an agent, through the real host on Matrix: swapped in by one line, remembered, cleared, and killed."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proof.processes import BOT, HOST, PASSWORD, Agent, Program, write_config
from surfaces_testing.agent import FakeAgent
from surfaces_testing.homeserver import FakeHomeserver
from surfaces_testing.models import ModelServer, waits

from .fault_house import Person

pytestmark = pytest.mark.slow


@dataclass(frozen=True, kw_only=True)
class House:
    """Everything but the host: a person on a homeserver, an agent over a socket, and a provider of models."""

    folder: Path
    ann: Person
    agent: FakeAgent
    models: ModelServer
    url: str

    @asynccontextmanager
    async def life(self, agent: Mapping[str, Any], *, dies_at: str = "") -> AsyncIterator[Program]:
        """One life of the host, with this entry of the registry for the only agent."""
        models = {"small": {"provider": "openai", "model": "small", "base_url": self.models.base_url}}
        volume = self.folder / "agents"
        (volume / "helper").mkdir(parents=True, exist_ok=True)
        config = write_config(
            self.folder,
            self.url,
            Agent(base_url="http://127.0.0.1:1/", volume=volume, workspace=volume),
            matrix={"stream_first_s": 60},  # an answer that shows is not asked for again
            transports={"llm": {"models": models}},
            host={"on_interrupt": "auto"},
        )
        parsed = json.loads(config.read_text())
        parsed["agents"] = [{"id": "helper", "workspace_path": "helper", **agent}]
        config.write_text(json.dumps(parsed))
        env = {"SURFACES_KILL_AT": dies_at} if dies_at else {}
        async with Program((*HOST, "run", "-c", str(config)), log=self.folder / "host.log", env=env) as host:
            await host.ready()
            yield host
            if not dies_at:
                assert await host.stop() == 0

    def stored(self, words: str) -> bool:
        """Whether words stand in what is kept of contexts."""
        with closing(sqlite3.connect(f"file:{self.folder}/state/surfaces.db?mode=ro", uri=True)) as database:
            dump = "\n".join(database.iterdump())
        rows = [line for line in dump.splitlines() if b"turn/".hex().upper() in line.upper()]
        return any(words.encode().hex().upper() in row.upper() for row in rows)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """All on loopback."""
    async with FakeHomeserver() as homeserver, FakeAgent() as agent, ModelServer() as models:
        homeserver.register(BOT, PASSWORD)
        ann = Person(homeserver, "ann")
        yield House(folder=tmp_path, ann=ann, agent=agent, models=models, url=homeserver.url)


MODEL = {"transport": "llm", "model": "small"}


async def test_a_model_takes_the_place_of_an_agent_by_one_line(house: House) -> None:
    """The same conversation goes on: with the agent, with the model, over kills, and afresh after `!clear`.

    A kill before the answer is kept has it asked for again; after one behind that it is found, and no model is asked.
    """
    ann, asked = house.ann, house.models.record.asked
    async with house.life({"transport": "agent_api", "base_url": house.agent.base_url}):
        await ann.enter()
        assert (await ann.asks("hello")).startswith("You said: hello")
    async with house.life(MODEL, dies_at="complete.before") as host:
        ann.say("apples")
        assert await host.ended() == -signal.SIGKILL
    assert house.stored("apples")
    async with house.life(MODEL, dies_at="never") as host:
        assert (await ann.hears(2))[1:] == ["You said: apples. (question 1)"]
        assert len(asked) == 1
        house.models.faults = [waits(asyncio.Event())]
        ann.say("pears")
        await house.models.until_asked(2)
        host.signal(signal.SIGKILL)
        await host.ended()
    async with house.life(MODEL):
        assert (await ann.hears(3))[2:] == ["You said: pears. (question 2)"]
        assert await ann.asks("what did I say?") == "You said: apples, pears"
        await ann.asks("!clear")
        assert await ann.asks("what did I say?") == "You said:"
    assert len(asked) == 5
    assert len(ann.heard) == 6
    assert not house.stored("apples")
