"""The surface keeps the contract of surfaces, on a homeserver that behaves like Synapse."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from surfaces_core import Address
from surfaces_core.testing import contract
from surfaces_core.testing.checks.surface import SurfaceBench
from surfaces_testing.homeserver import PASSWORD, FakeHomeserver

from .conftest import Bot

ME, ANN = "@bot:hs.test", "@ann:hs.test"


@pytest.fixture(params=["11", "12"])
async def homeserver(request: pytest.FixtureRequest) -> AsyncIterator[FakeHomeserver]:
    """In the room versions that are in use; ids and power differ between them."""
    async with FakeHomeserver(room_version=request.param) as homeserver:
        homeserver.register(ME)
        yield homeserver


@contract.surface
def test_contract(homeserver: FakeHomeserver) -> SurfaceBench:
    """It keeps every promise of a surface, for a bot and a person in one room."""
    ann, bot = homeserver.person(ANN), Bot(homeserver.url, settings={"user_id": ME, "password": PASSWORD})
    room = ann.create_dm(ME)
    homeserver.person(ME).join(room)

    async def push(text: str) -> None:
        ann.say(room, text)

    async def shown() -> list[str]:
        return [message.body for message in homeserver.shown(room) if message.sender == ME]

    async def forget() -> None:
        homeserver.forget_transactions()

    async def other_device() -> None:
        await bot.store.delete("login")

    return SurfaceBench(
        make=bot.make,
        address=Address(surface="work", conversation=room),
        push=push,
        shown=shown,
        forget=forget,
        other_device=other_device,
    )
