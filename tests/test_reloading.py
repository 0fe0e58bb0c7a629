"""A running host takes up another registry, by signal and by itself; what is wrong with one changes nothing."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest
import structlog

from proof.house import House, Person
from proof.processes import reference_agent
from surfaces_core._config.config import load
from surfaces_core._config.settings import Registry
from surfaces_core._host.reloading import Reloading
from surfaces_testing.homeserver import FakeHomeserver

pytestmark = pytest.mark.slow


def change(house: House, **registry: Any) -> None:
    """Write other agents or people into the config."""
    house.config.write_text(json.dumps({**json.loads(house.config.read_text()), **registry}))


async def test_a_signal_or_a_change_of_the_file_moves_conversations(tmp_path: Path) -> None:
    """SIGHUP and a changed file do the same; a registry with an error is refused with a line, and the old one stays."""
    async with reference_agent(tmp_path) as agent, FakeHomeserver() as homeserver:
        house = House(homeserver, agent, tmp_path)
        (first,) = json.loads(house.config.read_text())["agents"]
        second = {**first, "id": "second", "label": "Second"}
        change(house, agents=[first, second])
        async with house.host() as host:
            await host.ready()
            ann = Person(house)
            await ann.enter()

            change(house, agents=[], user_agents={"@ann:hs.test": "second"})
            host.signal(signal.SIGHUP)
            await host.logged("registry.refused")
            ann.say("!context")
            await homeserver.until(lambda: "agent: reference" in ann.heard[-1:][0] if ann.heard else False, 30)

            change(house, agents=[first, second])
            host.signal(signal.SIGHUP)
            await homeserver.until(lambda: "Second" in "".join(ann.heard[-1:]), 30)

            change(house, user_agents={"@ann:hs.test": "reference"})
            await homeserver.until(lambda: "reference" in "".join(ann.heard[-1:]), 30)
            assert len([text for text in ann.heard if "answers here from now on" in text]) == 2
            assert await host.stop() == 0


async def test_the_agent_of_the_command_line_stays(tmp_path: Path) -> None:
    """Who was given one agent by `--agent` is not moved by another registry, though that be read without secrets."""
    config = tmp_path / "surfaces.yaml"
    text = "agents: [{id: a, transport: echo}, {id: b, transport: echo}]\ntransports: {echo: {}}\n"
    rest = "storage: {use: memory}\nsurfaces: {matrix: {password: {env: NO_SUCH_SECRET}}}\n"
    config.write_text(text + rest)
    registry = load(config, surfaces_instead={"terminal": {}}).registry.given_to_all("b")
    taken: asyncio.Queue[Registry] = asyncio.Queue()
    reloading = Reloading(config, registry, lambda registry: None, structlog.get_logger())
    async with asyncio.TaskGroup() as group:
        running = group.create_task(reloading.run(taken.put, lambda refused: None))
        config.write_text(f"user_agents: {{ann: a}}\n{text}{rest}")
        reloading.ask()
        new = await taken.get()
        running.cancel()
    assert (new.default, dict(new.people)) == ("b", {})
