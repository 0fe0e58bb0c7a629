"""The first look at the rooms: what is newer than it, or missing from it, is never taken for gone."""

from __future__ import annotations

import asyncio

import pytest

from surfaces_core import Address, Binding, Unavailable
from surfaces_core.testing.recording_intake import PATIENCE_S
from surfaces_matrix import rooms

from .conftest import ANN, ME, NO_STATE, Bot, Stage

LOST = "!lost:hs"
LOST_PATH = "/v3/rooms/%21lost%3Ahs/state"
MEMBER = f"{LOST_PATH}/m.room.member/%40bot%3Ahs"
CONTENT = {
    "version": 1,
    "owner": ANN,
    "conversation": "C3",
    "agent_id": "17",
    "context_id": "42",
    "created_ts": 1,
    "archived": False,
}
BINDING = {"type": "io.surfaces.binding", "state_key": "", "sender": ME, "content": CONTENT}
KNOWN = Binding(
    address=Address(surface="work", conversation=LOST),
    owner=ANN,
    number=3,
    name="C3",
    agent="17",
    context="42",
    created_at=0.001,
)


async def test_a_conversation_that_the_snapshot_lacks_is_looked_up(stage: Stage, bot: Bot):
    """A replica that lags shows rooms of a moment ago; the bot's own membership tells that it is still in."""
    bot.store.rows[f"shown/{LOST}"] = b'{"name": "C3", "space": null}'
    await stage.then(MEMBER, {"membership": "join"})
    await stage.then(f"{LOST_PATH}/io.surfaces.binding", BINDING)
    async with bot.live():
        assert bot.intake.bindings == [KNOWN]


@pytest.mark.parametrize("answer", [NO_STATE, {"membership": "leave"}, (403, {"errcode": "M_FORBIDDEN"})])
async def test_a_conversation_that_the_bot_left_is_forgotten(stage: Stage, bot: Bot, answer: object):
    """It is asked about once, not at every start."""
    bot.store.rows[f"shown/{LOST}"] = b'{"name": "C3", "space": null}'
    await stage.then(MEMBER, answer)
    for _ in range(2):
        async with bot.live():
            assert bot.intake.bindings == []
    assert stage.count(MEMBER) == 1


async def test_what_can_not_be_told_is_not_told(stage: Stage, bot: Bot):
    """The host hears nothing of its conversations before the homeserver has answered."""
    bot.store.rows[f"shown/{LOST}"] = b'{"name": "C3", "space": null}'
    bot.intake.bindings = [KNOWN]
    await stage.then(MEMBER, (502, "<html>"))
    async with bot.make() as surface:
        with pytest.raises(Unavailable):
            async with asyncio.timeout(PATIENCE_S):
                await surface.run(bot.intake)
    assert bot.intake.bindings == [KNOWN]


async def test_nothing_is_made_or_changed_before_the_first_look(
    stage: Stage, bot: Bot, monkeypatch: pytest.MonkeyPatch
):
    """A command that waits from before a restart waits until the host knows what there is."""
    monkeypatch.setattr(rooms, "SETTLE_TIMEOUT_S", 0.0)
    async with bot.make() as surface:
        surface._client.authorize("D", stage.token)
        assert surface.conversations is not None
        with pytest.raises(Unavailable):
            await surface.conversations.record(KNOWN)
        assert stage.requests == []
        async with asyncio.TaskGroup() as group:
            receiving = group.create_task(surface.run(bot.intake))
            await bot.intake.wait_ready()
            await surface.conversations.record(KNOWN)
            receiving.cancel()
    assert stage.count(f"PUT /_matrix/client{LOST_PATH}/io.surfaces.binding") == 1
