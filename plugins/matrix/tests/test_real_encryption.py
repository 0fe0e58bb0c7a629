"""Encrypted rooms on a real homeserver, with a client of another family on the other side."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from uuid import uuid4

import pytest
import pytest_asyncio

from surfaces_core import Address
from surfaces_demo.synapse import Synapse
from surfaces_matrix.client import quote
from surfaces_testing.js_client import JsClient

from .conftest import Bot, Workspace, outbound

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("js_client")]


@dataclass(frozen=True, kw_only=True)
class House:
    """A bot and a person with a client of another family, in one encrypted room."""

    bot: Bot
    bot_id: str
    ann: JsClient
    room: str

    @property
    def here(self) -> Address:
        """The room."""
        return Address(surface="work", conversation=self.room)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(synapse: Synapse) -> AsyncIterator[House]:
    """Made once: starting clients takes seconds."""
    name = uuid4().hex[:8]
    account, ann = await synapse.register(f"bot-{name}"), await synapse.register(f"ann-{name}")
    settings = {"user_id": account.user_id, "password": account.password, "encryption": True}
    bot = Bot(synapse.url, files=Workspace(), settings=settings)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(JsClient(synapse.url, ann.user_id, ann.password))
        room = await client.create_room(
            invite=[account.user_id], encrypted=True, name="Two", options={"preset": "private_chat"}
        )
        async with bot.live() as surface:
            await surface._client.call("POST", quote("v3", "join", room), {})
            await client.see_joined(room, account.user_id)
        yield House(bot=bot, bot_id=account.user_id, ann=client, room=room)


async def test_they_talk(house: House) -> None:
    """Text goes both ways."""
    async with house.bot.live() as surface:
        await house.ann.say(house.room, "hello bot")
        await house.bot.intake.wait_said(["hello bot"], "what she said")
        await surface.send(outbound("hello *Ann*", address=house.here))
        seen = await house.ann.see_text(house.room, house.bot_id, "hello *Ann*")
    assert seen.encrypted
