"""`surfaces reset` throws a state away, says what it did, and never claims more."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from proof.house import House, Person
from proof.processes import BOT, HOST, PASSWORD, Agent, Program, reference_agent
from surfaces_testing.homeserver import FakeHomeserver

pytestmark = pytest.mark.slow


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def agent(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Agent]:
    """One agent for all."""
    async with reference_agent(tmp_path_factory.mktemp("agents")) as agent:
        yield agent


@pytest.fixture
async def house(agent: Agent, tmp_path: Path) -> AsyncIterator[House]:
    """A host that has lived and rests, with one person's conversation."""
    async with FakeHomeserver() as homeserver:
        house = House(homeserver, agent, tmp_path)
        async with house.host() as host:
            await Person(house).enter()
            assert await host.stop() == 0
        yield house


async def reset(house: House, *words: str, code: int = 0) -> str:
    """What it prints; for another exit code its one line on standard error."""
    program = (*HOST, "reset", *words, "-c", str(house.config))
    async with Program(program, log=house.folder / "reset.log", env={"MATRIX_PASSWORD": PASSWORD}) as run:
        printed = await run.rest()
        assert await run.ended() == code, run.log()
    return printed if code == 0 else run.log()


def rooms_of_the_bot(house: House) -> list[str]:
    """Where the bot is."""
    return [room for room in house.hs.rooms if house.hs.members(room).get(BOT) == "join"]


async def test_local_only_removes_the_state_and_nothing_else(house: House) -> None:
    """The file is gone with all beside it; rooms and files of agents stay, and it says so."""
    before = rooms_of_the_bot(house)
    pretended = await reset(house, "--mode", "local-only", "--dry-run")
    assert "would remove" in pretended
    assert house.database.exists()
    said = await reset(house, "--mode", "local-only", "--yes")
    assert list(house.database.parent.iterdir()) == []
    assert rooms_of_the_bot(house) == before
    assert "by hand: " in said
    assert "deleted" not in said


async def test_the_bot_leaves_and_forgets_its_rooms(house: House) -> None:
    """Every room is named as it is left; a dry run leaves none."""
    before = rooms_of_the_bot(house)
    assert len(before) >= 2
    pretended = await reset(house, "--mode", "server-leave-forget", "--dry-run")
    assert all(f"would leave and forget {room}" in pretended for room in before)
    assert rooms_of_the_bot(house) == before
    said = await reset(house, "--mode", "server-leave-forget", "--yes")
    assert all(f"left and forgot {room}" in said for room in before)
    assert rooms_of_the_bot(house) == []
    assert not house.database.exists()


async def test_nothing_goes_without_a_yes(house: House) -> None:
    """Away from a terminal it wants to be told."""
    assert "say --yes" in await reset(house, "--mode", "local-only", code=os.EX_CONFIG)
    assert house.database.exists()


async def test_a_running_host_keeps_its_state(house: House) -> None:
    """75, naming the process; a dry run says the same."""
    async with house.host(name="again") as host:
        await host.ready()
        for how in ("--yes", "--dry-run"):
            assert "process" in await reset(house, "--mode", "local-only", how, code=os.EX_TEMPFAIL)
        assert await host.stop() == 0
    assert house.database.exists()
