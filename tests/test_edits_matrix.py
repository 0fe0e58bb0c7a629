"""What running answers cost a homeserver: a bounded number of edits each, and of all together in a second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from proof.house import House, Person, counted
from proof.processes import BOT, Agent
from surfaces_testing.agent import FakeAgent
from surfaces_testing.homeserver import FakeHomeserver, Request

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("edits_matrix")]

BUDGET = 8
PER_S = 4.0
PEOPLE = 10
LONG = 7_000
"""Counting so far takes 34,000 characters, more than one message holds."""


class Street:
    """A host that lives, an agent whose pace can be chosen, and the homeserver that counts."""

    def __init__(self, house: House, agent: FakeAgent) -> None:
        self.house = house
        self.agent = agent

    async def person(self, name: str) -> Person:
        """Somebody who is in and was greeted."""
        person = Person(self.house, name)
        await person.enter()
        await self.house.hs.until(lambda: self.house.hs.shown(person.room), 60)
        return person

    def sent(self, *people: Person, after: int = 0) -> list[Request]:
        """What the bot sent into some rooms."""
        rooms = {person.room for person in people}
        requests = self.house.hs.requests[after:]
        return [one for one in requests if one.route == "send" and one.user_id == BOT and one.args[0] in rooms]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def street(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Street]:
    """Made once."""
    folder = tmp_path_factory.mktemp("street")
    workspace = folder / "agents" / "reference"
    workspace.mkdir(parents=True)
    async with FakeHomeserver() as homeserver, FakeAgent() as agent:
        house = House(homeserver, Agent(base_url=agent.base_url, volume=workspace.parent, workspace=workspace), folder)
        pace = {"stream_budget": BUDGET, "stream_edits_per_s": PER_S, "stream_interval_s": 0.2}
        house.configure(matrix=pace, host={"max_concurrent_turns": 2 * PEOPLE})
        async with house.host() as host:
            await host.ready()
            yield Street(house, agent)


def edits(requests: list[Request]) -> list[Request]:
    """Those that change a running answer."""
    return [request for request in requests if ".d" in request.args[-1]]


async def test_a_long_answer_costs_its_budget_and_its_parts(street: Street) -> None:
    """However long and slowly it comes; and in the end all of it is there, exactly."""
    street.agent.gap_s = 0.0005
    ann = await street.person("ann")
    before = len(street.house.hs.requests)
    ann.say(f"count to {LONG}")
    whole = counted(LONG)
    await street.house.hs.until(lambda: " ".join(ann.heard) == whole, 60)
    parts, sent = len(ann.heard), street.sent(ann, after=before)
    assert len(whole) > 20_000
    assert parts > 1
    assert len(edits(sent)) > 2
    assert len(sent) <= BUDGET + parts


async def test_many_answers_at_once_share_the_tempo(street: Street) -> None:
    """Ten that run at the same time change no more in a second than one may, and all are there in the end."""
    street.agent.gap_s = 0.02
    async with asyncio.TaskGroup() as group:
        people = [group.create_task(street.person(f"p{number}")) for number in range(PEOPLE)]
    everybody = [task.result() for task in people]
    before = len(street.house.hs.requests)
    for person in everybody:
        person.say("count to 300")
    await street.house.hs.until(lambda: all(person.heard == [counted(300)] for person in everybody), 60)
    changed = edits(street.sent(*everybody, after=before))
    lasted_s = changed[-1].at - changed[0].at
    assert len(changed) > PER_S
    # A bucket that was full at first, and a second in which requests may have waited on their way.
    assert len(changed) <= PER_S * (lasted_s + 2)
