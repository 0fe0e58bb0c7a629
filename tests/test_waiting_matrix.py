"""Messages that wait behind others show so on the real Matrix surface, also when the host is killed meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from proof.house import House, Person, counted
from proof.processes import Agent
from surfaces_testing.agent import FakeAgent
from surfaces_testing.homeserver import Event, FakeHomeserver

pytestmark = pytest.mark.slow


async def test_what_waits_shows_so_until_it_is_taken_up(tmp_path: Path) -> None:
    """Each has one reaction, which is gone when all are answered, in whichever life of the host."""
    workspace = tmp_path / "agents" / "reference"
    workspace.mkdir(parents=True)
    async with FakeHomeserver() as homeserver, FakeAgent(gap_s=0.01) as agent:
        served = Agent(base_url=agent.base_url, volume=workspace.parent, workspace=workspace)
        house = House(homeserver, served, tmp_path)
        house.configure(matrix={"ack_reaction": "⏳"})

        def reactions() -> list[Event]:
            return [event for event in homeserver.rooms[ann.room].timeline if event.type == "m.reaction"]

        async with house.host(name="first") as host:
            await host.ready()
            ann = Person(house)
            await ann.enter()
            await homeserver.until(lambda: homeserver.shown(ann.room), 30)
            for number in (400, 5, 6):
                ann.say(f"count to {number}")
            await homeserver.until(lambda: len(reactions()) == 2, 30)
        async with house.host(name="second") as host:
            await host.ready()
            await ann.hears(counted(6))
            await homeserver.until(lambda: all(event.redacted_by for event in reactions()), 30)
        assert len(reactions()) == 2
