"""The terminal keeps the contract of surfaces, with the client of `surfaces chat` at the other end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from surfaces_core import Address, Binding
from surfaces_core.testing import contract
from surfaces_core.testing.checks.surface import SurfaceBench
from surfaces_core.testing.recording_intake import RecordingIntake, receiving

from .conftest import ME, House

HOME = Address(surface="terminal", conversation="home")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """One conversation of the person, and their client, attached whenever the surface is there."""
    house = House(tmp_path / "terminal.sock")
    surface = house.make()
    binding = Binding(address=HOME, owner=ME, number=1, name="C1", agent="echo", context="1", created_at=1.0)
    await surface.conversations.record(binding)
    async with asyncio.TaskGroup() as group:
        attached = group.create_task(house.client.run())
        yield house
        attached.cancel()


@contract.surface
def test_contract(house: House) -> SurfaceBench:
    """It keeps every promise of a surface."""

    async def push(text: str) -> None:
        house.client.say(HOME.conversation, text)

    async def shown() -> list[str]:
        async with house.make() as surface, receiving(surface, RecordingIntake()):
            await house.caught_up()
        return [message.text for message in house.watcher.messages]

    async def nothing() -> None:
        pass

    return SurfaceBench(make=house.make, address=HOME, push=push, shown=shown, forget=nothing, other_device=nothing)
